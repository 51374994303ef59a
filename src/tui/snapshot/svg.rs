//! Turns a drawn screen into an SVG picture, cell by cell, so that columns hold in every font.

use std::fmt::Write as _;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use crate::text::sanitize::columns;
use crate::tui::draw::theme::Background;

/// Size of a cell, in units of the picture.
const CELL: (f64, f64) = (8.4, 17.0);
const FONT: f64 = 14.0;
/// Distance from the top of a cell to the base line of its text.
const BASE: f64 = 12.6;
/// Margin around the screen, in pixels.
const PAD: f64 = 10.0;
/// Share of the background in the colour of dim text.
const DIM: f64 = 0.42;

type Rgb = [u8; 3];

/// Colours of a terminal: the background, the text, and the first 16.
struct Scheme {
    background: Rgb,
    text: Rgb,
    palette: [Rgb; 16],
}

const fn rgb(hex: u32) -> Rgb {
    let [_, red, green, blue] = hex.to_be_bytes();
    [red, green, blue]
}

const DARK: Scheme = Scheme {
    background: rgb(0x16181d),
    text: rgb(0xd4d7dd),
    palette: [
        rgb(0x16181d),
        rgb(0xe06c60),
        rgb(0x7fb86a),
        rgb(0xd9a441),
        rgb(0x5f97d8),
        rgb(0xb98ad6),
        rgb(0x45b3c4),
        rgb(0xd4d7dd),
        rgb(0x6b7280),
        rgb(0xf08a7d),
        rgb(0x98d082),
        rgb(0xefc16a),
        rgb(0x82b3ef),
        rgb(0xd0a6ea),
        rgb(0x6fd0df),
        rgb(0xffffff),
    ],
};

const LIGHT: Scheme = Scheme {
    background: rgb(0xfbfbf9),
    text: rgb(0x24292f),
    palette: [
        rgb(0x24292f),
        rgb(0xb3261e),
        rgb(0x2f7d32),
        rgb(0x8a6100),
        rgb(0x1f5fae),
        rgb(0x8339a8),
        rgb(0x0b6b7d),
        rgb(0x6b7280),
        rgb(0x57606a),
        rgb(0xcf3b30),
        rgb(0x3c9440),
        rgb(0xa87800),
        rgb(0x2f76cf),
        rgb(0x9b51c4),
        rgb(0x128396),
        rgb(0xfbfbf9),
    ],
};

/// How a cell is drawn.
#[derive(Clone, Copy, PartialEq)]
struct CellStyle {
    text: Rgb,
    background: Rgb,
    bold: bool,
}

/// Returns the picture of a screen.
pub fn picture(buffer: &Buffer, background: Background) -> String {
    let scheme = match background {
        Background::Light => &LIGHT,
        Background::Dark | Background::Unknown => &DARK,
    };
    let area = buffer.area;
    let (width, height) = (
        f64::from(area.width) * CELL.0 + 2.0 * PAD,
        f64::from(area.height) * CELL.1 + 2.0 * PAD,
    );
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\n\
         <title>flowtop</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{}\"/>\n\
         <g font-family=\"ui-monospace,SFMono-Regular,Menlo,Consolas,DejaVu Sans Mono,monospace\" \
         font-size=\"{FONT}\" xml:space=\"preserve\">\n",
        hex(scheme.background)
    );
    for y in 0..area.height {
        let mut x = 0;
        while x < area.width {
            let cell_style = scheme.cell_style(&buffer[(area.x + x, area.y + y)]);
            let first = x;
            let mut text = String::new();
            while x < area.width {
                let cell = &buffer[(area.x + x, area.y + y)];
                if scheme.cell_style(cell) != cell_style {
                    break;
                }
                text.push_str(cell.symbol());
                // A wide character takes two cells.
                x += u16::try_from(columns(cell.symbol())).unwrap_or(1).max(1);
            }
            run(
                &mut svg,
                scheme,
                cell_style,
                (first, y),
                x.min(area.width) - first,
                &text,
            );
        }
    }
    svg.push_str("</g></svg>\n");
    svg
}

/// Draws cells of one style. Each word is placed separately, so that columns align whatever the
/// font's width.
fn run(
    svg: &mut String,
    scheme: &Scheme,
    cell_style: CellStyle,
    at: (u16, u16),
    cells: u16,
    text: &str,
) {
    let (left, top) = (
        PAD + f64::from(at.0) * CELL.0,
        PAD + f64::from(at.1) * CELL.1,
    );
    // Writing to a string does not fail.
    if cell_style.background != scheme.background {
        let width = f64::from(cells) * CELL.0;
        let _ = writeln!(
            svg,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{}\" fill=\"{}\" \
             shape-rendering=\"crispEdges\"/>",
            CELL.1,
            hex(cell_style.background)
        );
    }
    let weight = if cell_style.bold {
        " font-weight=\"700\""
    } else {
        ""
    };
    let mut column = 0;
    for word in text.split(' ') {
        let wide = columns(word);
        if wide > 0 {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" textLength=\"{:.1}\" lengthAdjust=\"spacingAndGlyphs\" \
                 fill=\"{}\"{weight}>{}</text>",
                left + column as f64 * CELL.0,
                top + BASE,
                wide as f64 * CELL.0,
                hex(cell_style.text),
                escaped(word)
            );
        }
        column += wide + 1;
    }
}

impl Scheme {
    fn cell_style(&self, cell: &Cell) -> CellStyle {
        let mut text = self.color(cell.fg, self.text);
        let mut background = self.color(cell.bg, self.background);
        if cell.modifier.contains(Modifier::REVERSED) {
            std::mem::swap(&mut text, &mut background);
        }
        if cell.modifier.contains(Modifier::DIM) {
            let mix = |from: u8, to: u8| {
                let (from, to) = (f64::from(from), f64::from(to));
                (from + (to - from) * DIM).round() as u8
            };
            text = std::array::from_fn(|n| mix(text[n], background[n]));
        }
        CellStyle {
            text,
            background,
            bold: cell.modifier.contains(Modifier::BOLD),
        }
    }

    fn color(&self, color: Color, default: Rgb) -> Rgb {
        let named = |n: usize| self.palette[n];
        match color {
            Color::Reset => default,
            Color::Black => named(0),
            Color::Red => named(1),
            Color::Green => named(2),
            Color::Yellow => named(3),
            Color::Blue => named(4),
            Color::Magenta => named(5),
            Color::Cyan => named(6),
            Color::Gray => named(7),
            Color::DarkGray => named(8),
            Color::LightRed => named(9),
            Color::LightGreen => named(10),
            Color::LightYellow => named(11),
            Color::LightBlue => named(12),
            Color::LightMagenta => named(13),
            Color::LightCyan => named(14),
            Color::White => named(15),
            Color::Indexed(n @ 0..16) => named(n.into()),
            // A cube of six steps a side, then a ramp of greys, as in xterm.
            Color::Indexed(n @ 16..232) => {
                let steps = [0, 95, 135, 175, 215, 255];
                let n = usize::from(n - 16);
                [steps[n / 36], steps[n / 6 % 6], steps[n % 6]]
            }
            Color::Indexed(n) => [8 + (n - 232) * 10; 3],
            Color::Rgb(red, green, blue) => [red, green, blue],
        }
    }
}

fn hex([red, green, blue]: Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Escapes a text for XML. Control characters, which XML cannot express, do not occur in drawn
/// text.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    #[test]
    fn words_stand_where_they_are_drawn_in_their_colours() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 20, 2));
        buffer.set_string(0, 0, "<a> &b", Style::new());
        buffer.set_string(
            10,
            1,
            "in",
            Style::new()
                .fg(Color::Indexed(16))
                .add_modifier(Modifier::BOLD),
        );
        buffer.set_string(12, 1, "x", Style::new().add_modifier(Modifier::REVERSED));
        let svg = picture(&buffer, Background::Dark);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("viewBox=\"0 0 188 54\""), "{svg}");
        assert!(svg.contains("fill=\"#d4d7dd\">&lt;a&gt;</text>"), "{svg}");
        // The fourth column: 10 + 4 × 8.4.
        assert!(svg.contains("<text x=\"43.6\" y=\"22.6\""), "{svg}");
        assert!(
            svg.contains("fill=\"#000000\" font-weight=\"700\">in</text>"),
            "{svg}"
        );
        assert!(svg.contains("fill=\"#d4d7dd\" shape-rendering"), "{svg}");
        assert!(svg.contains("fill=\"#16181d\">x</text>"), "{svg}");
        assert_eq!(svg.matches("<text").count(), 4);
    }
}
