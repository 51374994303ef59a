//! Draws the position in a recording: the player's state, the recorded time, the speed, and a bar
//! of how much of the recording has been played.

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::recording::player::PlayerState;
use crate::text::units;
use crate::tui::draw::line::{line, put, width, within};
use crate::tui::draw::theme::Theme;
use crate::tui::state::player_bar::PlayerBar;
use crate::tui::state::shared::SharedState;

/// Minimum width of the screen, in cells, at which the date is shown.
const DATE_FROM: u16 = 100;
/// Minimum and maximum length of the bar, in cells.
const BAR: std::ops::RangeInclusive<u16> = 8..=40;

/// The player's state, time, speed and bar, with their places.
pub struct Timeline {
    /// Cell after the name of the machine.
    start: u16,
    state: String,
    when: String,
    /// Position of the bar.
    pub bar: Rect,
    part: Option<f64>,
    percent: String,
}

impl PlayerBar {
    /// Lays out the timeline for a screen of this size; `None` for a live machine. The bar gives
    /// way to the name of the machine, the filter and the state word.
    pub fn timeline(&self, shared: &SharedState, filter: u16, area: Rect) -> Option<Timeline> {
        let position = self.position.as_ref()?;
        let state = match position.state {
            PlayerState::Playing => "PLAY",
            PlayerState::Paused => "PAUSED",
            PlayerState::Seeking => "SEEK",
            PlayerState::AtEnd => "END",
        };
        let format = match area.width >= DATE_FROM {
            true => "%Y-%m-%d %H:%M:%S UTC",
            false => "%H:%M:%S UTC",
        };
        let time = Timestamp::try_from(shared.history.ended()).unwrap_or_default();
        let time = match shared.history.intervals() {
            0 => String::new(),
            _ => time.strftime(format).to_string(),
        };
        let state = format!(" {state:<6} ");
        // Padded to one width for all speeds, so that nothing moves.
        let when = format!("{time}  {:<5}", format!("x{}", position.speed));
        let start = 1 + width(&shared.machine_name()) + 2;
        let x = start + width(&state) + 2 + width(&when) + 1;
        // Behind the bar come the percentage and the state word.
        let room = area.width.saturating_sub(x + 6 + filter + 10);
        let bar = if room < *BAR.start() {
            0
        } else {
            room.min(*BAR.end()).min(area.width / 8)
        };
        let part = position.whole.map(|whole| {
            let whole = whole.as_secs_f64();
            let part = position.at.as_secs_f64() / whole;
            if whole > 0.0 { part.min(1.0) } else { 1.0 }
        });
        let percent = part.map_or_else(String::new, |part| {
            format!("{} %", units::percent((part * 1e6) as u64, 1_000_000))
        });
        Some(Timeline {
            state,
            when,
            start,
            bar: within(line(area, 0), x, bar),
            part,
            percent,
        })
    }
}

impl Timeline {
    /// Draws the timeline into the first line; returns the cell after it.
    pub fn render(&self, at: Rect, theme: &Theme, buf: &mut Buffer) -> u16 {
        let x = put(buf, at, self.start, &self.state, theme.notice()) + 2;
        put(buf, at, x, &self.when, theme.bold());
        let bar = self.bar;
        if bar.is_empty() {
            return x + width(&self.when);
        }
        // The rest of the bar is drawn too, for clicks.
        put(
            buf,
            bar,
            0,
            &theme.glyphs.rule.repeat(bar.width.into()),
            theme.dim(),
        );
        let part = self.part.unwrap_or(0.0);
        let behind = theme.glyphs.block(part, 1.0, bar.width.into());
        put(buf, bar, 0, behind.trim_end(), Style::new());
        let after = bar.x - at.x + bar.width + 1;
        put(buf, at, after, &format!("{:<5}", self.percent), theme.dim()).max(after + 4)
    }
}
