//! The environment of a run, read once.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::cli::config_file::{ConfigOrigin, PathVariables, candidate_paths, prompt_path};
use crate::resolve::namespace;
use crate::sandbox::privilege::Caller;

/// Inputs of a run besides its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Whether standard output is a terminal that can be drawn on; only then is the live table the
    /// default.
    pub terminal: bool,
    /// Width of an output line in columns: that of the terminal, otherwise `COLUMNS`.
    pub columns: Option<u16>,
    /// Whether `NO_COLOR` is set and not empty, see <https://no-color.org>.
    pub no_color: bool,
    /// Whether the terminal can draw lines and charts in Unicode.
    pub draws_unicode: bool,
    /// Candidate paths of the configuration file.
    pub config_files: Vec<ConfigOrigin>,
    /// Where the texts of prompts are kept; `None` if no folder for them is known.
    pub prompt_file: Option<PathBuf>,
    /// Whether the privilege comes from the file's capabilities, so that every user who may execute
    /// the file has it.
    pub is_lent: bool,
    /// Inode of the pid namespace, where it is not the initial one.
    pub pid_namespace: Option<u32>,
}

impl Environment {
    /// Returns the environment of this process. `caller` is the user who started it, `is_lent` is
    /// whether its privilege comes from the file's capabilities.
    pub fn current(terminal: bool, caller: &Caller, is_lent: bool) -> Self {
        let var = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let called_sudo = || (caller.uid.as_raw(), caller.home.clone());
        let vars = PathVariables {
            xdg_config_home: var("XDG_CONFIG_HOME"),
            xdg_state_home: var("XDG_STATE_HOME"),
            home: var("HOME"),
            called_sudo: caller.called_sudo.then(called_sudo),
        };
        let window = rustix::termios::tcgetwinsize(rustix::stdio::stdout());
        let window = window.ok().map(|size| size.ws_col);
        let columns_env = || var("COLUMNS")?.to_str()?.parse().ok();
        Self {
            terminal,
            columns: window.filter(|&columns| columns > 0).or_else(columns_env),
            no_color: var("NO_COLOR").is_some(),
            draws_unicode: draws_unicode(["LC_ALL", "LC_CTYPE", "LANG"].map(var), var("TERM")),
            config_files: candidate_paths(&vars),
            prompt_file: prompt_path(&vars),
            is_lent,
            pid_namespace: namespace::own_pid(),
        }
    }
}

/// Returns whether the terminal can draw lines and charts in Unicode: in a locale of UTF-8, and not
/// on the console of Linux, whose fonts have 512 glyphs at most, and none of braille.
fn draws_unicode(locale: [Option<OsString>; 3], term: Option<OsString>) -> bool {
    is_utf8(locale) && term.is_none_or(|term| term != "linux")
}

/// Returns whether the locale uses UTF-8. POSIX reads LC_ALL, LC_CTYPE, LANG in this order; without
/// any the locale is C, which is ASCII.
fn is_utf8(locale: [Option<OsString>; 3]) -> bool {
    let locale = locale.into_iter().flatten().next().unwrap_or_default();
    let locale = locale.to_string_lossy().to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_locale_that_is_set_counts() {
        let utf8 = |all: &str, ctype: &str, lang: &str| {
            let var = |value: &str| Some(OsString::from(value)).filter(|value| !value.is_empty());
            is_utf8([var(all), var(ctype), var(lang)])
        };
        assert!(utf8("", "", "de_DE.UTF-8"));
        assert!(utf8("", "C.utf8", "C"));
        assert!(!utf8("C", "", "de_DE.UTF-8"));
        assert!(!utf8("", "", "de_DE.ISO-8859-1"));
        assert!(!utf8("", "", ""));
    }

    #[test]
    fn the_console_of_linux_draws_no_unicode() {
        let draws = |term: &str| {
            let locale = [Some(OsString::from("C.UTF-8")), None, None];
            draws_unicode(locale, Some(OsString::from(term)))
        };
        assert!(draws("xterm-256color"));
        assert!(!draws("linux"));
    }
}
