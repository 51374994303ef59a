//! Colours and glyphs. Colour marks a direction or a loss, and never carries information alone: a
//! word, a position or a mark repeats it.

use ratatui::style::{Color, Modifier, Style};

use crate::model::flow::Direction;
use crate::options::{Palette, PaletteColor};

/// Number of colours that the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The terminal has no colour.
    Mono,
    /// The terminal's own palette.
    Ansi16,
    /// The palette of 256.
    Ansi256,
    True,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// Unknown: only colours that are readable on both are used.
    Unknown,
    /// Light text on dark.
    Dark,
    /// Dark text on light.
    Light,
}

/// Colours and glyphs that everything is drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    pub depth: Depth,
    pub background: Background,
    pub glyphs: &'static Glyphs,
    /// Colours of the configuration.
    pub palette: Palette,
}

/// Non-letter characters, each one column wide except `enter` and `between`.
#[derive(Debug, PartialEq, Eq)]
pub struct Glyphs {
    /// Whether all of them are ASCII.
    pub ascii: bool,
    pub rule: &'static str,
    /// Before and after a title in a line.
    pub title: (&'static str, &'static str),
    /// Mark of omitted text.
    pub ellipsis: &'static str,
    /// Before the selected row.
    pub selected: &'static str,
    /// Before a row that is pinned on top.
    pub pinned: &'static str,
    /// Beside the heading that is sorted by: largest first, smallest first.
    pub sorted: (&'static str, &'static str),
    /// From an eighth to full.
    pub bars: [&'static str; 8],
    /// From an eighth to full, growing to the right.
    pub blocks: [&'static str; 8],
    pub gap: &'static str,
    /// A number that is zero, in a column of numbers.
    pub zero: &'static str,
    /// The sign before a factor, as in ×10.
    pub times: &'static str,
    /// Between the steps of a path.
    pub between: &'static str,
    pub enter: &'static str,
    /// Arrows: local sends, local receives.
    pub arrows: (&'static str, &'static str),
    /// A line between left and right.
    pub wall: &'static str,
    pub tree: TreeGlyphs,
}

/// Glyphs of the tree of rows opened in place.
#[derive(Debug, PartialEq, Eq)]
pub struct TreeGlyphs {
    /// Before a row, and before the last one.
    pub branch: (&'static str, &'static str),
    /// Beside the rows of an earlier one.
    pub line: &'static str,
    /// Before a row that is open, and one that can be opened.
    pub open: (&'static str, &'static str),
}

const UNICODE: Glyphs = Glyphs {
    ascii: false,
    rule: "─",
    title: ("╶ ", " ╴"),
    ellipsis: "…",
    selected: "▸",
    pinned: "*",
    sorted: ("▼", "▲"),
    bars: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    blocks: ["▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"],
    gap: "·",
    zero: "·",
    times: "×",
    between: " › ",
    enter: "⏎",
    arrows: ("→", "←"),
    wall: "│",
    tree: TreeGlyphs {
        branch: ("├", "└"),
        line: "│",
        open: ("▾", "▸"),
    },
};

const ASCII: Glyphs = Glyphs {
    ascii: true,
    rule: "-",
    title: ("- ", " -"),
    ellipsis: "~",
    selected: ">",
    pinned: "*",
    sorted: ("v", "^"),
    bars: [".", ".", ":", "-", "=", "+", "*", "#"],
    blocks: [" ", " ", " ", "-", "-", "=", "=", "#"],
    gap: " ",
    zero: "0",
    times: "x",
    between: " > ",
    enter: "Enter",
    arrows: (">", "<"),
    wall: "|",
    tree: TreeGlyphs {
        branch: ("|", "`"),
        line: "|",
        open: ("-", "+"),
    },
};

impl Glyphs {
    /// Returns the glyphs in Unicode, or their substitutes in ASCII.
    pub const fn new(ascii: bool) -> &'static Self {
        if ascii { &ASCII } else { &UNICODE }
    }

    /// Returns a bar of at most `width` cells that grows to the right.
    pub fn block(&self, part: f64, whole: f64, width: usize) -> String {
        let eighths = eighths(part, whole, width);
        let mut bar = self.blocks[7].repeat(eighths / 8);
        if !eighths.is_multiple_of(8) {
            bar.push_str(self.blocks[eighths % 8 - 1]);
        }
        bar
    }
}

/// Returns the number of eighths of `cells` cells for a part of a whole: at least one for a part
/// above zero.
fn eighths(part: f64, whole: f64, cells: usize) -> usize {
    if part <= 0.0 || whole <= 0.0 || part.is_nan() || whole.is_nan() {
        return 0;
    }
    let most = (cells * 8) as f64;
    (part / whole * most).round().clamp(1.0, most) as usize
}

fn apply_palette(paint: PaletteColor) -> Color {
    match paint {
        PaletteColor::Indexed(index) => Color::Indexed(index),
        PaletteColor::Rgb(red, green, blue) => Color::Rgb(red, green, blue),
    }
}

/// Colours of process names on dark and on light: OKLCH lightness 0.80 and 0.46, chroma 0.09 and
/// 0.11, hues 20, 110, 150, 190, 290 and 340 degrees. Contrast to the background is 6.5 to 9.3.
const PROCESS_HUES: [[[u8; 3]; 6]; 2] = [
    [
        [0xf2, 0xa7, 0xa6],
        [0xc1, 0xc3, 0x7e],
        [0x94, 0xcf, 0x9f],
        [0x73, 0xd1, 0xca],
        [0xbc, 0xb4, 0xf4],
        [0xe6, 0xa7, 0xd0],
    ],
    [
        [0x8b, 0x3b, 0x3e],
        [0x5c, 0x5c, 0x00],
        [0x1d, 0x68, 0x35],
        [0x00, 0x6a, 0x66],
        [0x58, 0x4b, 0x90],
        [0x7f, 0x3c, 0x6b],
    ],
];
/// The nearest of them in the palette of 256.
const PROCESS_256: [[u8; 6]; 2] = [[217, 144, 115, 80, 147, 182], [95, 58, 23, 30, 60, 89]];

impl Theme {
    /// Returns a theme of Unicode without colours, on an unknown background.
    #[cfg(test)]
    pub fn plain() -> Self {
        Self {
            depth: Depth::Mono,
            background: Background::Unknown,
            glyphs: &UNICODE,
            palette: Palette::default(),
        }
    }

    pub fn dim(&self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub fn bold(&self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Returns the style of trouble. It is visible without colour; callers also mark trouble with
    /// `!`.
    pub fn alarm(&self) -> Style {
        let style = Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD);
        match self.depth {
            Depth::Mono => style,
            _ => style.fg(self.palette.trouble.map_or(Color::Red, apply_palette)),
        }
    }

    /// Returns the style of notices that are no trouble, such as the word `PAUSED`.
    pub fn notice(&self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD)
    }

    /// Returns the style of the selected row, which also has a mark.
    pub fn selected(&self) -> Style {
        match self.palette.selection.filter(|_| self.depth != Depth::Mono) {
            Some(chosen) => Style::new().bg(apply_palette(chosen)),
            None => Style::new().add_modifier(Modifier::REVERSED),
        }
    }

    /// Returns the style of found words.
    pub fn found(&self) -> Style {
        Style::new().add_modifier(Modifier::UNDERLINED | Modifier::BOLD)
    }

    /// Returns the colour of a direction: two hues that differ in lightness and are readable on
    /// dark and on light.
    pub fn hue(&self, direction: Direction) -> Style {
        let rx = direction == Direction::Rx;
        let chosen = if rx { self.palette.rx } else { self.palette.tx };
        if let Some(chosen) = chosen.filter(|_| self.depth != Depth::Mono) {
            return Style::new().fg(apply_palette(chosen));
        }
        let light = self.background == Background::Light;
        let color = match (self.depth, light) {
            (Depth::Mono, _) => return Style::new(),
            (Depth::Ansi16, _) if rx => Color::Cyan,
            (Depth::Ansi16, true) => Color::Magenta,
            (Depth::Ansi16, false) => Color::Yellow,
            (Depth::Ansi256, false) => Color::Indexed(if rx { 38 } else { 214 }),
            (Depth::Ansi256, true) => Color::Indexed(if rx { 25 } else { 166 }),
            (Depth::True, false) if rx => Color::Rgb(0x2f, 0xa4, 0xd8),
            (Depth::True, false) => Color::Rgb(0xf2, 0xb1, 0x3c),
            (Depth::True, true) if rx => Color::Rgb(0x0b, 0x5c, 0x9e),
            (Depth::True, true) => Color::Rgb(0xc2, 0x5a, 0x00),
        };
        // On an unknown background only the terminal's own palette is known to be readable.
        match (self.background, self.depth) {
            (Background::Unknown, Depth::Ansi256 | Depth::True) => {
                Style::new().fg(if rx { Color::Cyan } else { Color::Yellow })
            }
            _ => Style::new().fg(color),
        }
    }

    /// Returns the colour of a process name: constant per name, one of six of equal lightness that
    /// differ from those of directions; none where they might not be readable. A configured colour
    /// replaces them.
    pub fn process(&self, name: &str) -> Style {
        if let Some(chosen) = self.palette.process.filter(|_| self.depth != Depth::Mono) {
            return Style::new().fg(apply_palette(chosen));
        }
        let light = match self.background {
            Background::Unknown => return Style::new(),
            Background::Dark => 0,
            Background::Light => 1,
        };
        // FNV-1a: the colour is the same in every run and build.
        let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        let n = (hash % 6) as usize;
        match self.depth {
            Depth::Mono | Depth::Ansi16 => Style::new(),
            Depth::Ansi256 => Style::new().fg(Color::Indexed(PROCESS_256[light][n])),
            Depth::True => {
                let [red, green, blue] = PROCESS_HUES[light][n];
                Style::new().fg(Color::Rgb(red, green, blue))
            }
        }
    }

    /// Returns the style of a row's share behind its text, without a hue for the sum of both
    /// directions. `None` where it would make text hard to read or cannot be drawn; the percentage
    /// shows the share then.
    pub fn share(&self, direction: Option<Direction>) -> Option<Color> {
        let light = match self.background {
            Background::Unknown => return None,
            Background::Dark => false,
            Background::Light => true,
        };
        match (self.depth, light, direction) {
            (Depth::Mono | Depth::Ansi16, ..) => None,
            (Depth::Ansi256, false, _) => Some(Color::Indexed(237)),
            (Depth::Ansi256, true, _) => Some(Color::Indexed(254)),
            (Depth::True, false, None) => Some(Color::Rgb(0x2c, 0x2e, 0x32)),
            (Depth::True, false, Some(Direction::Rx)) => Some(Color::Rgb(0x18, 0x34, 0x44)),
            (Depth::True, false, Some(Direction::Tx)) => Some(Color::Rgb(0x40, 0x32, 0x16)),
            (Depth::True, true, None) => Some(Color::Rgb(0xe6, 0xe7, 0xea)),
            (Depth::True, true, Some(Direction::Rx)) => Some(Color::Rgb(0xd3, 0xe6, 0xf5)),
            (Depth::True, true, Some(Direction::Tx)) => Some(Color::Rgb(0xfb, 0xe4, 0xc6)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ascii_glyphs_are_ascii() {
        let g = &ASCII;
        let all = [
            &[
                g.rule,
                g.title.0,
                g.title.1,
                g.ellipsis,
                g.selected,
                g.pinned,
                g.sorted.0,
                g.sorted.1,
                g.gap,
                g.zero,
                g.times,
                g.between,
                g.enter,
                g.arrows.0,
                g.arrows.1,
                g.wall,
                g.tree.branch.0,
                g.tree.branch.1,
                g.tree.line,
                g.tree.open.0,
                g.tree.open.1,
            ][..],
            &g.bars,
            &g.blocks,
        ];
        assert!(all.concat().iter().all(|glyph| glyph.is_ascii()));
    }

    #[test]
    fn without_colours_there_is_no_colour_but_trouble_is_marked() {
        for background in [Background::Unknown, Background::Dark, Background::Light] {
            let theme = Theme {
                depth: Depth::Mono,
                background,
                glyphs: &UNICODE,
                palette: Palette::default(),
            };
            for style in [
                theme.hue(Direction::Rx),
                theme.hue(Direction::Tx),
                theme.alarm(),
                theme.notice(),
                theme.selected(),
                theme.dim(),
                theme.process("nginx"),
            ] {
                assert_eq!((style.fg, style.bg), (None, None));
            }
            assert!(theme.alarm().add_modifier.contains(Modifier::REVERSED));
            assert_eq!(theme.share(None), None);
        }
    }

    #[test]
    fn a_process_has_one_colour_and_neighbours_mostly_others() {
        let names = [
            "nginx", "sshd", "postgres", "curl", "java", "python3", "firefox", "named",
        ];
        for depth in [Depth::Ansi256, Depth::True] {
            for background in [Background::Dark, Background::Light] {
                let theme = Theme {
                    depth,
                    background,
                    ..Theme::plain()
                };
                let hue = |name: &str| theme.process(name).fg;
                assert_eq!(hue("nginx"), hue("nginx"));
                let mut hues: Vec<_> = names.map(hue).into_iter().flatten().collect();
                assert_eq!(hues.len(), names.len());
                hues.sort_unstable_by_key(|hue| format!("{hue:?}"));
                hues.dedup();
                assert!(hues.len() >= 4, "{hues:?}");
                let ways = [Direction::Rx, Direction::Tx].map(|way| theme.hue(way).fg);
                assert!(ways.iter().flatten().all(|way| !hues.contains(way)));
            }
        }
        for depth in [Depth::Mono, Depth::Ansi16] {
            let theme = Theme {
                depth,
                background: Background::Dark,
                ..Theme::plain()
            };
            assert_eq!(theme.process("nginx"), Style::new());
            let palette = Palette {
                process: Some(PaletteColor::Indexed(7)),
                ..Palette::default()
            };
            let chosen = Theme { palette, ..theme }.process("nginx");
            assert_eq!(chosen.fg.is_some(), depth == Depth::Ansi16);
        }
    }

    #[test]
    fn something_is_never_drawn_as_nothing_nor_too_long() {
        assert_eq!(UNICODE.block(5.0, 10.0, 4), "██");
        assert_eq!(UNICODE.block(20.0, 10.0, 4), "████");
        assert_eq!(UNICODE.block(0.1, 10.0, 4), "▏");
        assert_eq!(eighths(f64::NAN, 1.0, 3), 0);
    }
}
