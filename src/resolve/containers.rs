//! Names of containers and pods, from files that their engines leave on this machine. flowtop
//! queries no daemon.
//!
//! Such files are root's, or a user's own, and flowtop is neither once it counts. So a reader
//! process per owner opens them: it is `nobody` to everything but files, which it opens with the
//! owner's rights (fsuid, credentials(7)). It has no capabilities, and Landlock leaves it no other
//! folders. It starts before flowtop drops its privileges, and only on a machine that has such
//! folders. The reader also parses the files, so a hostile file reaches no other process.

mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod protocol;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::files::{EngineFolders, Question};
use super::cgroup::{CgroupLocation, Delegate, parse_path};
use crate::model::container::{ContainerLabels, is_label};
use crate::model::flow::{Flow, Owner};
use crate::system::accounts::accounts;

/// First argument that makes the program a reader of names instead of a top. The number of the user
/// follows.
pub const READER_ARG: &str = "--container-names";
/// How long an interval with new containers waits for their names, at most. Reading a file takes
/// less than 1 ms.
const WAIT: Duration = Duration::from_millis(50);
/// After this a container is looked at again, if it still moves bytes: it may have another name.
const FRESH_FOR: Duration = Duration::from_secs(30);
/// Cgroups of which it is remembered what was found.
const MAX_KNOWN: usize = 4096;
/// Questions that a reader may owe an answer to. Their lines fit into a pipe (64 KiB), so asking
/// never waits.
const MAX_PENDING: usize = 64;
/// Users whose engines are read.
const MAX_USERS: usize = 8;
/// How long a reader may take to end. A stopped one (SIGSTOP) does not end, and must not keep
/// flowtop.
const END_WAIT: Duration = Duration::from_millis(500);
/// A folder for each user who is logged in, or lingers.
const USERS: &str = "/run/user";

/// Finds names for the owners of flows.
#[derive(Debug, Default)]
pub struct ContainerNames {
    readers: Vec<NameReader>,
    /// By the path of the cgroup.
    known: HashMap<Arc<str>, KnownContainer>,
    questions: u64,
}

/// What is known of a cgroup.
#[derive(Debug)]
struct KnownContainer {
    /// `None` outside of a container.
    location: Option<CgroupLocation>,
    labels: Option<Arc<ContainerLabels>>,
    /// When to send the next question; `None` while one is unanswered.
    expires: Option<Instant>,
}

/// A process that reads files of one owner.
#[derive(Debug)]
struct NameReader {
    /// The user whose engines it reads; `None`: those of the system.
    user: Option<u32>,
    process: Child,
    questions: Option<ChildStdin>,
    answers: ChildStdout,
    /// What was read of an answer.
    partial: Vec<u8>,
    pending: HashMap<u64, Arc<str>>,
}

impl ContainerNames {
    /// Starts a reader for the engines of the system, and one for those of each user who is logged
    /// in and has any. Call it with the privilege that readers give away, and before other threads
    /// start.
    pub fn start() -> Self {
        let is_root = rustix::process::geteuid().is_root();
        let own = rustix::process::getuid().as_raw();
        let passwd = fs::read("/etc/passwd").unwrap_or_default();
        let logged_in = fs::read_dir(USERS)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let uid = entry.ok()?.file_name().to_str()?.parse().ok()?;
                (uid != 0 && (is_root || uid == own)).then_some(uid)
            });
        let users = logged_in.filter(|&uid| {
            let home = home_of(&passwd, uid);
            home.is_some_and(|(home, _)| !EngineFolders::of_user(uid, &home).all().is_empty())
        });
        let mut whose: Vec<Option<u32>> = users.take(MAX_USERS).map(Some).collect();
        if !EngineFolders::of_system(Path::new("/"), 0).all().is_empty() {
            whose.push(None);
        }
        // Without a reader ids are shown.
        let readers = whose
            .into_iter()
            .filter_map(|user| NameReader::start(user).ok());
        Self {
            readers: readers.collect(),
            ..Self::default()
        }
    }

    /// Adds names to the owners of flows. Waits for those of new containers, [`WAIT`] at most; a
    /// name that comes later is there in the next interval.
    pub fn label(&mut self, flows: &mut [Flow]) {
        if self.readers.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut is_new = false;
        if self.known.len() > MAX_KNOWN {
            self.known.retain(|_, known| known.expires.is_none());
        }
        for flow in flows.iter() {
            if let Some(path) = &flow.owner.cgroup {
                is_new |= self.request_names(path, now);
            }
        }
        self.take_answers(if is_new { now + WAIT } else { now });
        let mut labelled: HashMap<*const Owner, (Arc<Owner>, Arc<Owner>)> = HashMap::new();
        for flow in flows {
            let known = flow
                .owner
                .cgroup
                .as_ref()
                .and_then(|path| self.known.get(path));
            if let Some(labels) = known.and_then(|known| known.labels.as_ref()) {
                let old = Arc::clone(&flow.owner);
                // The old one is held too: its address must not become another's.
                let (_, new) = labelled.entry(Arc::as_ptr(&old)).or_insert_with(|| {
                    let labels = Some(Arc::clone(labels));
                    let new = Owner {
                        labels,
                        ..Owner::clone(&old)
                    };
                    (old, Arc::new(new))
                });
                flow.owner = Arc::clone(new);
            }
        }
    }

    /// Sends a question for a cgroup's names, if one is due. Returns whether the cgroup is new.
    fn request_names(&mut self, path: &Arc<str>, now: Instant) -> bool {
        let is_new = !self.known.contains_key(path);
        let known = self.known.entry(Arc::clone(path)).or_insert_with(|| {
            let location = parse_path(path);
            let is_in = location.container.is_some() || location.pod.is_some();
            KnownContainer {
                location: is_in.then_some(location),
                labels: None,
                expires: Some(now),
            }
        });
        let Some(location) = &known.location else {
            return false;
        };
        if known.expires.is_none_or(|expires| expires > now) {
            return false;
        }
        let user = match &location.delegate {
            Delegate::System => None,
            Delegate::User(uid) => Some(*uid),
            // No file of this machine names what is inside of a container.
            Delegate::Container(_) | Delegate::Unknown => {
                known.location = None;
                return false;
            }
        };
        let container = location.container.as_ref();
        let container = container.filter(|container| container.runtime.has_files());
        let question = Question {
            runtime: container.map(|container| container.runtime),
            id: container.map(|container| container.id.as_str()),
            pod: location.pod.as_deref(),
        };
        let reader = self.readers.iter_mut().find(|reader| reader.user == user);
        let is_empty = question.id.is_none() && question.pod.is_none();
        let Some(reader) = reader.filter(|_| !is_empty) else {
            known.location = None;
            return false;
        };
        self.questions += 1;
        let line = protocol::question(self.questions, &question);
        if reader.send(self.questions, &line, path) {
            known.expires = None;
            return is_new;
        }
        false
    }

    /// Takes the answers that are there by then; until they are all there.
    fn take_answers(&mut self, deadline: Instant) {
        for reader in &mut self.readers {
            reader.read(deadline, &mut |path, found| {
                let Some(known) = self.known.get_mut(path) else {
                    return;
                };
                known.expires = Some(Instant::now() + FRESH_FOR);
                let Some(labels) = labels_after(known.labels.as_deref(), found) else {
                    return;
                };
                if known.labels.as_deref() != Some(&labels) {
                    known.labels = Some(Arc::new(labels));
                }
            });
        }
    }
}

/// Returns a container's labels after a look-up that found `found`: once its engine has forgotten
/// it, the known ones are kept and marked. `None`: nothing has changed.
fn labels_after(
    known: Option<&ContainerLabels>,
    found: Option<ContainerLabels>,
) -> Option<ContainerLabels> {
    let forgotten = || {
        let labels = known.filter(|labels| !labels.is_stale)?.clone();
        Some(ContainerLabels {
            is_stale: true,
            ..labels
        })
    };
    found.or_else(forgotten)
}

impl NameReader {
    fn start(user: Option<u32>) -> Result<Self> {
        let whose = user.map_or_else(|| "system".to_owned(), |uid| uid.to_string());
        let mut process = Command::new("/proc/self/exe")
            .arg0("flowtop-names")
            .arg(READER_ARG)
            .arg(whose)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Not in the terminal's foreground group: Ctrl-C is for flowtop.
            .process_group(0)
            .spawn()
            .context("start the reader of container names")?;
        let pipes = process.stdin.take().zip(process.stdout.take());
        let (questions, answers) = pipes.context("talk to the reader of container names")?;
        rustix::io::ioctl_fionbio(&answers, true)?;
        rustix::io::ioctl_fionbio(&questions, true)?;
        Ok(Self {
            user,
            process,
            questions: Some(questions),
            answers,
            partial: Vec::new(),
            pending: HashMap::new(),
        })
    }

    /// Sends a question. Returns false while too many questions are unanswered, and after the
    /// reader has ended.
    fn send(&mut self, number: u64, line: &[u8], path: &Arc<str>) -> bool {
        let Some(questions) = &mut self.questions else {
            return false;
        };
        if self.pending.len() >= MAX_PENDING {
            return false;
        }
        if questions.write_all(line).is_err() {
            self.questions = None;
            return false;
        }
        self.pending.insert(number, Arc::clone(path));
        true
    }

    /// Hands over the answers that are there by the deadline.
    fn read(
        &mut self,
        deadline: Instant,
        take: &mut dyn FnMut(&Arc<str>, Option<ContainerLabels>),
    ) {
        let mut bytes = [0; 4096];
        while !self.pending.is_empty() && self.questions.is_some() {
            match self.answers.read(&mut bytes) {
                Ok(0) => self.questions = None,
                Ok(count) => self.partial.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() || !self.wait(left) {
                        return;
                    }
                }
                Err(_) => self.questions = None,
            }
            while let Some(end) = self.partial.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.partial.drain(..=end).collect();
                let answer = protocol::parse_answer(&line);
                let Some((number, labels)) = answer else {
                    continue;
                };
                if let Some(path) = self.pending.remove(&number) {
                    let labels = labels.checked(is_label);
                    take(&path, (!labels.is_empty()).then_some(labels));
                }
            }
            if self.partial.len() > protocol::MAX_LINE {
                self.questions = None;
            }
        }
    }

    /// Waits for more to read. Returns whether there may be some.
    fn wait(&self, left: Duration) -> bool {
        let Ok(left) = Timespec::try_from(left) else {
            return false;
        };
        let mut answers = [PollFd::from_borrowed_fd(
            self.answers.as_fd(),
            PollFlags::IN,
        )];
        poll(&mut answers, Some(&left)).is_ok_and(|ready| ready > 0)
    }
}

impl Drop for NameReader {
    fn drop(&mut self) {
        // A reader ends with its standard input, and its standard output ends with it.
        drop(self.questions.take());
        let deadline = Instant::now() + END_WAIT;
        let mut bytes = [0; 4096];
        loop {
            match self.answers.read(&mut bytes) {
                Ok(0) => break drop(self.process.wait()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() || !self.wait(left) {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
    }
}

/// The rights with which a reader opens files.
#[derive(Debug)]
pub struct ReaderRights {
    /// The owner of the files.
    pub user: u32,
    /// The group of that owner.
    pub group: u32,
    /// The only folders that the reader can open files in.
    pub folders: Vec<PathBuf>,
}

/// Runs as the reader of container names. `confine` makes the process what it is given, and nothing
/// more.
///
/// # Errors
/// When its arguments are not those that flowtop gives it, it cannot be confined, or flowtop has
/// gone.
pub fn reader(
    mut args: impl Iterator<Item = OsString>,
    confine: impl FnOnce(&ReaderRights) -> Result<()>,
) -> Result<()> {
    let whose = args.next().and_then(|whose| whose.into_string().ok());
    let (mut folders, user, group) = match whose.as_deref() {
        Some("system") => (EngineFolders::of_system(Path::new("/"), 0), 0, 0),
        Some(uid) if args.next().is_none() && uid != "0" => {
            let uid = uid.parse().with_context(own_argument)?;
            let passwd = fs::read("/etc/passwd").context("read /etc/passwd")?;
            let (home, group) = home_of(&passwd, uid).with_context(own_argument)?;
            (EngineFolders::of_user(uid, &home), uid, group)
        }
        _ => bail!(own_argument()),
    };
    confine(&ReaderRights {
        user,
        group,
        folders: folders.all(),
    })?;
    protocol::serve(io::stdin().lock(), io::stdout().lock(), &mut folders)
        .context("answer for container names")
}

fn own_argument() -> String {
    format!("{READER_ARG} is flowtop's own")
}

/// Home folder and group of a user.
fn home_of(passwd: &[u8], uid: u32) -> Option<(PathBuf, u32)> {
    let account = accounts(passwd).find(|account| account.uid == uid)?;
    let home = std::str::from_utf8(account.home?).ok()?;
    Some((home.into(), account.gid?))
}
