//! The files and folders in which the live table saves. flowtop opens them with the rights of the
//! caller before it is confined, so that nobody has it write what they could not write themselves.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};

use super::config_writer::ConfigWriter;
use crate::jsonl::writer::Json;
use crate::options::{Config, Output, SavedSettings};
use crate::recording::recorder::Status;
use crate::recording::snapshots::SnapshotFolder;
use crate::recording::switch::RecordingSwitch;
use crate::sandbox::privilege::Privilege;
use crate::text::sanitize::sanitize;
use crate::tui::TableFiles;

/// Files that are opened before confinement.
#[derive(Debug, Default)]
pub struct OpenedFiles {
    config: Option<ConfigWriter>,
    snapshots: Option<SnapshotFolder>,
    /// Whether the caller named the folder, which only one of the caller's groups may be allowed to
    /// write.
    is_named: bool,
}

impl OpenedFiles {
    /// Opens the files of a run: none for text, JSON and CSV. `is_bounded` is whether the sandbox
    /// will limit writing to the allowed folders.
    ///
    /// # Errors
    /// When the folder that `--snapshot-dir` names cannot be opened.
    pub fn open(config: &Config, privilege: &Privilege, is_bounded: bool) -> Result<Self> {
        if config.output != Output::Table {
            return Ok(Self::default());
        }
        let is_root = privilege.caller().is_root();
        let writer = config.config_file.as_ref();
        let named = config.snapshot_dir.as_deref();
        let named = named.map(SnapshotFolder::open).transpose()?;
        let is_named = named.is_some();
        Ok(Self {
            config: writer.map(|file| ConfigWriter::open(file, is_root)),
            snapshots: named.or_else(|| own_folder(config, !is_root && is_bounded)),
            is_named,
        })
    }

    /// Whether creating files needs all rights of the caller.
    pub fn takes_groups(&self) -> bool {
        self.is_named
    }

    /// Returns the folder in which files will be created.
    pub fn writes_in(&self) -> Option<PathBuf> {
        self.snapshots.as_ref().map(SnapshotFolder::by_descriptor)
    }

    /// Returns the folder in which a file will get a name.
    pub fn links_in(&self) -> Option<PathBuf> {
        self.config.as_ref()?.links_in()
    }
}

/// Opens the folder for snapshots beside the texts of prompts. Not for root, who would have to
/// remain root to save there, and not if flowtop could then write elsewhere too. Without the
/// folder, keys name `--snapshot-dir`.
fn own_folder(config: &Config, is_safe: bool) -> Option<SnapshotFolder> {
    let state = config.table.prompt_file.as_ref()?.parent()?;
    let folder = is_safe.then(|| SnapshotFolder::open_own(&state.join("snapshots")))?;
    folder.ok()
}

/// The open files of a live table.
pub struct RunFiles {
    pub opened: OpenedFiles,
    /// `None` if a recording is shown.
    pub recording: Option<(RecordingSwitch, Json)>,
}

impl TableFiles for RunFiles {
    fn save_settings(&mut self, settings: &SavedSettings) -> Result<String> {
        let Some(config) = &mut self.opened.config else {
            bail!("no configuration file: set HOME or XDG_CONFIG_HOME");
        };
        config.save(settings)?;
        let path = config.path().to_string_lossy().into_owned();
        Ok(format!("settings saved in {}", sanitize(&path)))
    }

    fn save_snapshot(&mut self, forms: &[(&str, Vec<u8>)]) -> Result<String> {
        let folder = self.opened.snapshots.as_ref().ok_or_else(|| {
            anyhow!("no folder for snapshots: start flowtop with --snapshot-dir DIR")
        })?;
        let path = folder.save(forms)?;
        let path = path.to_string_lossy().into_owned();
        let extensions: Vec<&str> = forms.iter().map(|(extension, _)| *extension).collect();
        let path = sanitize(&path).into_owned();
        Ok(format!("saved {path}.{}", extensions.join(", .")))
    }

    fn toggle_recording(&mut self) -> Result<String> {
        let Some((switch, json)) = &self.recording else {
            bail!("this is a recording: record on the machine that is counted");
        };
        let done = switch.toggle(self.opened.snapshots.as_ref(), json)?;
        Ok(sanitize(&done.to_string()).into_owned())
    }

    fn recording(&self) -> Option<Status> {
        self.recording.as_ref()?.0.status()
    }
}
