//! The help screen: the table of keys, examples of filters, then the state with losses and their
//! causes.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;

use super::heading_line;
use crate::options::{COMMANDS, Chapter};
use crate::text::losses;
use crate::text::sanitize::sanitize;
use crate::text::units;
use crate::text::wrap::wrap_all;
use crate::tui::action::Command;
use crate::tui::app::Mode;
use crate::tui::draw::layout::ScreenLayout;
use crate::tui::draw::line::{line, put, within};
use crate::tui::input::keys::{MOUSE, MOUSE_LIVE, MOUSE_REPLAY, editing_help};
use crate::tui::state::player_bar::PlayerBar;
use crate::tui::state::shared::SharedState;

/// Width of the labels of keys, in cells.
const KEYS: u16 = 9;
/// Width of a column of keys with their descriptions, in cells.
const COLUMN: u16 = 40;
/// Most columns of keys side by side.
const MAX_COLUMNS: u16 = 3;

/// Example filters with their meanings.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "process nginx and port 443",
        "one program, one port at either end",
    ),
    ("remote net 10.0.0.0/8", "peers in a network"),
    ("not (host 192.0.2.1 or port ssh)", "everything but these"),
    (
        "user www-data and rate > 1MB",
        "by user and rate in this interval",
    ),
    (
        "unit 'docker*' or container /^web-/",
        "globs and regular expressions",
    ),
    ("udp and not loopback", "by protocol, without the loopback"),
];

/// One line of help, in a column or over the whole width.
enum HelpLine {
    Title(&'static str),
    Key(Option<Command>, String, String),
    Text(String, Style),
}

/// The lines that stand side by side, each with its first cell.
type HelpRow = Vec<(u16, HelpLine)>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Help {
    /// The first line shown.
    top: usize,
}

impl Help {
    /// Opens help at the state.
    pub fn at_state(shared: &SharedState, player: &PlayerBar) -> Self {
        let page = HelpPage::new(shared, player);
        Self {
            top: page.state.min(page.last_top()),
        }
    }

    /// Handles a command: one that does not scroll closes the help screen.
    pub fn act(
        &mut self,
        command: Command,
        shared: &SharedState,
        player: &PlayerBar,
    ) -> Option<Mode> {
        let page = HelpPage::new(shared, player);
        let screen = usize::from(page.body.height).max(1);
        let top = match command {
            Command::Up => self.top.saturating_sub(1),
            Command::Down => self.top + 1,
            Command::PageUp => self.top.saturating_sub(screen),
            Command::PageDown => self.top + screen,
            Command::Home => 0,
            Command::End => usize::MAX,
            _ => return Some(Mode::Table),
        };
        self.top = top.min(page.last_top());
        None
    }

    pub fn wheel(&mut self, rows: i32, shared: &SharedState, player: &PlayerBar) {
        let top = self.top.saturating_add_signed(rows as isize);
        self.top = top.min(HelpPage::new(shared, player).last_top());
    }

    /// Whether there are lines below those that are shown.
    pub fn has_more(&self, shared: &SharedState, player: &PlayerBar) -> bool {
        self.top < HelpPage::new(shared, player).last_top()
    }

    /// Returns the command of the key under the pointer.
    pub fn click(&self, at: Position, shared: &SharedState, player: &PlayerBar) -> Option<Command> {
        let page = HelpPage::new(shared, player);
        let row = usize::from(at.y.checked_sub(page.body.y)?);
        let row = page.rows.get(self.top.min(page.last_top()) + row)?;
        let x = at.x.checked_sub(page.body.x)?;
        let (_, found) = row.iter().rfind(|(start, _)| *start <= x)?;
        match found {
            HelpLine::Key(command, ..) if page.body.contains(at) => *command,
            _ => None,
        }
    }

    pub fn draw(&self, shared: &SharedState, player: &PlayerBar, area: Rect, buf: &mut Buffer) {
        heading_line("Help", line(area, 0), &shared.display.theme, buf);
        let page = HelpPage::of(area, shared, player);
        let top = self.top.min(page.last_top());
        for (row, y) in page.rows.iter().skip(top).zip(0..page.body.height) {
            for (x, text) in row {
                let at = within(line(page.body, y), *x, page.column_width(row.len()));
                text.draw(shared, at, buf);
            }
        }
    }
}

impl HelpLine {
    fn draw(&self, shared: &SharedState, at: Rect, buf: &mut Buffer) {
        let theme = &shared.display.theme;
        match self {
            Self::Title(title) => {
                put(buf, at, 1, title, theme.dim());
            }
            Self::Key(_, keys, about) => {
                let x = put(buf, at, 2, keys, theme.bold());
                let x = x.max(2 + KEYS) + 1;
                put(buf, at, x, about, Style::new());
            }
            Self::Text(text, style) => {
                put(buf, at, 1, text, *style);
            }
        }
    }
}

/// The help screen, laid out.
struct HelpPage<'a> {
    shared: &'a SharedState,
    player: &'a PlayerBar,
    /// The area below the title.
    body: Rect,
    rows: Vec<HelpRow>,
    /// The row at which the state begins.
    state: usize,
}

impl<'a> HelpPage<'a> {
    /// Lays help out for the screen as it is.
    fn new(shared: &'a SharedState, player: &'a PlayerBar) -> Self {
        Self::of(
            ScreenLayout::new(shared.area).without_chart().body,
            shared,
            player,
        )
    }

    fn of(area: Rect, shared: &'a SharedState, player: &'a PlayerBar) -> Self {
        let body = Rect {
            y: area.y + 1.min(area.height),
            height: area.height.saturating_sub(1),
            ..area
        };
        let mut page = Self {
            shared,
            player,
            body,
            rows: Vec::new(),
            state: 0,
        };
        page.rows = page.key_rows();
        page.add_examples();
        page.rows.push(Vec::new());
        page.state = page.rows.len();
        page.add(HelpLine::Title("State"));
        let room = usize::from(body.width).saturating_sub(4);
        for (text, style) in page.state() {
            for text in wrap_all(&text, room) {
                page.add(HelpLine::Text(text, style));
            }
        }
        page
    }

    fn add(&mut self, line: HelpLine) {
        self.rows.push(vec![(0, line)]);
    }

    fn add_examples(&mut self) {
        self.rows.push(Vec::new());
        self.add(HelpLine::Title(
            "Filters, typed or in quotes on the command line",
        ));
        for (filter, about) in EXAMPLES {
            let text = match usize::from(self.body.width) > 78 {
                true => format!("  {filter:<38} {about}"),
                false => format!("  {filter}"),
            };
            self.add(HelpLine::Text(text, Style::new()));
        }
    }

    /// The last line that can be the first one shown.
    fn last_top(&self) -> usize {
        self.rows
            .len()
            .saturating_sub(usize::from(self.body.height))
    }

    /// Returns how many cells a line has that stands beside others.
    const fn column_width(&self, lines: usize) -> u16 {
        if lines > 1 { COLUMN } else { self.body.width }
    }

    /// Returns the chapters of keys in as many columns as the width has, of about one height. A
    /// chapter stays in one column.
    fn key_rows(&self) -> Vec<HelpRow> {
        let chapters = self.chapters();
        let count = usize::from((self.body.width / COLUMN).clamp(1, MAX_COLUMNS));
        let all: usize = chapters.iter().map(Vec::len).sum();
        let height = (all.div_ceil(count)..=all)
            .find(|&height| columns_of(chapters.iter().map(Vec::len), height).len() <= count)
            .unwrap_or(all);
        let ends = columns_of(chapters.iter().map(Vec::len), height);
        let mut rows: Vec<HelpRow> = Vec::new();
        rows.resize_with(height, Vec::new);
        let mut chapters = chapters.into_iter();
        for (x, chapters_here) in (0..).step_by(usize::from(COLUMN)).zip(ends) {
            let lines = chapters.by_ref().take(chapters_here).flatten();
            for (row, line) in rows.iter_mut().zip(lines) {
                row.push((x, line));
            }
        }
        while rows.last().is_some_and(Vec::is_empty) {
            rows.pop();
        }
        rows
    }

    /// Returns how exact the numbers are, what was lost, the backend and its confinement.
    fn state(&self) -> Vec<(String, Style)> {
        let shared = self.shared;
        let (theme, method) = (&shared.display.theme, &shared.method);
        let (losses, total) = (shared.history.losses(), shared.history.losses_total());
        let mut state = Vec::new();
        let trouble = |text: String| (format!("! {text}"), theme.bold());
        if losses::is_degraded(&losses) {
            state.extend(losses::losses(&losses).into_iter().map(trouble));
        } else if total.is_none() {
            let but = if method.unseen.is_empty() {
                ""
            } else {
                ", but for the limits of this kernel below"
            };
            let audited = match losses.audit.agreeing {
                0 => String::new(),
                agreeing => format!(" ({} audited)", units::count(agreeing, "connection")),
            };
            let text =
                format!("exact{audited}: every byte of every socket is in these numbers{but}.");
            state.push((text, Style::new()));
        } else {
            let text = "exact in this interval, but not since the start:";
            state.push((text.to_owned(), Style::new()));
            state.extend(losses::losses(&total).into_iter().map(trouble));
        }
        for text in losses::unseen(method).chain(losses::unknown(method)) {
            state.push((format!("limit: {text}"), theme.dim()));
        }
        if let Some(recording) = &shared.recording {
            let (file, bytes) = (&recording.file, units::bytes(recording.bytes));
            let text = match &recording.trouble {
                Some(trouble) => {
                    format!("! recording to {file}: {trouble}; intervals wait in memory")
                }
                None => format!("recording to {file}: {bytes}"),
            };
            state.push((sanitize(&text).into_owned(), theme.bold()));
            if recording.lost.intervals > 0 {
                state.push(trouble(format!(
                    "{} lost: no memory left to wait in",
                    recording.lost
                )));
            }
        }
        for corruption in self.player.corruptions() {
            let text = format!("! {corruption}");
            state.push((sanitize(&text).into_owned(), theme.bold()));
        }
        let kernel = match shared.machine.kernel.as_str() {
            "" => String::new(),
            kernel => format!("Linux {kernel}, "),
        };
        let reason = format!("{kernel}{} backend: {}", method.backend, method.reason);
        state.push((sanitize(&reason).into_owned(), theme.dim()));
        if let Some(confinement) = &shared.confinement {
            state.push((confinement.to_string(), theme.dim()));
        }
        state
    }

    /// Returns one chapter a topic: keys, then the prompt and the mouse.
    fn chapters(&self) -> Vec<Vec<HelpLine>> {
        let (keys, ascii) = (&self.shared.keys, self.shared.display.theme.glyphs.ascii);
        let is_replay = self.player.is_shown();
        let mut chapters: Vec<Vec<HelpLine>> = Vec::new();
        for chapter in Chapter::ALL {
            if chapter == Chapter::Replay && !is_replay {
                continue;
            }
            // The length of intervals in a recording is fixed.
            let has_use =
                |command| !is_replay || !matches!(command, Command::Slower | Command::Faster);
            let bindings = COMMANDS
                .iter()
                .filter(|binding| binding.chapter == chapter && has_use(binding.command));
            let mut lines = vec![HelpLine::Title(chapter.title())];
            lines.extend(bindings.map(|binding| {
                let label = keys.label(binding.command, 2, ascii);
                let command =
                    Some(binding.command).filter(|_| chapter.is_everywhere() || is_replay);
                HelpLine::Key(command, label, binding.about.to_owned())
            }));
            chapters.push(lines);
        }
        let mut prompt = vec![HelpLine::Title("While typing")];
        let editing = editing_help(ascii);
        prompt.extend(editing.map(|(keys, about)| HelpLine::Key(None, keys, about.to_owned())));
        chapters.push(prompt);
        let more = if is_replay { MOUSE_REPLAY } else { MOUSE_LIVE };
        let mut mouse = vec![HelpLine::Title("Mouse")];
        mouse.extend(
            MOUSE
                .iter()
                .chain(more)
                .map(|(what, about)| HelpLine::Key(None, (*what).to_owned(), (*about).to_owned())),
        );
        chapters.push(mouse);
        chapters
    }
}

/// Divides chapters of these heights into columns of at most one height; returns how many chapters
/// each column has.
fn columns_of(heights: impl Iterator<Item = usize>, most: usize) -> Vec<usize> {
    let (mut columns, mut used) = (vec![0], 0);
    for height in heights {
        if used > 0 && used + height > most {
            columns.push(0);
            used = 0;
        }
        used += height;
        if let Some(column) = columns.last_mut() {
            *column += 1;
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chapters_are_divided_into_columns_of_one_height() {
        let columns = |most| columns_of([3, 4, 2, 5].into_iter(), most);
        assert_eq!(columns(100), [4]);
        assert_eq!(columns(9), [3, 1]);
        assert_eq!(columns(7), [2, 2]);
        assert_eq!(columns(5), [1, 1, 1, 1]);
    }

    #[test]
    fn every_example_is_a_filter() {
        for (example, about) in EXAMPLES {
            let tables = crate::filter::NameTables::new(&[("www-data", 33)], &[("ssh", 22)]);
            assert!(crate::filter::parse(example, &tables).is_ok(), "{example}");
            assert!(example.len() <= 37 && about.len() <= 38, "{example}");
        }
    }
}
