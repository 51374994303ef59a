//! Finds and reads the configuration file.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::config_file::Settings;
use crate::options::ConfigFile;

/// Largest configuration file, in bytes.
pub const MAX_BYTES: u64 = 1 << 20;
/// Path of the file below the directory for configuration.
const FILE: &str = "flowtop/config.toml";

/// Environment variables that determine the path of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathVariables {
    // `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<OsString>,
    // `XDG_STATE_HOME`.
    pub xdg_state_home: Option<OsString>,
    // `HOME`.
    pub home: Option<OsString>,
    /// User and home folder of the caller of sudo; `None` if that is root.
    pub called_sudo: Option<(u32, Option<PathBuf>)>,
}

/// A path where the file may be, and the user it must belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigOrigin {
    pub path: PathBuf,
    /// The user that the file must belong to; a file of another user is ignored.
    pub owner: Option<u32>,
    /// Whether `--config` names it: then it is an error if it is missing.
    pub explicit: bool,
}

/// Returns the path of the file with the texts typed into prompts: in the user's state folder,
/// under sudo in that of the caller of sudo.
pub fn prompt_path(vars: &PathVariables) -> Option<PathBuf> {
    let of_home = |home: PathBuf| home.join(".local/state");
    let folder = match (&vars.xdg_state_home, &vars.called_sudo) {
        (Some(folder), _) if Path::new(folder).is_absolute() => Some(PathBuf::from(folder)),
        (_, Some((_, home))) => home.clone().map(of_home),
        (_, None) => vars.home.clone().map(PathBuf::from).map(of_home),
    };
    let folder = folder.filter(|folder| folder.is_absolute());
    folder.map(|folder| folder.join("flowtop/prompts"))
}

/// Returns the paths where the file may be; the first existing one is used. Under sudo the file of
/// the user who called it comes before that of root, because settings are a person's.
pub fn candidate_paths(vars: &PathVariables) -> Vec<ConfigOrigin> {
    let origin = |folder: PathBuf, owner| ConfigOrigin {
        path: folder.join(FILE),
        owner,
        explicit: false,
    };
    // The XDG specification requires that relative paths are ignored.
    let absolute = |path: &Option<OsString>| {
        let path = path.as_ref().map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let mut candidates = Vec::new();
    let xdg = absolute(&vars.xdg_config_home);
    let home = if xdg.is_some() {
        None
    } else {
        absolute(&vars.home)
    };
    if let Some(folder) = xdg {
        candidates.push(origin(
            folder,
            vars.called_sudo.as_ref().map(|(uid, _)| *uid),
        ));
    }
    if let Some((uid, Some(home))) = &vars.called_sudo
        && home.is_absolute()
    {
        candidates.push(origin(home.join(".config"), Some(*uid)));
    }
    let home = home.map(|home| origin(home.join(".config"), None));
    candidates.extend(home.filter(|home| {
        candidates
            .iter()
            .all(|candidate| candidate.path != home.path)
    }));
    candidates
}

/// Reads the first of these files that exists. Returns its settings, or the defaults if none
/// exists, and the file to save settings in.
///
/// # Errors
/// When the file cannot be read or has a mistake, with file, line and key.
pub fn read(candidates: &[ConfigOrigin]) -> Result<(Settings, Option<ConfigFile>)> {
    let file = |origin: &ConfigOrigin| ConfigFile {
        path: origin.path.clone(),
        owner: origin.owner,
    };
    for candidate in candidates {
        let path = candidate.path.display();
        let text = match text_of(candidate) {
            Ok(text) => text,
            Err(error) if is_missing(&error) && !candidate.explicit => continue,
            Err(error) => return Err(error).with_context(|| format!("read {path}")),
        };
        let Some(text) = text else {
            continue;
        };
        return match Settings::parse(&text) {
            Ok(settings) => Ok((settings, Some(file(candidate)))),
            Err(wrong) => bail!("{path}: {wrong}"),
        };
    }
    let first = candidates.first();
    Ok((Settings::default(), first.map(file)))
}

fn is_missing(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
}

/// Returns `None` for a file of another user than it must belong to.
fn text_of(candidate: &ConfigOrigin) -> io::Result<Option<String>> {
    let file = open(candidate)?;
    let metadata = file.metadata()?;
    if candidate.owner.is_some_and(|owner| metadata.uid() != owner) {
        return Ok(None);
    }
    if metadata.is_dir() {
        return Err(io::Error::other("it is a directory: name a file"));
    }
    let mut text = String::new();
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_BYTES {
        return Err(io::Error::other(
            "it is too large: a configuration file has at most 1 MiB",
        ));
    }
    Ok(Some(text))
}

fn open(candidate: &ConfigOrigin) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    if candidate.explicit {
        // Opened without O_NONBLOCK: the file may be a pipe whose writer comes later.
        return File::open(&candidate.path);
    }
    // Opening a pipe would wait for a writer, and opening a terminal could make it this process's
    // own.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(File::from(open(&candidate.path, flags, Mode::empty())?))
}
