//! Where the configuration file is, and reading it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::Settings;

/// Larger files are no configuration.
const MAX_BYTES: u64 = 1 << 20;
/// Below the folder of configurations.
const FILE: &str = "flowtop/config.toml";

/// What of the environment says where the file is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vars {
    /// `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<OsString>,
    /// `HOME`.
    pub home: Option<OsString>,
    /// `SUDO_UID`, when running as root.
    pub sudo_uid: Option<u32>,
}

/// A place where the file may be, and whose it then must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub path: PathBuf,
    /// Only if it belongs to this user: root reads it, and must not be sent to another's file.
    pub owner: Option<u32>,
    /// Whether it was asked for by name, so that it is wrong if it is not there.
    pub asked: bool,
}

/// Where the file may be, the first that is there counts. Under sudo that is the file of the user who
/// called it, because the settings are a person's, before that of root.
pub fn find(vars: &Vars, passwd: &[u8]) -> Vec<Origin> {
    let origin = |folder: PathBuf, owner| Origin {
        path: folder.join(FILE),
        owner,
        asked: false,
    };
    // The specification has paths that are not absolute ignored.
    let absolute = |path: &Option<OsString>| {
        let path = path.as_ref().map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let mut places = Vec::new();
    let xdg = absolute(&vars.xdg_config_home);
    let home = if xdg.is_some() {
        None
    } else {
        absolute(&vars.home)
    };
    if let Some(folder) = xdg {
        places.push(origin(folder, vars.sudo_uid));
    }
    if let Some(uid) = vars.sudo_uid
        && let Some(home) = home_of(passwd, uid)
    {
        places.push(origin(home.join(".config"), Some(uid)));
    }
    let home = home.map(|home| origin(home.join(".config"), None));
    places.extend(home.filter(|home| places.iter().all(|place| place.path != home.path)));
    places
}

/// The home of a user by `/etc/passwd`.
fn home_of(passwd: &[u8], uid: u32) -> Option<PathBuf> {
    let uid = uid.to_string();
    passwd.split(|&byte| byte == b'\n').find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|&byte| byte == b':').collect();
        let home = PathBuf::from(OsString::from_vec(fields.get(5)?.to_vec()));
        (fields[2] == uid.as_bytes() && home.is_absolute()).then_some(home)
    })
}

/// Reads the first of these files that is there; without one all is as usual.
///
/// # Errors
/// When it cannot be read, or something in it is wrong: with file, line and key.
pub fn read(places: &[Origin]) -> Result<Settings> {
    for place in places {
        let path = place.path.display();
        let text = match text_of(place) {
            Ok(text) => text,
            Err(error) if is_missing(&error) && !place.asked => continue,
            Err(error) => return Err(error).with_context(|| format!("read {path}")),
        };
        let Some(text) = text else {
            continue;
        };
        return match Settings::parse(&text) {
            Ok(settings) => Ok(settings),
            Err(wrong) => bail!("{path}: {wrong}"),
        };
    }
    Ok(Settings::default())
}

fn is_missing(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
}

/// `None` if it is not the file of the one whose it must be.
fn text_of(place: &Origin) -> io::Result<Option<String>> {
    let file = open(place)?;
    let metadata = file.metadata()?;
    if place.owner.is_some_and(|owner| metadata.uid() != owner) {
        return Ok(None);
    }
    if metadata.is_dir() {
        return Err(io::Error::other("this is a folder; name a file"));
    }
    let mut text = String::new();
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_BYTES {
        return Err(io::Error::other("this is too large for a configuration"));
    }
    Ok(Some(text))
}

fn open(place: &Origin) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    if place.asked {
        // May be a pipe that someone fills in his own time.
        return File::open(&place.path);
    }
    // Opening a pipe would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(File::from(open(&place.path, flags, Mode::empty())?))
}
