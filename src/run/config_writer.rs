//! Writes the configuration file after flowtop has been confined, by descriptors from before.
//!
//! A file that is there is opened for writing and kept open. Where there is none yet, a file
//! without a name (`O_TMPFILE`) is opened in its folder, and gets the name when settings are saved:
//! nothing is left behind by who never saves. A name is given with the rights that flowtop has
//! then, so root, which becomes `nobody`, has to make the file itself.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open, openat};
use rustix::io::Errno;

use crate::cli::config_edit::{created, edited};
use crate::cli::config_file::MAX_BYTES;
use crate::options::{ConfigFile, SavedSettings};

/// The configuration file, as far as flowtop can write it.
#[derive(Debug)]
pub struct ConfigWriter {
    path: PathBuf,
    state: WriterState,
}

#[derive(Debug)]
enum WriterState {
    Open(File),
    /// The folder of the file, and a file without a name.
    Unnamed {
        folder: OwnedFd,
        file: File,
    },
    /// The reason why the file cannot be written.
    Impossible(String),
}

impl ConfigWriter {
    /// Opens the file with the rights of this thread.
    pub fn open(file: &ConfigFile, is_root: bool) -> Self {
        let state = existing(file)
            .and_then(|found| match found {
                Some(found) => Ok(WriterState::Open(found)),
                None if is_root => bail!("none yet; make it with --print-config, then restart"),
                None => unnamed(&file.path),
            })
            .unwrap_or_else(|error| WriterState::Impossible(format!("{error:#}")));
        Self {
            path: file.path.clone(),
            state,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the folder in which a file gets a name.
    pub fn links_in(&self) -> Option<PathBuf> {
        match &self.state {
            WriterState::Unnamed { folder, .. } => Some(by_descriptor(folder.as_raw_fd())),
            _ => None,
        }
    }

    /// Saves settings; the rest of the file stays unchanged.
    ///
    /// # Errors
    /// When the file cannot be written, or has a mistake. Its content is then as before.
    pub fn save(&mut self, settings: &SavedSettings) -> Result<()> {
        let shown = self.path.to_string_lossy().into_owned();
        self.write(settings)
            .with_context(|| format!("save {shown}"))
    }

    fn write(&mut self, settings: &SavedSettings) -> Result<()> {
        match &mut self.state {
            WriterState::Impossible(reason) => Err(anyhow!("{reason}")),
            WriterState::Open(file) => {
                // The file is read again, because it may have been edited since the start.
                if file.metadata()?.nlink() == 0 {
                    bail!("the file was replaced: start flowtop again");
                }
                let old = text(file)?;
                let new = edited(&old, settings)?;
                replace(file, old.as_bytes(), new.as_bytes())
            }
            WriterState::Unnamed { folder, file } => {
                replace(file, b"", created(settings).as_bytes())?;
                let name = self.path.file_name().unwrap_or_default();
                let unnamed = by_descriptor(file.as_raw_fd());
                match linkat(CWD, &unnamed, &*folder, name, AtFlags::SYMLINK_FOLLOW) {
                    Ok(()) => {}
                    Err(Errno::EXIST) => bail!("the file is there by now: start flowtop again"),
                    Err(error) => return Err(io::Error::from(error).into()),
                }
                let file = file.try_clone()?;
                self.state = WriterState::Open(file);
                Ok(())
            }
        }
    }
}

fn by_descriptor(descriptor: i32) -> PathBuf {
    format!("/proc/self/fd/{descriptor}").into()
}

/// Opens the existing file if it may be written.
fn existing(config: &ConfigFile) -> Result<Option<File>> {
    // Opening a pipe would wait for a reader, and opening a terminal could make it this process's
    // own.
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let found = match open(&config.path, flags, Mode::empty()) {
        Ok(found) => File::from(found),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(io::Error::from(error).into()),
    };
    let metadata = found.metadata()?;
    if !metadata.is_file() {
        bail!("it is not a regular file");
    }
    if config.owner.is_some_and(|owner| metadata.uid() != owner) {
        bail!("it belongs to user {}", metadata.uid());
    }
    Ok(Some(found))
}

/// Opens the folder, creates it if necessary, and opens a file without a name in it.
fn unnamed(path: &Path) -> Result<WriterState> {
    let folder = path.parent().context("the path has no folder")?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = open(folder, flags, Mode::empty()).map_err(io::Error::from)?;
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = openat(&folder, ".", flags, Mode::from_raw_mode(0o644)).map_err(io::Error::from)?;
    Ok(WriterState::Unnamed {
        folder,
        file: file.into(),
    })
}

fn text(file: &mut File) -> Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut text = String::new();
    let length = file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if length as u64 > MAX_BYTES {
        bail!("it is too large: a configuration file has at most 1 MiB");
    }
    Ok(text)
}

/// Replaces the contents of a file. A new file cannot be renamed over it, because the folder cannot
/// be written any more and the path may be a link. The new text is written before the file is cut
/// to its length; if the disk does not take all of it, the old text is written back, for which
/// there was room. Only a crash of the machine in between could leave a mixture.
fn replace(file: &File, old: &[u8], new: &[u8]) -> Result<()> {
    let write = |bytes: &[u8]| {
        file.write_all_at(bytes, 0)?;
        file.set_len(bytes.len() as u64)
    };
    if old == new {
        return Ok(());
    }
    if let Err(error) = write(new) {
        let _ = write(old);
        return Err(error.into());
    }
    file.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{Group, Preset, SortKey};

    fn settings(group: Group) -> SavedSettings {
        SavedSettings {
            columns: None,
            units: crate::text::units::Units::Bits,
            view: Preset::default(),
            sort: SortKey::default(),
            group,
        }
    }

    fn folder(name: &str) -> PathBuf {
        let name = format!("flowtop-config-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn file(path: &Path) -> ConfigFile {
        ConfigFile {
            path: path.to_owned(),
            owner: None,
        }
    }

    #[test]
    fn a_file_that_is_there_keeps_what_is_not_a_saved_setting() {
        let folder = folder("there");
        let path = folder.join("config.toml");
        fs::write(&path, "# mine\nsort = \"total\" # most\n").unwrap();
        let mut writer = ConfigWriter::open(&file(&path), true);
        // The file was edited in the meantime.
        fs::write(&path, "# mine, and more\n").unwrap();
        writer.save(&settings(Group::Process)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "# mine, and more\nunits = \"bits\"\ngroup = \"process\"\n"
        );
        // A shorter text leaves nothing of the longer one behind it.
        fs::write(&path, format!("{text}# {}\n", "x".repeat(5000))).unwrap();
        fs::write(&path, "units = \"bits\"\n").unwrap();
        writer.save(&settings(Group::Flow)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "units = \"bits\"\n");
        fs::remove_file(&path).unwrap();
        let error = format!("{:#}", writer.save(&settings(Group::Flow)).unwrap_err());
        assert!(error.contains("start flowtop again"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_new_file_has_a_name_only_once_it_is_saved() {
        let folder = folder("new");
        let path = folder.join("flowtop/config.toml");
        let mut writer = ConfigWriter::open(&file(&path), false);
        assert!(writer.links_in().is_some());
        assert!(!path.exists());
        writer.save(&settings(Group::Process)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("group = \"process\"\n"), "{text}");
        // From then on the file exists.
        writer.save(&settings(Group::Flow)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("group = \"flow\"\n"), "{text}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_cannot_be_written_says_why_and_nothing_is_made() {
        let folder = folder("impossible");
        let path = folder.join("flowtop/config.toml");
        let mut writer = ConfigWriter::open(&file(&path), true);
        let error = format!("{:#}", writer.save(&settings(Group::Flow)).unwrap_err());
        assert!(error.contains("--print-config"), "{error}");
        assert!(!folder.join("flowtop").exists());
        fs::create_dir_all(&path).unwrap();
        let mut writer = ConfigWriter::open(&file(&path), true);
        let error = format!("{:#}", writer.save(&settings(Group::Flow)).unwrap_err());
        assert!(error.contains("directory"), "{error}");
        let other = ConfigFile {
            owner: Some(4242),
            ..file(&folder.join("other"))
        };
        fs::write(&other.path, "").unwrap();
        let mut writer = ConfigWriter::open(&other, true);
        let error = format!("{:#}", writer.save(&settings(Group::Process)).unwrap_err());
        assert!(error.contains("belongs to user"), "{error}");
        assert_eq!(fs::read_to_string(&other.path).unwrap(), "");
        fs::remove_dir_all(folder).unwrap();
    }
}
