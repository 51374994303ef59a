//! What whoever may run flowtop with more privilege than their own can do with it to the files of
//! root: nothing. Every path that a caller names is tried, on everything of root's that could stand
//! there, with the privilege lent by file capabilities and by sudo. Needs root, as all of `make
//! test` does.
//!
//! What came of it goes to `target/lending/`, for the table in docs/PRIVILEGES.md.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use crate::common::folder::copy_flowtop;
use crate::common::pty::{Pty, Watched};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

/// The user who runs flowtop: one that sudo knows.
const CALLER: u32 = 65_534;
/// What stands in root's files, and must not come out.
const SECRET: &str = "s3cr3t";

/// How the privilege is lent.
#[derive(Clone, Copy, PartialEq)]
enum Lent {
    /// setcap(8), as flowtop's own advice has it.
    FileCapabilities,
    /// A rule of sudoers(5) for flowtop alone, which keeps the caller's environment.
    Sudo,
}

/// What takes a path from the caller.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Record,
    RecordRotating,
    Replay,
    Config,
    Home,
    XdgConfigHome,
    Tmpdir,
    KprobeGuard,
    /// Snapshots and recordings by keys of the live table.
    SnapshotDir,
    /// Settings saved by a key of the live table.
    Save,
    /// Texts of prompts, and snapshots beside them.
    State,
    /// The summary of a command.
    Summary,
    /// What a command may do.
    AllowList,
    /// Own zones of peers.
    Zones,
    /// Two recordings that are compared, here one with itself.
    Diff,
    /// Counters of processes for other programs.
    Publish,
}

const ALL_BY: [(By, &str); 16] = [
    (By::Record, "`--record`"),
    (By::RecordRotating, "`--record --record-time`"),
    (By::Replay, "`--replay`"),
    (By::Config, "`--config`"),
    (By::Home, "`HOME`"),
    (By::XdgConfigHome, "`XDG_CONFIG_HOME`"),
    (By::Tmpdir, "`TMPDIR`"),
    (By::KprobeGuard, "`--kprobe-guard`"),
    (By::SnapshotDir, "`--snapshot-dir`, keys `w` and `R`"),
    (By::Save, "`XDG_CONFIG_HOME`, key `W`"),
    (By::State, "`XDG_STATE_HOME`, prompts and key `w`"),
    (By::Summary, "`run -o`"),
    (By::AllowList, "`run --allow`"),
    (By::Zones, "`--zones`"),
    (By::Diff, "`diff`"),
    (By::Publish, "`--publish`"),
];

/// What of root's stands where the path leads.
#[derive(Clone, Copy, PartialEq)]
enum Target {
    /// A file of mode 0600.
    File,
    /// Nothing, in a folder that others may look into.
    New,
    /// A file in a folder of mode 0700.
    InFolder,
    /// A character device of mode 0600.
    Device,
    /// A FIFO of mode 0600, whose other end root holds.
    Fifo,
    /// A link of the caller's own, to a file of mode 0600.
    Link,
}

const ALL_TARGETS: [Target; 6] = [
    Target::File,
    Target::New,
    Target::InFolder,
    Target::Device,
    Target::Fifo,
    Target::Link,
];

/// A folder with everything in it, that others than root may reach.
struct World {
    root: PathBuf,
    lent: Lent,
}

impl World {
    fn new(lent: Lent, name: &str) -> Self {
        let name = format!("flowtop-lending-{name}-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        fs::create_dir_all(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        let world = Self { root, lent };
        copy_flowtop(&world.flowtop());
        match lent {
            Lent::FileCapabilities => {
                let set = "cap_dac_override,cap_sys_admin,cap_perfmon,cap_bpf,cap_net_admin=ep";
                let set = Command::new("setcap")
                    .arg(set)
                    .arg(world.flowtop())
                    .status();
                assert!(set.unwrap().success());
            }
            Lent::Sudo => {
                let rule = format!(
                    "Defaults env_keep += \"HOME XDG_CONFIG_HOME XDG_STATE_HOME TMPDIR\"\n\
                     nobody ALL=(root) NOPASSWD: {}\n",
                    world.flowtop().display()
                );
                write(&world.root.join("sudoers"), &rule, 0o440);
            }
        }
        world
    }

    fn flowtop(&self) -> PathBuf {
        self.root.join("flowtop")
    }

    /// flowtop, run by the caller with what is lent; killed where it does not end.
    fn command(&self) -> Command {
        let script = match self.lent {
            Lent::FileCapabilities => r#"shift; exec timeout -s KILL 60 "$@""#,
            // sudo reads its rules from a file of this mount namespace's own.
            Lent::Sudo => {
                r#"mount --bind "$1" /etc/sudoers; shift
                exec timeout -s KILL 60 setpriv --reuid nobody --regid nogroup --clear-groups sudo -n "$@""#
            }
        };
        let mut command = match self.lent {
            Lent::FileCapabilities => {
                let id = CALLER.to_string();
                let mut command = Command::new("setpriv");
                command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "sh"]);
                command
            }
            Lent::Sudo => {
                let mut command = Command::new("unshare");
                command.args(["-m", "sh"]);
                command
            }
        };
        command.args(["-c", script, "sh"]);
        command.arg(self.root.join("sudoers")).arg(self.flowtop());
        command.stdin(Stdio::null());
        command
    }

    /// Everything below the folder, with its mode, owner, size and content.
    fn snapshot(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                let (mode, uid) = (metadata.mode(), metadata.uid());
                let changed = (metadata.mtime(), metadata.mtime_nsec());
                let mut text = format!("{mode:o} {uid} {} {changed:?}", metadata.size());
                if metadata.is_file() && metadata.size() < 10_000 {
                    write!(text, " {:?}", fs::read(&path).unwrap()).unwrap();
                }
                if metadata.is_dir() {
                    folders.push(path.clone());
                }
                found.insert(path, text);
            }
        }
        found
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn folder(path: &Path, mode: u32) {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o755).create(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What root has, and the caller would like to see: of the form that the reader of the path prints
/// most of.
fn secret(by: By) -> String {
    match by {
        By::Replay | By::Diff => {
            format!(r#"{{"type":"flow","proto":"{SECRET}","local_addr":"{SECRET}"}}"#)
        }
        By::Zones => format!("{SECRET} {SECRET}\n"),
        By::KprobeGuard => format!("p:flowtop_1/{SECRET} x\n"),
        By::Publish => format!("flowtopP{SECRET}"),
        _ => format!("{SECRET} = \"{SECRET}\"\nunits = \"{SECRET}\"\n"),
    }
}

/// Puts the target at a path, in a folder made for it. The end of a FIFO that nobody else opens.
fn put(target: Target, by: By, path: &Path) -> Option<File> {
    let parent = path.parent().unwrap();
    folder(parent, 0o755);
    match target {
        Target::File => write(path, &secret(by), 0o600),
        Target::New => {}
        Target::InFolder => {
            write(path, &secret(by), 0o644);
            folder(parent, 0o700);
        }
        Target::Device => {
            let mode = Mode::from_raw_mode(0o600);
            let zero = makedev(1, 5);
            mknodat(CWD, path, FileType::CharacterDevice, mode, zero).unwrap();
        }
        Target::Fifo => {
            let mode = Mode::from_raw_mode(0o600);
            mknodat(CWD, path, FileType::Fifo, mode, 0).unwrap();
            let mut options = File::options();
            let options = options.read(true).write(true);
            return Some(options.custom_flags(libc::O_NONBLOCK).open(path).unwrap());
        }
        Target::Link => {
            let hidden = parent.with_extension("hidden");
            folder(&hidden, 0o755);
            let hidden = hidden.join("file");
            write(&hidden, &secret(by), 0o600);
            symlink(&hidden, path).unwrap();
            lchown(path, Some(CALLER), Some(CALLER)).unwrap();
            chown(parent, Some(CALLER), Some(CALLER)).unwrap();
        }
    }
    None
}

/// The path that is given to flowtop, and where what it leads to stands.
fn paths(world: &World, by: By, target: Target, name: &str) -> (PathBuf, PathBuf) {
    let base = world
        .root
        .join(format!("{}-{}-{name}", by as u8, target as u8));
    match by {
        By::Home => (base.clone(), base.join(".config/flowtop/config.toml")),
        By::XdgConfigHome | By::Save => (base.clone(), base.join("flowtop/config.toml")),
        By::State => (base.clone(), base.join("flowtop/prompts")),
        // Files are made in it.
        By::SnapshotDir => (base.clone(), base.join("flowtop.jsonl")),
        // A file is made in it.
        By::Tmpdir => (base.clone(), base.join("file")),
        By::KprobeGuard => (base.clone(), base.join("kprobe_events")),
        By::Record
        | By::RecordRotating
        | By::Replay
        | By::Config
        | By::Summary
        | By::AllowList
        | By::Zones
        | By::Diff
        | By::Publish => {
            let file = base.join("f.jsonl");
            (file.clone(), file)
        }
    }
}

/// What flowtop says of the path, with its exit code: in the live table what its footer says of the
/// keys.
fn run(world: &World, by: By, given: &Path) -> (Option<i32>, String) {
    match by {
        By::SnapshotDir => {
            let mut command = world.command();
            command.arg("--snapshot-dir").arg(given);
            return press(command, &["w", "R"]);
        }
        By::Save => {
            let mut command = world.command();
            command.env("XDG_CONFIG_HOME", given);
            return press(command, &["u", "W"]);
        }
        By::State => {
            let mut command = world.command();
            command.env("XDG_STATE_HOME", given);
            return press(command, &["w"]);
        }
        _ => {}
    }
    let mut command = world.command();
    let counting = ["-q", "-c", "1", "-i", "10ms"];
    match by {
        By::Record => command.arg("--record").arg(given).args(counting),
        By::RecordRotating => {
            let rotating = ["--record-time", "1h", "--record-files", "1"];
            command
                .arg("--record")
                .arg(given)
                .args(rotating)
                .args(counting)
        }
        By::Replay => command.args(["--json", "--replay"]).arg(given),
        By::Config => command.arg("--print-config").arg("--config").arg(given),
        By::Home => command
            .arg("--print-config")
            .env("HOME", given)
            .env_remove("XDG_CONFIG_HOME"),
        By::XdgConfigHome => command.arg("--print-config").env("XDG_CONFIG_HOME", given),
        By::Tmpdir => command.args(["--doctor", "--json"]).env("TMPDIR", given),
        By::KprobeGuard => command.arg("--kprobe-guard").arg(given).arg("flowtop_1"),
        By::Summary => command.args(["run", "-o"]).arg(given).args(["--", "true"]),
        By::AllowList => command
            .args(["run", "--allow"])
            .arg(given)
            .args(["--", "true"]),
        By::Zones => command
            .args(["--batch", "-c", "1", "-i", "10ms", "--zones"])
            .arg(given),
        By::Diff => command.arg("diff").arg(given).arg(given),
        By::Publish => command.arg("--publish").arg(given).args(counting),
        By::SnapshotDir | By::Save | By::State => unreachable!("on a terminal, above"),
    };
    let output = command.output().unwrap();
    let message = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&message).into_owned(),
    )
}

/// Runs flowtop on a terminal and presses keys, each after what the one before has brought into the
/// footer.
fn press(command: Command, keys: &[&str]) -> (Option<i32>, String) {
    const SIZE: (u16, u16) = (240, 30);
    let pty = Pty::open(SIZE.0, SIZE.1);
    let mut on_it = pty.command(command.get_program());
    on_it.args(command.get_args()).args(["-i", "200ms"]);
    let changes = command
        .get_envs()
        .filter_map(|(key, value)| Some((key, value?)));
    on_it.envs(changes).env("LC_ALL", "C.UTF-8");
    let mut child = on_it.spawn().unwrap();
    // It holds the line too, of which the reader waits for the end.
    drop(on_it);
    let screen = Arc::new(Watched::new(vt100::Parser::new(SIZE.1, SIZE.0, 0)));
    let raw = Arc::new(Watched::new(String::new()));
    let (drawing, filling) = (Arc::clone(&screen), Arc::clone(&raw));
    let reader = pty.read(move |bytes| {
        filling.change(|raw| raw.push_str(&String::from_utf8_lossy(bytes)));
        drawing.change(|screen| screen.process(bytes));
    });
    let Pty { mut keyboard, line } = pty;
    drop(line);
    let footer = |screen: &mut vt100::Parser| {
        let rows: Vec<String> = screen.screen().rows(0, SIZE.0).collect();
        rows.last().cloned().unwrap_or_default()
    };
    let mut printed = String::new();
    // With the first interval, which a snapshot has too.
    let is_table = |screen: &mut vt100::Parser| {
        let second = screen.screen().rows(0, SIZE.0).nth(1).unwrap_or_default();
        ["quit", "First start"]
            .iter()
            .any(|word| footer(screen).contains(word))
            && second.starts_with(" in ")
    };
    // One that cannot open the folder ends before there is a table.
    let started =
        screen.wait_until(|screen| is_table(screen) || raw.with(|raw| raw.contains("flowtop: ")));
    assert!(started, "nothing came: {}", raw.with(|raw| raw.clone()));
    if screen.with(is_table) {
        for key in keys {
            let before = screen.with(footer);
            keyboard.write_all(key.as_bytes()).unwrap();
            // A unit is no message.
            if *key == "u" {
                continue;
            }
            let answered = screen.wait_until(|screen| {
                let now = footer(screen);
                now != before && !now.contains("quit")
            });
            assert!(answered, "{key} is not answered");
            printed.push_str(screen.with(footer).trim());
            printed.push('\n');
        }
        keyboard.write_all(b"q").unwrap();
    }
    let status = child.wait().unwrap();
    reader.join().unwrap();
    if printed.is_empty() {
        printed = raw.with(|raw| raw.clone());
    }
    (status.code(), printed)
}

/// A text without its numbers, which differ from run to run, and so does their length: the doctor
/// counts all connections of the machine.
fn plain(message: &str) -> String {
    let mut plain = message.replace(|c: char| c.is_ascii_digit(), "#");
    while plain.contains("##") {
        plain = plain.replace("##", "#");
    }
    plain
}

/// One cell of the table: what came of it, in words.
fn tried(world: &World, by: By, target: Target) -> String {
    let (given, stands) = paths(world, by, target, "there");
    let fifo = put(target, by, &stands);
    if matches!(by, By::RecordRotating | By::SnapshotDir) {
        // Recordings that rotation would remove if they were the caller's.
        for second in 1..4 {
            let name = format!("f-20200101T00000{second}.000Z.jsonl");
            write(&stands.with_file_name(name), "", 0o600);
        }
    }
    let makes_files = matches!(by, By::RecordRotating | By::SnapshotDir | By::State);
    if target == Target::Link && makes_files {
        // It is the folder that leads elsewhere.
        let parent = stands.parent().unwrap();
        let hidden = parent.with_extension("elsewhere");
        fs::rename(parent, &hidden).unwrap();
        chown(&hidden, Some(0), Some(0)).unwrap();
        symlink(&hidden, parent).unwrap();
        lchown(parent, Some(CALLER), Some(CALLER)).unwrap();
    }
    let before = world.snapshot();
    let (code, message) = run(world, by, &given);
    assert_eq!(
        world.snapshot(),
        before,
        "it changed what is root's: {message}"
    );
    assert_ne!(code, None, "it had to be killed");
    assert_ne!(code, Some(137), "it had to be killed");
    assert!(!message.contains(SECRET), "{message}");
    if let Some(mut fifo) = fifo {
        let mut got = [0; 1];
        assert!(
            fifo.read(&mut got).is_err(),
            "a FIFO of root got something: {message}"
        );
    }
    if target == Target::InFolder {
        let (other, stands) = paths(world, by, target, "gone_");
        folder(stands.parent().unwrap(), 0o700);
        let (other_code, other_printed) = run(world, by, &other);
        let (message, other_printed) = (
            plain(&message),
            plain(&other_printed).replace("gone_", "there"),
        );
        assert_eq!(
            (code, message),
            (other_code, other_printed),
            "it tells what is there"
        );
    }
    match code {
        Some(0) if matches!(by, By::SnapshotDir | By::Save) => {
            assert!(message.contains("Permission denied"), "{message}");
            "refused by the kernel".to_owned()
        }
        Some(0) if by == By::State => {
            assert!(
                message.contains("start flowtop with --snapshot-dir"),
                "{message}"
            );
            "not opened".to_owned()
        }
        Some(0) => "not opened".to_owned(),
        _ if message.contains("Permission denied") => "refused by the kernel".to_owned(),
        _ => "refused".to_owned(),
    }
}

fn every_path_is_tried(lent: Lent, name: &str, way: &str) {
    let world = World::new(lent, name);
    // It works as such, or nothing is shown by what does not.
    let own = world.root.join("own");
    folder(&own, 0o755);
    chown(&own, Some(CALLER), Some(CALLER)).unwrap();
    let (code, message) = run(&world, By::Record, &own.join("f.jsonl"));
    assert_eq!(code, Some(0), "{message}");
    let made = fs::metadata(own.join("f.jsonl")).unwrap();
    assert_eq!(made.uid(), CALLER, "whose recording it is");
    keys_save_what_is_the_callers(&world, &own);

    let row = |by: By, word: &str| {
        // Each has a folder of its own, in which nothing else changes meanwhile.
        let world = World::new(lent, &format!("{name}-{}", by as u8));
        let mut row = format!("| {way} | {word} |");
        for target in ALL_TARGETS {
            write!(row, " {} |", tried(&world, by, target)).unwrap();
        }
        row.push('\n');
        row
    };
    let mut table = String::new();
    // Most of the time flowtop waits: for an interval, a key, a process to end.
    for some in ALL_BY.chunks(4) {
        thread::scope(|scope| {
            let row = &row;
            let rows = some
                .iter()
                .map(|&(by, word)| scope.spawn(move || row(by, word)));
            let rows: Vec<_> = rows.collect();
            table.extend(rows.into_iter().map(|row| row.join().unwrap()));
        });
    }
    let flowtop = Path::new(env!("CARGO_BIN_EXE_flowtop"));
    let folder = flowtop
        .parent()
        .and_then(Path::parent)
        .unwrap()
        .join("lending");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{name}.md")), table).unwrap();
}

/// In a folder of the caller's the keys work: otherwise nothing would be shown by the ones that do
/// not.
fn keys_save_what_is_the_callers(world: &World, own: &Path) {
    let (code, printed) = run(world, By::SnapshotDir, own);
    assert_eq!(code, Some(0), "{printed}");
    assert!(
        printed.contains("saved ") && printed.contains("recording to "),
        "{printed}"
    );
    let mut forms = Vec::new();
    for entry in fs::read_dir(own).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if let Some(name) = name.strip_prefix("flowtop-") {
            let metadata = entry.metadata().unwrap();
            assert_eq!(
                (metadata.uid(), metadata.mode() & 0o777),
                (CALLER, 0o600),
                "{name}"
            );
            assert!(metadata.size() > 0, "{name} is empty");
            forms.push(name.split_once("Z.").unwrap().1.to_owned());
        }
    }
    forms.sort();
    assert_eq!(forms, ["jsonl", "jsonl.zst", "svg", "txt"]);
    let (code, printed) = run(world, By::State, own);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("flowtop/snapshots/flowtop-"), "{printed}");
    for (made, mode) in [("prompts", 0o600), ("snapshots", 0o700)] {
        let made = fs::metadata(own.join("flowtop").join(made)).unwrap();
        assert_eq!((made.uid(), made.mode() & 0o777), (CALLER, mode));
    }
    let (code, printed) = run(world, By::Save, own);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("settings saved in "), "{printed}");
    let saved = own.join("flowtop/config.toml");
    assert_eq!(fs::metadata(&saved).unwrap().uid(), CALLER);
    let text = fs::read_to_string(&saved).unwrap();
    assert!(text.contains("units = \"bytes-iec\""), "{text}");
    // Once more, into the file that is there by now, of which a person has changed something.
    fs::write(&saved, format!("# of mine\n{text}")).unwrap();
    let (code, printed) = run(world, By::Save, own);
    assert_eq!(code, Some(0), "{printed}");
    let text = fs::read_to_string(&saved).unwrap();
    assert!(
        text.starts_with("# of mine\n") && text.contains("units = \"bits\""),
        "{text}"
    );
}

#[test]
fn file_capabilities_lend_nothing_that_is_roots() {
    every_path_is_tried(Lent::FileCapabilities, "setcap", "file capabilities");
}

#[test]
fn a_sudoers_rule_for_flowtop_lends_nothing_that_is_roots() {
    every_path_is_tried(Lent::Sudo, "sudo", "sudo");
}

#[test]
fn file_capabilities_refuse_to_run_without_the_sandbox() {
    let world = World::new(Lent::FileCapabilities, "no-sandbox");
    let output = world.command().args(["--no-sandbox", "--once"]).output();
    let output = output.unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("run flowtop as root"), "{message}");
}

#[test]
fn a_path_that_only_root_may_open_names_who_called_sudo() {
    let world = World::new(Lent::Sudo, "hint");
    let (code, message) = run(&world, By::Record, &world.root.join("f.jsonl"));
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains("user 65534, who called sudo"), "{message}");
}
