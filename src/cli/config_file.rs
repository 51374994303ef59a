//! Parses the configuration file into [`Settings`], and writes settings as a file that parses to
//! equal ones. Arguments override the file elsewhere.

#[cfg(any(test, fuzzing))]
pub mod fuzz;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use super::config_path::{
    ConfigOrigin, MAX_BYTES, PathVariables, candidate_paths, prompt_path, read,
};

use crate::options::{Binding, COMMANDS, CTRL_C, DefaultBinding, Key, Palette};
use crate::text::sanitize::{is_unsafe_char, sanitize};
use crate::text::suggest::{UnknownWord, nearest};
use crate::text::units::Units;
use crate::view::{Column, Group, Preset, SortKey};

/// The settings of the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Columns of the live table; `None`: as many as its width allows.
    pub columns: Option<Vec<Column>>,
    /// The units of rates and amounts.
    pub units: Units,
    /// The view of the live table at the start.
    pub view: Preset,
    /// The order of rows.
    pub sort: SortKey,
    /// The grouping of flows into rows.
    pub group: Group,
    /// File of the user's zones.
    pub zones: Option<PathBuf>,
    /// Whether to use colours.
    pub color: When,
    /// Whether to draw with ASCII only.
    pub ascii: When,
    pub palette: Palette,
    /// Key bindings that replace the default ones.
    pub keys: Vec<Binding>,
}

/// The value of a setting that may depend on the terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    #[default]
    Auto,
    Always,
    Never,
}

impl When {
    pub const ALL: [Self; 3] = [Self::Auto, Self::Always, Self::Never];

    /// The name on the command line and in the configuration file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

impl FromStr for When {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.map(Self::as_str);
        let found = Self::ALL.into_iter().find(|when| when.as_str() == word);
        found.ok_or_else(|| UnknownWord::new("choice", word, &known))
    }
}

/// A mistake in a configuration file: what, where, and the fix. Sanitized, because the file may
/// belong to another user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub line: usize,
    /// The setting, with its table before it; empty if the file is not TOML.
    pub key: String,
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", sanitize(&self.key))?;
        }
        f.write_str(&sanitize(&self.message))
    }
}

impl std::error::Error for ConfigError {}

const SETTINGS: &[&str] = &[
    "columns", "units", "view", "sort", "group", "zones", "color", "ascii", "colors", "keys",
];
const PAINTED: &[&str] = &["rx", "tx", "trouble", "selection", "process"];

impl Settings {
    /// Parses the text of a file. Settings that it does not have keep their defaults.
    ///
    /// # Errors
    /// The first mistake.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let file = ConfigText { text };
        let table = DeTable::parse(text).map_err(|error| {
            // The message names the expected value and quotes nothing: the file may belong to
            // another user.
            file.wrong(
                error.span().unwrap_or_default(),
                "",
                first_line(error.message()),
            )
        })?;
        let mut settings = Self::default();
        for (key, value) in table.get_ref() {
            let name: &str = key.get_ref();
            match name {
                "columns" => settings.columns = file.columns(value)?,
                "units" => settings.units = file.word(name, value)?,
                "view" => settings.view = file.word(name, value)?,
                "sort" => settings.sort = file.word(name, value)?,
                "group" => settings.group = file.word(name, value)?,
                "zones" => settings.zones = Some(file.path(name, value)?),
                "color" => settings.color = file.word(name, value)?,
                "ascii" => settings.ascii = file.word(name, value)?,
                "colors" => settings.palette = file.palette(value)?,
                "keys" => settings.keys = file.keys(value)?,
                _ => return Err(file.unknown(key.span(), "", name, SETTINGS)),
            }
        }
        Ok(settings)
    }
}

/// A file's text, to look up line numbers.
struct ConfigText<'a> {
    text: &'a str,
}

impl ConfigText<'_> {
    fn wrong(&self, at: Range<usize>, key: &str, message: impl fmt::Display) -> ConfigError {
        let before = self.text.as_bytes().get(..at.start).unwrap_or_default();
        ConfigError {
            line: 1 + before.iter().filter(|&&byte| byte == b'\n').count(),
            key: key.to_owned(),
            message: message.to_string(),
        }
    }

    fn unknown(&self, at: Range<usize>, table: &str, name: &str, known: &[&str]) -> ConfigError {
        let key = if table.is_empty() {
            name.to_owned()
        } else {
            format!("{table}.{name}")
        };
        let message = match nearest(name, known) {
            Some(near) => format!("unknown setting {name:?}: did you mean {near:?}?"),
            None => format!("unknown setting {name:?}: use {}", known.join(", ")),
        };
        self.wrong(at, &key, message)
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str) -> ConfigError {
        let found = value.get_ref().type_str();
        let article = if found.starts_with(['a', 'i']) {
            "an"
        } else {
            "a"
        };
        self.wrong(
            value.span(),
            key,
            format!("the value is {article} {found}: write {expected}"),
        )
    }

    /// Parses a string value by `FromStr`.
    fn word<T>(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<T, ConfigError>
    where
        T: FromStr<Err: fmt::Display>,
    {
        let text = value.get_ref().as_str();
        let text = text.ok_or_else(|| self.wrong_type(key, value, "a string in quotes"))?;
        text.parse()
            .map_err(|error: T::Err| self.wrong(value.span(), key, error))
    }

    fn path(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<PathBuf, ConfigError> {
        let text = value.get_ref().as_str();
        let text = text.ok_or_else(|| self.wrong_type(key, value, "a path in quotes"))?;
        match text.is_empty() {
            true => Err(self.wrong(value.span(), key, "the path is empty: name a file")),
            false => Ok(PathBuf::from(text)),
        }
    }

    fn columns(&self, value: &Spanned<DeValue<'_>>) -> Result<Option<Vec<Column>>, ConfigError> {
        if value.get_ref().as_str() == Some("auto") {
            return Ok(None);
        }
        let expected = "a list as in [\"rate\", \"process\"], or \"auto\"";
        let list = value.get_ref().as_array();
        let list = list.ok_or_else(|| self.wrong_type("columns", value, expected))?;
        let mut columns = Vec::new();
        for item in list.iter() {
            let column: Column = self.word("columns", item)?;
            if columns.contains(&column) {
                let message = format!("{:?} is listed twice: leave one out", column.as_str());
                return Err(self.wrong(item.span(), "columns", message));
            }
            columns.push(column);
        }
        if columns.is_empty() {
            let message = "the list is empty: name a column, or write \"auto\"";
            return Err(self.wrong(value.span(), "columns", message));
        }
        Ok(Some(columns))
    }

    fn table<'v, 'i>(
        &self,
        key: &str,
        value: &'v Spanned<DeValue<'i>>,
    ) -> Result<&'v DeTable<'i>, ConfigError> {
        let expected = format!("a table, as in [{key}] on a line of its own");
        let table = value.get_ref().as_table();
        table.ok_or_else(|| self.wrong_type(key, value, &expected))
    }

    fn palette(&self, value: &Spanned<DeValue<'_>>) -> Result<Palette, ConfigError> {
        let mut palette = Palette::default();
        for (key, value) in self.table("colors", value)? {
            let name: &str = key.get_ref();
            let paint = match name {
                "rx" => &mut palette.rx,
                "tx" => &mut palette.tx,
                "trouble" => &mut palette.trouble,
                "selection" => &mut palette.selection,
                "process" => &mut palette.process,
                _ => return Err(self.unknown(key.span(), "colors", name, PAINTED)),
            };
            *paint = Some(self.word(&format!("colors.{name}"), value)?);
        }
        Ok(palette)
    }

    fn keys(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<Binding>, ConfigError> {
        let mut bindings: Vec<Binding> = Vec::new();
        let table = self.table("keys", value)?;
        // In the order of the help screen, not that of the file.
        let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
        for (key, _) in table {
            let name: &str = key.get_ref();
            if !names.contains(&name) {
                return Err(self.unknown(key.span(), "keys", name, &names));
            }
        }
        for usual in COMMANDS {
            let command = usual.name;
            let Some(value) = table.get(command) else {
                continue;
            };
            let path = format!("keys.{command}");
            let mut keys = Vec::new();
            let list = match value.get_ref().as_array() {
                Some(list) => list.iter().collect(),
                None => vec![value],
            };
            for item in list {
                let key: Key = self.word(&path, item)?;
                let taken = bindings.iter().find(|other| {
                    let of = DefaultBinding::named(other.command);
                    let shares = of.is_some_and(|of| of.chapter.may_share_keys(usual.chapter));
                    !shares && other.keys.contains(&key)
                });
                if let Some(other) = taken {
                    let message = format!(
                        "{:?} is a key of {:?} too: give it to one",
                        key.to_string(),
                        other.command
                    );
                    return Err(self.wrong(item.span(), &path, message));
                }
                if key == CTRL_C && command != "quit" {
                    let message = "\"ctrl-c\" always quits: use another key";
                    return Err(self.wrong(item.span(), &path, message));
                }
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
            bindings.push(Binding { command, keys });
        }
        Ok(bindings)
    }
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

/// Returns a text as a TOML string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            // The file is printed to terminals too, and TOML reads it back.
            c if is_unsafe_char(c) => quoted.push_str(&format!("\\U{:08x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn quoted_list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items
        .into_iter()
        .map(|item| quoted(&item.to_string()))
        .collect();
    format!("[{}]", items.join(", "))
}

/// Returns the lines of the setting `zones`.
fn zones_setting(zones: Option<&Path>) -> String {
    let setting = match zones {
        Some(zones) => format!("zones = {}", quoted(&zones.to_string_lossy())),
        None => "# zones = \"zones\"".to_owned(),
    };
    format!(
        "# File of own zones of peers, for -g zone; relative to the folder of this file.\n{setting}\n"
    )
}

/// A commented file with these settings. Default colours and keys are written as comments.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |names: &[&str]| names.join(", ");
        writeln!(
            f,
            "# Defaults for flowtop; command-line options override them.\n\
             # $XDG_CONFIG_HOME/flowtop/config.toml or ~/.config/flowtop/config.toml\n"
        )?;
        writeln!(
            f,
            "# Columns of the live table: \"auto\" fills the width, or a list of these names.\n# A column without data is hidden."
        )?;
        for column in Column::ALL {
            writeln!(f, "#   {:11}  {}", column.as_str(), column.about())?;
        }
        match &self.columns {
            None => writeln!(f, "columns = \"auto\"\n")?,
            Some(columns) => {
                let columns = columns.iter().map(|column| column.as_str());
                writeln!(f, "columns = {}\n", quoted_list(columns))?;
            }
        }
        let units = Units::ALL.map(Units::as_str);
        writeln!(f, "# {}", names(&units))?;
        writeln!(f, "units = {}\n", quoted(self.units.as_str()))?;
        writeln!(
            f,
            "# Column that sorts the live table, with :asc or :desc if not in its default order.\nsort = {}\n",
            quoted(&self.sort.to_string())
        )?;
        let views = Preset::ALL.map(Preset::as_str);
        writeln!(f, "# View of the live table: {}", names(&views))?;
        writeln!(f, "view = {}\n", quoted(self.view.as_str()))?;
        let groups = Group::ALL.map(|group| group.to_string());
        writeln!(
            f,
            "# Groups of the live table: {}. flow: the group of the view.",
            groups.join(", ")
        )?;
        writeln!(f, "group = {}\n", quoted(&self.group.to_string()))?;
        writeln!(f, "{}", zones_setting(self.zones.as_deref()))?;
        writeln!(
            f,
            "# auto, always, never. auto: on a terminal, unless NO_COLOR is set.\ncolor = {}\n",
            quoted(self.color.as_str())
        )?;
        writeln!(
            f,
            "# auto, always, never. auto: if the locale is not UTF-8, and on the console of Linux.\nascii = {}\n",
            quoted(self.ascii.as_str())
        )?;
        writeln!(
            f,
            "# Names of the terminal's own colours (red, light-blue, ...), 0 to 255, or \
             \"#rrggbb\".\n[colors]"
        )?;
        let palette = &self.palette;
        let paints = [
            palette.rx,
            palette.tx,
            palette.trouble,
            palette.selection,
            palette.process,
        ];
        for ((name, paint), example) in PAINTED
            .iter()
            .zip(paints)
            .zip(["cyan", "yellow", "red", "blue", "green"])
        {
            match paint {
                Some(paint) => writeln!(f, "{name} = {}", quoted(&paint.to_string()))?,
                None => writeln!(f, "# {name} = {}", quoted(example))?,
            }
        }
        writeln!(
            f,
            "\n# Keys: a character, ctrl-x, alt-x, f1 to f24, space, enter, escape, up, pageup, ...\n\
             # A list replaces the default keys of a command; [] removes them.\n[keys]"
        )?;
        for command in COMMANDS {
            let mut line = String::new();
            match self
                .keys
                .iter()
                .find(|binding| binding.command == command.name)
            {
                Some(binding) => {
                    write!(line, "{} = {}", command.name, quoted_list(&binding.keys))?;
                }
                None => write!(line, "# {} = {}", command.name, quoted_list(command.keys))?,
            }
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}
