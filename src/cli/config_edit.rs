//! Saves settings of the live table in the text of a configuration file. Comments, order and
//! unchanged settings stay as they are.

use anyhow::{Context, Result, anyhow};
use toml_edit::{Array, DocumentMut, Item, Value};

use super::config_file::Settings;
use crate::options::SavedSettings;
use crate::view::Column;

/// Returns the text of a file with these settings changed and everything else kept.
///
/// # Errors
/// When the text has a mistake, with its line.
pub fn edited(text: &str, saved: &SavedSettings) -> Result<String> {
    let old = Settings::parse(text).map_err(|error| anyhow!("{error}: mend it first"))?;
    // Settings that the file has already, or that equal the default it leaves out, are not touched.
    let mut changes: Vec<(&str, Value)> = Vec::new();
    if saved.columns != old.columns {
        changes.push(("columns", columns(saved.columns.as_deref())));
    }
    if saved.units != old.units {
        changes.push(("units", saved.units.as_str().into()));
    }
    if saved.view != old.view {
        changes.push(("view", saved.view.as_str().into()));
    }
    if saved.sort != old.sort {
        changes.push(("sort", saved.sort.to_string().into()));
    }
    if saved.group != old.group {
        changes.push(("group", saved.group.to_string().into()));
    }
    if changes.is_empty() {
        return Ok(text.to_owned());
    }
    let document: DocumentMut = text.parse().context("read the configuration file")?;
    // In a file of comments alone, settings are added below them: the parser takes the comments for
    // the end of an empty file.
    let (before, mut document) = match document.is_empty() {
        true => (text.trim_end(), DocumentMut::new()),
        false => ("", document),
    };
    for (key, value) in changes {
        set(&mut document, key, value);
    }
    let text = match before {
        "" => document.to_string(),
        before => format!("{before}\n{document}"),
    };
    // A file that flowtop could not read at its next start would lose all settings.
    match Settings::parse(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(anyhow!("{error}")),
    }
}

/// Returns the text of a new file, with every setting explained.
pub fn created(saved: &SavedSettings) -> String {
    let settings = Settings {
        columns: saved.columns.clone(),
        units: saved.units,
        view: saved.view,
        sort: saved.sort,
        group: saved.group,
        ..Settings::default()
    };
    settings.to_string()
}

fn columns(columns: Option<&[Column]>) -> Value {
    match columns {
        None => "auto".into(),
        Some(columns) => {
            let names = columns.iter().map(|column| column.as_str());
            Value::Array(names.collect::<Array>())
        }
    }
}

/// Sets a key of the file's first level. The text around the old value, such as a comment behind
/// it, stays.
fn set(document: &mut DocumentMut, key: &str, mut value: Value) {
    match document.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        None => {
            document.insert(key, Item::Value(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::units::Units;
    use crate::view::{Group, Preset, SortKey};

    fn saved() -> SavedSettings {
        SavedSettings {
            columns: Some(vec![Column::Process, Column::Rate]),
            units: Units::Bits,
            view: Preset::Peers,
            sort: SortKey::by(Column::Total),
            group: Group::Process,
        }
    }

    fn assert_contains(text: &str, saved: &SavedSettings) {
        let settings = Settings::parse(text).unwrap();
        assert_eq!(settings.columns, saved.columns, "{text}");
        assert_eq!(settings.units, saved.units, "{text}");
        assert_eq!(settings.view, saved.view, "{text}");
        assert_eq!(settings.sort, saved.sort, "{text}");
        assert_eq!(settings.group, saved.group, "{text}");
    }

    #[test]
    fn comments_order_and_other_settings_stay() {
        let text = "# mine\ncolor = \"never\"  # no colours\nunits = \"bytes-iec\" # powers\n\n\
                    [colors]\n# like the sea\nrx = \"blue\"\n\n[keys]\nquit = \"Q\" # not q\n";
        let new = edited(text, &saved()).unwrap();
        assert_contains(&new, &saved());
        assert!(
            new.starts_with("# mine\ncolor = \"never\"  # no colours\nunits = \"bits\" # powers\n")
        );
        assert!(
            new.ends_with(&text[text.find("[colors]").unwrap()..]),
            "{new}"
        );
        // Saving again changes nothing.
        assert_eq!(edited(&new, &saved()).unwrap(), new);
    }

    #[test]
    fn what_is_not_changed_is_not_written() {
        let default = Settings::default();
        let saved = SavedSettings {
            columns: default.columns,
            units: default.units,
            view: default.view,
            sort: default.sort,
            group: default.group,
        };
        for text in ["", "# nothing\n", "ascii = \"never\""] {
            assert_eq!(edited(text, &saved).unwrap(), text);
        }
        // A default that replaces another value is written out.
        let text = edited("columns = [\"rate\"] # one\n", &saved).unwrap();
        assert_eq!(text, "columns = \"auto\" # one\n");
    }

    #[test]
    fn a_file_with_a_mistake_is_left_alone() {
        for text in ["units = ", "[keys]\nnothing = \"x\"\n", "units = 1\n"] {
            let error = edited(text, &saved()).unwrap_err().to_string();
            assert!(error.contains("line "), "{error}");
        }
    }

    #[test]
    fn a_new_file_explains_itself() {
        let text = created(&saved());
        assert_contains(&text, &saved());
        assert!(text.starts_with("# Defaults for flowtop"));
        assert_eq!(edited(&text, &saved()).unwrap(), text);
    }
}
