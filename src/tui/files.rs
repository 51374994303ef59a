//! Interface through which the live table saves and records. The caller opens files and folders
//! before flowtop is confined; the table itself has no paths.

use anyhow::{Result, bail};

use crate::options::SavedSettings;
use crate::recording::recorder::Status;

/// Saves and records on behalf of the live table. Results and errors are sentences for the footer.
pub trait TableFiles {
    /// Saves settings in the configuration file.
    ///
    /// # Errors
    /// When there is none that can be written.
    fn save_settings(&mut self, settings: &SavedSettings) -> Result<String>;

    /// Saves the forms of one snapshot, each with its extension.
    ///
    /// # Errors
    /// When there is no folder for snapshots, or it cannot be written.
    fn save_snapshot(&mut self, forms: &[(&str, Vec<u8>)]) -> Result<String>;

    /// Starts a recording, or stops the one under way.
    ///
    /// # Errors
    /// When there is no folder for recordings, or it cannot be written.
    fn toggle_recording(&mut self) -> Result<String>;

    /// Returns the status of the recording under way.
    fn recording(&self) -> Option<Status>;
}

/// A table that cannot save anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFiles;

impl TableFiles for NoFiles {
    fn save_settings(&mut self, _: &SavedSettings) -> Result<String> {
        bail!("no configuration file is known here")
    }

    fn save_snapshot(&mut self, _: &[(&str, Vec<u8>)]) -> Result<String> {
        bail!("no folder for snapshots: start flowtop with --snapshot-dir DIR")
    }

    fn toggle_recording(&mut self) -> Result<String> {
        bail!("no folder to record in: start flowtop with --snapshot-dir DIR")
    }

    fn recording(&self) -> Option<Status> {
        None
    }
}
