//! `--record` among others: who may read a recording, what another user puts in its place, and what
//! other programs do to its files meanwhile. Needs root, as all of `make test` does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::fs::{chown, lchown, symlink};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::flowtop_with;
use crate::common::folder::Folder;
use crate::common::pty::PATIENCE;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Pid, Signal, kill_process};

/// User id of somebody else.
const OTHER: u32 = 12_345;

/// A folder that everyone may write in, as /tmp.
fn shared(name: &str) -> Folder {
    Folder::with_mode(&format!("recording-{name}"), 0o1777)
}

fn names(folder: &Folder) -> Vec<String> {
    let names = fs::read_dir(folder.path()).unwrap();
    names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn recorder(file: &Path, args: &[&str]) -> Command {
    let mut command = flowtop_with(&["-q", "-i", "20ms", "--record"]);
    command.arg(file).args(args).stderr(Stdio::piped());
    command
}

fn once(file: &Path, args: &[&str]) -> (Option<i32>, String) {
    message(&recorder(file, args).args(["-c", "2"]).output().unwrap())
}

fn message(output: &Output) -> (Option<i32>, String) {
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn terminate(child: &Child) {
    kill_process(Pid::from_child(child), Signal::TERM).unwrap();
}

/// Ends within a second of SIGTERM, or is killed.
#[track_caller]
fn ends(mut child: Child) -> (Option<i32>, String) {
    terminate(&child);
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(10) {
            child.kill().unwrap();
            panic!("SIGTERM does not end it");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    message(&child.wait_with_output().unwrap())
}

#[track_caller]
fn wait_until(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Intervals that are read of a recording, which has to be whole.
#[track_caller]
fn replayed(file: &Path) -> usize {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowtop"));
    let output = command
        .args(["--json", "-n", "0", "--replay"])
        .arg(file)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .matches(r#""type":"interval""#)
        .count()
}

fn fifo(path: &Path, owner: u32) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    chown(path, Some(owner), Some(owner)).unwrap();
}

/// The reader's end, which does not wait for a writer.
fn reader(path: &Path) -> File {
    let mut options = File::options();
    options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .unwrap()
}

#[test]
fn a_recording_is_for_its_owner_alone_whatever_the_umask() {
    let folder = shared("mode");
    for (umask, args) in [("022", ""), ("000", "--record-time 1h")] {
        let file = folder.join(format!("a{umask}.jsonl"));
        let line = format!("umask {umask}; exec \"$0\" -q -c 1 -i 10ms --record \"$1\" {args}");
        let mut command = Command::new("sh");
        command
            .args(["-c", &line, env!("CARGO_BIN_EXE_flowtop")])
            .arg(&file);
        assert!(command.status().unwrap().success());
    }
    let names = names(&folder);
    assert_eq!(names.len(), 2);
    for name in names {
        let mode = fs::metadata(folder.join(&name)).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o600, "{name}");
    }
}

#[test]
fn what_another_user_puts_in_its_place_gets_nothing() {
    let folder = shared("planted");
    let pipe = folder.join("pipe.jsonl");
    fifo(&pipe, OTHER);
    let mut thief = reader(&pipe);
    let (code, message) = once(&pipe, &[]);
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains("belongs to user 12345"), "{message}");
    assert_eq!(thief.read(&mut [0; 8]).unwrap(), 0, "nobody opened it");

    // A link, whatever it leads to, with and without Landlock behind it.
    let target = folder.join("target");
    mknodat(
        CWD,
        &target,
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o666),
        makedev(1, 3),
    )
    .unwrap();
    let link = folder.join("link.jsonl");
    symlink(&target, &link).unwrap();
    lchown(&link, Some(OTHER), Some(OTHER)).unwrap();
    for args in [&[][..], &["--no-sandbox"]] {
        let (code, message) = once(&link, args);
        assert_eq!(code, Some(1), "{message}");
        assert!(message.contains("another user may have made"), "{message}");
    }
    // A disk of anyone's.
    let disk = folder.join("disk.jsonl");
    mknodat(
        CWD,
        &disk,
        FileType::BlockDevice,
        Mode::from_raw_mode(0o600),
        makedev(7, 99),
    )
    .unwrap();
    let (code, message) = once(&disk, &["--no-sandbox"]);
    assert_eq!(code, Some(1), "{message}");
    assert!(message.contains("only a new file"), "{message}");
}

#[test]
fn a_fifo_of_ones_own_is_written_to_its_reader_and_waits_for_none_when_told_to_stop() {
    let folder = shared("fifo");
    let pipe = folder.join("pipe.jsonl");
    fifo(&pipe, 0);
    // Without a reader.
    let child = recorder(&pipe, &[]).spawn().unwrap();
    let opened = format!("/proc/{}/task/{0}/wchan", child.id());
    wait_until(|| fs::read_to_string(&opened).is_ok_and(|wchan| wchan.contains("nanosleep")));
    assert_eq!(ends(child).0, Some(0));
    // With one that comes later.
    let mut child = recorder(&pipe, &["-c", "3"]).spawn().unwrap();
    let mut text = String::new();
    File::open(&pipe)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(text.matches(r#""type":"interval""#).count(), 3);
    // With one that does not read, and room for little.
    let stalled = reader(&pipe);
    fcntl_setpipe_size(&stalled, 4096).unwrap();
    let child = recorder(&pipe, &[]).spawn().unwrap();
    // A whole record that has no room waits, however little is missing.
    wait_until(|| rustix::io::ioctl_fionread(&stalled).unwrap() > 2048);
    std::thread::sleep(Duration::from_millis(100));
    let (code, message) = ends(child);
    assert_eq!(code, Some(1), "{message}");
    assert!(
        message.contains("does not read") && message.contains("are not in it"),
        "{message}"
    );
}

#[test]
fn descriptors_of_ones_own_are_recorded_to_by_name() {
    for line in [
        r#""$0" -q -c 2 -i 10ms --record /dev/stdout | cat"#,
        r#""$0" -q -c 2 -i 10ms --record >(cat); wait $!"#,
    ] {
        let mut command = Command::new("bash");
        let output = command
            .args(["-c", line, env!("CARGO_BIN_EXE_flowtop")])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let found = text.matches(r#""type":"interval""#).count();
        assert_eq!(
            found,
            2,
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn rotation_removes_its_own_files_alone() {
    let folder = shared("rotation");
    let name = |second: u32| format!("f-20200101T00000{second}.000Z.jsonl");
    let kept = folder.join("kept");
    fs::write(&kept, "kept").unwrap();
    for second in 0..6 {
        let path = folder.join(name(second));
        match second {
            // Own ones, to be removed.
            0 | 1 => fs::write(&path, "").unwrap(),
            2 => symlink(&kept, &path).unwrap(),
            3 => fifo(&path, 0),
            4 => fs::create_dir(&path).unwrap(),
            _ => {
                fs::write(&path, "").unwrap();
                chown(&path, Some(OTHER), Some(OTHER)).unwrap();
            }
        }
    }
    let rotating = ["--record-time", "1h", "--record-files", "1"];
    let (code, message) = once(&folder.join("f.jsonl"), &rotating);
    assert_eq!(code, Some(0), "{message}");
    let names = names(&folder);
    let left = (0..6).filter(|&second| names.contains(&name(second)));
    assert_eq!(left.collect::<Vec<_>>(), [2, 3, 4, 5]);
    assert_eq!(names.len(), 4 + 2, "{names:?}");
}

#[test]
fn a_file_that_is_truncated_under_it_and_its_copy_can_both_be_replayed() {
    let folder = shared("truncated");
    for name in ["a.jsonl", "a.jsonl.zst"] {
        let (file, copy) = (folder.join(name), folder.join(format!("1.{name}")));
        let child = recorder(&file, &[]).spawn().unwrap();
        let length = || fs::metadata(&file).map_or(0, |metadata| metadata.len());
        wait_until(|| length() > 2000);
        // As `copytruncate` of logrotate(8).
        fs::copy(&file, &copy).unwrap();
        File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_len(0)
            .unwrap();
        wait_until(|| length() > 1000);
        let (code, message) = ends(child);
        assert_eq!(code, Some(0), "{message}");
        assert_eq!(
            message.matches("was truncated by another program").count(),
            1,
            "{message}"
        );
        assert!(replayed(&file) > 0);
        // Its end is not there, as when it had been killed.
        if !name.ends_with("zst") {
            assert!(replayed(&copy) > 0);
        }
    }
}

#[test]
fn a_file_that_is_removed_under_it_is_said() {
    let folder = shared("removed");
    let file = folder.join("a.jsonl");
    let mut child = recorder(&file, &[]).spawn().unwrap();
    wait_until(|| file.exists());
    fs::remove_file(&file).unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let mut first = [0; 64];
    stderr.read_exact(&mut first).unwrap();
    assert_eq!(ends(child).0, Some(0));
    let mut rest = String::from_utf8_lossy(&first).into_owned();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("the file was removed"), "{rest}");
}

#[test]
fn a_folder_that_is_replaced_under_it_is_said_and_loses_nothing() {
    let folder = shared("replaced");
    let (log, old) = (folder.join("log"), folder.join("old"));
    fs::create_dir(&log).unwrap();
    let child = recorder(&log.join("f.jsonl"), &["--record-time", "0.1"])
        .spawn()
        .unwrap();
    wait_until(|| fs::read_dir(&log).unwrap().count() > 1);
    fs::rename(&log, &old).unwrap();
    fs::create_dir(&log).unwrap();
    let before = fs::read_dir(&old).unwrap().count();
    wait_until(|| fs::read_dir(&old).unwrap().count() > before + 1);
    let (code, message) = ends(child);
    assert_eq!(code, Some(0), "{message}");
    assert_eq!(
        message.matches("start flowtop again").count(),
        1,
        "{message}"
    );
    assert_eq!(fs::read_dir(&log).unwrap().count(), 0);
}
