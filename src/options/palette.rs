//! Colours of the live table, as the configuration file writes them.

use std::fmt;
use std::str::FromStr;

/// Configured colours; `None`: the colour of the theme.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Palette {
    pub rx: Option<PaletteColor>,
    pub tx: Option<PaletteColor>,
    /// Losses and other trouble.
    pub trouble: Option<PaletteColor>,
    /// Behind the selected row.
    pub selection: Option<PaletteColor>,
    /// All process names, which otherwise have one of six colours each.
    pub process: Option<PaletteColor>,
}

/// A colour of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaletteColor {
    /// One of the 16 colours that the terminal's own palette names, or of the 240 after them.
    Indexed(u8),
    /// Red, green and blue.
    Rgb(u8, u8, u8),
}

/// The names of the first 16 colours.
const COLOR_NAMES: [&str; 16] = [
    "black",
    "red",
    "green",
    "yellow",
    "blue",
    "magenta",
    "cyan",
    "gray",
    "dark-gray",
    "light-red",
    "light-green",
    "light-yellow",
    "light-blue",
    "light-magenta",
    "light-cyan",
    "white",
];

/// A text that names no colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidColor(String);

impl fmt::Display for InvalidColor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown colour {:?}: use #rrggbb, a number from 0 to 255 or one of {}",
            self.0,
            COLOR_NAMES.join(", ")
        )
    }
}

impl std::error::Error for InvalidColor {}

impl FromStr for PaletteColor {
    type Err = InvalidColor;

    fn from_str(text: &str) -> Result<Self, InvalidColor> {
        let rgb = |hex: &str| {
            let is_hex = hex.len() == 6 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
            let value = u32::from_str_radix(hex, 16).ok().filter(|_| is_hex)?;
            let [_, red, green, blue] = value.to_be_bytes();
            Some(Self::Rgb(red, green, blue))
        };
        let found = if let Some(hex) = text.strip_prefix('#') {
            rgb(hex)
        } else if text.starts_with('+') {
            None
        } else if let Ok(index) = text.parse() {
            Some(Self::Indexed(index))
        } else {
            let index = COLOR_NAMES.iter().position(|name| *name == text);
            index
                .and_then(|index| u8::try_from(index).ok())
                .map(Self::Indexed)
        };
        found.ok_or_else(|| InvalidColor(text.to_owned()))
    }
}

impl fmt::Display for PaletteColor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Indexed(index) => match COLOR_NAMES.get(usize::from(index)) {
                Some(name) => f.write_str(name),
                None => write!(f, "{index}"),
            },
            Self::Rgb(red, green, blue) => write!(f, "#{red:02x}{green:02x}{blue:02x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_is_read_as_it_is_written() {
        for index in 0..=255 {
            let paint = PaletteColor::Indexed(index);
            assert_eq!(paint.to_string().parse(), Ok(paint));
        }
        assert_eq!("light-blue".parse(), Ok(PaletteColor::Indexed(12)));
        assert_eq!("12".parse(), Ok(PaletteColor::Indexed(12)));
        let paint: PaletteColor = "#0aFF7f".parse().unwrap();
        assert_eq!(paint, PaletteColor::Rgb(10, 255, 127));
        assert_eq!(paint.to_string(), "#0aff7f");
    }

    #[test]
    fn what_is_no_colour_is_refused() {
        for text in [
            "", "pink", "256", "-1", "+1", "#fff", "#gggggg", "#+00000", "Red",
        ] {
            let message = text.parse::<PaletteColor>().unwrap_err().to_string();
            assert!(message.contains("#rrggbb"), "{text:?}: {message}");
        }
    }
}
