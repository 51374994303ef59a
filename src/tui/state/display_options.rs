//! Display options: from the configuration, keys and the terminal's abilities.

use std::env;

use crate::options::{Binding, TableOptions};
use crate::resolve::names::HostNameSource;
use crate::text::units::{self, Units};
use crate::tui::draw::columns::DEFAULT;
use crate::tui::draw::theme::{Background, Depth, Glyphs, Theme};
use crate::view::{Column, Group, SortKey};

/// The display options of the live table.
#[derive(Clone, Debug, PartialEq)]
pub struct DisplayOptions {
    pub theme: Theme,
    pub units: Units,
    /// Whether names replace ports and addresses, if known.
    pub names: bool,
    /// Source of host names at the start.
    pub hosts: HostNameSource,
    /// Whether totals are shown instead of rates.
    pub totals: bool,
    /// Whether one table shows both directions.
    pub combined: bool,
    /// Columns that are shown if there is room.
    pub columns: Vec<Column>,
    /// Columns of views that have none of their own.
    pub usual_columns: Vec<Column>,
    /// Grouping at the start.
    pub group: Group,
    /// Order of the rows at the start.
    pub sort: SortKey,
    /// Rows each way; `None` means as many as fit.
    pub rows: Option<usize>,
    /// Key bindings that replace the default ones.
    pub keys: Vec<Binding>,
}

impl DisplayOptions {
    /// Combines the configuration with what the terminal can show.
    pub fn new(options: &TableOptions, depth: Depth, background: Background) -> Self {
        let view = options.view.spec();
        Self {
            theme: Theme {
                depth: if options.color { depth } else { Depth::Mono },
                background,
                glyphs: Glyphs::new(options.ascii),
                palette: options.palette,
            },
            units: options.units,
            names: true,
            hosts: match options.host_names {
                true => HostNameSource::Servers,
                false => HostNameSource::HostsFile,
            },
            totals: false,
            combined: view.is_joined,
            columns: options
                .columns
                .clone()
                .or_else(|| view.columns.map(<[Column]>::to_vec))
                .unwrap_or_else(|| DEFAULT.clone()),
            usual_columns: options.columns.clone().unwrap_or_else(|| DEFAULT.clone()),
            group: options.group,
            sort: options.sort,
            rows: options.rows,
            keys: options.keys.clone(),
        }
    }

    /// Formats a rate for a column of numbers.
    pub fn rate_cell(&self, bytes_per_sec: f64) -> String {
        self.units.rate_cell(bytes_per_sec, self.theme.glyphs.zero)
    }

    /// Formats an amount of bytes for a column of numbers.
    pub fn amount_cell(&self, bytes: u64) -> String {
        self.units.amount_cell(bytes, self.theme.glyphs.zero)
    }

    /// Formats a time in microseconds.
    pub fn short_time(&self, us: u64) -> String {
        units::short_time(us, self.theme.glyphs.ascii)
    }

    /// Whether the terminal's background matters and can be queried. The console of Linux does not
    /// reply, and older consoles print unknown queries.
    pub fn depends_on_background(&self) -> bool {
        self.theme.depth != Depth::Mono && env::var("TERM").is_ok_and(|term| term != "linux")
    }

    /// Combines the configuration with the terminal that the environment describes.
    pub fn of(options: &TableOptions) -> Self {
        let var = |name| env::var(name).unwrap_or_default();
        Self::new(
            options,
            depth(&var("TERM"), &var("COLORTERM")),
            background(&var("COLORFGBG")),
        )
    }
}

/// Returns how many colours a terminal has, by TERM and COLORTERM.
fn depth(term: &str, colorterm: &str) -> Depth {
    if term.is_empty() || term == "dumb" {
        Depth::Mono
    } else if matches!(colorterm, "truecolor" | "24bit") || term.ends_with("-direct") {
        Depth::True
    } else if term.contains("256") {
        Depth::Ansi256
    } else {
        Depth::Ansi16
    }
}

/// Parses COLORFGBG: numbers of the text and background colours.
fn background(colorfgbg: &str) -> Background {
    match colorfgbg.rsplit(';').next().map(str::parse::<u8>) {
        Some(Ok(7 | 9..=15)) => Background::Light,
        Some(Ok(0..=6 | 8)) => Background::Dark,
        _ => Background::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terminal_says_how_many_colours_it_has() {
        assert_eq!(depth("xterm-256color", ""), Depth::Ansi256);
        assert_eq!(depth("xterm-256color", "truecolor"), Depth::True);
        assert_eq!(depth("xterm-direct", ""), Depth::True);
        assert_eq!(depth("linux", ""), Depth::Ansi16);
        assert_eq!(depth("dumb", "truecolor"), Depth::Mono);
    }

    #[test]
    fn the_background_is_known_where_the_terminal_tells() {
        assert_eq!(background("15;0"), Background::Dark);
        assert_eq!(background("0;default;15"), Background::Light);
        assert_eq!(background("12;8"), Background::Dark);
        assert_eq!(background(""), Background::Unknown);
        assert_eq!(background("default;default"), Background::Unknown);
    }

    #[test]
    fn without_colour_there_is_none_whatever_the_terminal_has() {
        let options = TableOptions::default();
        let display = DisplayOptions::new(&options, Depth::True, Background::Dark);
        assert_eq!(display.theme.depth, Depth::Mono);
    }
}
