//! Files of recordings: their options, damage, rotation, and a disk that is full.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::thread;

use super::{run, sample, unpacked};
use crate::common::demo::Demo;
use crate::common::folder::Folder;
use crate::common::pty::Watched;
use crate::common::{flowtop_with, records, stderr, sum};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

#[test]
fn conflicting_record_options_are_rejected() {
    let folder = Folder::new("refused");
    let there = folder.file("there.jsonl");
    fs::write(&there, "precious").unwrap();
    let (sample, missing) = (sample(), folder.file("missing"));
    let dir = folder.path().to_str().unwrap();
    for (args, fix) in [
        (
            vec!["--replay", &sample, "--backend", "kprobe"],
            "cannot be used with",
        ),
        (
            vec!["--replay", &sample, "--record", &missing],
            "cannot be used with",
        ),
        (
            vec!["--replay", &sample, "--max-flows", "100"],
            "cannot be used with",
        ),
        (
            vec!["--replay", &sample, "--no-pushdown"],
            "cannot be used with",
        ),
        (vec!["--replay", &missing], "No such file"),
        (
            vec!["--replay", &sample, "tcp"],
            "put a filter before --replay",
        ),
        (vec!["--replay", dir], "is a directory"),
        (vec!["--replay", "-", "-"], "can be replayed once"),
        (vec!["--replay"], "--replay needs a value: give a recording"),
        (
            vec!["--record", &there],
            "already exists and flowtop never overwrites",
        ),
        (vec!["--record", dir], "is a directory"),
        (vec!["--record", "-"], "--json -n 0"),
        (vec!["--record-size", "1GB"], "--record is missing"),
        (
            vec!["--record", &missing, "--record-files", "3"],
            "--record-size or --record-time",
        ),
        (
            vec!["--record", &missing, "--record-size", "1Mb"],
            "write 1Mbit or 1MB",
        ),
        (
            vec!["--record", &missing, "--record-size", "1B"],
            "give at least 10.0 kB",
        ),
        (
            vec!["--record", &missing, "--record-time", "0"],
            "as in 90, 30s, 5m, 1h30m or 1d",
        ),
        (
            vec!["--record", &missing, "--record-files", "0"],
            "give a number from 1 up",
        ),
        (vec!["--once", "-c", "2"], "cannot be used with"),
        (vec!["--csv", "--json"], "cannot be used with"),
        (vec!["--csv", "--sort", "peak"], "only the live table"),
        (vec!["--duration", "soon"], "as in 90, 30s"),
        (vec!["--exit-when", "tcp"], "use only rate and bytes"),
        (
            vec!["--exit-when", "rate > 1GB and port 80"],
            "use only rate and bytes",
        ),
        (vec!["--exit-when", "rate"], "needs a comparison"),
    ] {
        let output = run(&args, 2);
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(
            stderr(&output).contains(fix),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    assert_eq!(fs::read(&there).unwrap(), b"precious");
    assert!(!Path::new(&missing).exists());
}

/// Cut off anywhere, and changed: read up to there, said, exit code 1.
#[test]
fn a_damaged_file_is_read_up_to_the_damage() {
    let folder = Folder::new("damaged");
    let packed = fs::read(sample()).unwrap();
    let text = unpacked(&sample());
    let half = text.len() / 2;
    // A digit of a counter: still a record, but not what was counted.
    let field = b"\"rx_bytes\":";
    let digit = text[half..]
        .windows(field.len())
        .position(|window| window == field);
    let digit = half + digit.unwrap() + field.len();
    let mut changed = text.clone();
    changed[digit] = if changed[digit] == b'9' {
        b'8'
    } else {
        changed[digit] + 1
    };
    let mut garbled = packed.clone();
    let middle = garbled.len() / 2;
    garbled[middle..middle + 64].fill(0x55);
    let lines = |text: &[u8]| {
        records(text)
            .iter()
            .filter(|r| r["type"] == "interval")
            .count()
    };
    let whole = lines(&run(&["--replay", &sample(), "--json"], 0).stdout);
    for (name, bytes, printed) in [
        ("cut.jsonl", &text[..half], "cut off"),
        ("cut.jsonl.zst", &packed[..packed.len() / 2], "cut off"),
        ("changed.jsonl", &changed, "changed.jsonl: line "),
        ("garbled.jsonl.zst", &garbled, "garbled.jsonl.zst: line "),
    ] {
        let file = folder.file(name);
        fs::write(&file, bytes).unwrap();
        let output = run(&["--replay", &file, "--json"], 1);
        let read = lines(&output.stdout);
        assert!(
            (1..whole).contains(&read) || name.starts_with("garbled"),
            "{name}: {read}"
        );
        assert!(
            stderr(&output).contains(printed),
            "{name}: {}",
            stderr(&output)
        );
        // The next file is read all the same.
        let both = run(&["--json", "--replay", &file, &sample()], 1);
        assert_eq!(lines(&both.stdout), read + whole, "{name}");
    }
    let newer = folder.file("newer.jsonl");
    fs::write(
        &newer,
        String::from_utf8(text)
            .unwrap()
            .replace("\"schema\":2", "\"schema\":9"),
    )
    .unwrap();
    let output = run(&["--replay", &newer, "--batch"], 1);
    assert!(
        stderr(&output).contains("replay it with a newer flowtop"),
        "{}",
        stderr(&output)
    );
    assert!(output.stdout.is_empty());
}

/// Intervals by their ends, with the bytes received and sent until then, of an output that may be
/// cut off: so without the last.
fn intervals_of(output: &[u8]) -> BTreeMap<String, (Vec<Value>, [u64; 2])> {
    let end = output.iter().rposition(|&byte| byte == b'\n');
    let all = records(&output[..end.map_or(0, |end| end + 1)]);
    let mut intervals: Vec<_> = all
        .chunk_by(|_, next| next["type"] != "interval")
        .map(<[Value]>::to_vec)
        .collect();
    intervals.pop();
    let mut sums = [0; 2];
    let ended = intervals.into_iter().map(|interval| {
        for (sum, field) in sums.iter_mut().zip(["rx_bytes", "tx_bytes"]) {
            *sum += interval[0][field].as_u64().unwrap();
        }
        let time = interval[0]["time"].as_str().unwrap().to_owned();
        (time, (interval, sums))
    });
    ended.collect()
}

/// Killed in the middle of it: every interval that had ended is there.
#[test]
fn after_kill_9_at_most_the_last_interval_is_lost() {
    let folder = Folder::new("killed");
    let _traffic = Demo::start();
    for name in ["x.jsonl", "x.jsonl.zst"] {
        let file = folder.file(name);
        let mut command = flowtop_with(&["--json", "-n0", "-i", "0.2", "--record", &file]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut live = Vec::new();
        let head = br#"{"type":"interval","#;
        let intervals = |text: &[u8]| {
            text.split_inclusive(|&byte| byte == b'\n')
                .filter(|line| line.starts_with(head))
                .count()
        };
        let mut seen = 0;
        while seen < 20 {
            let from = live.len();
            assert!(stdout.read_until(b'\n', &mut live).unwrap() > 0, "ended");
            seen += intervals(&live[from..]);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        stdout.read_to_end(&mut live).unwrap();
        let output = flowtop_with(&["--json", "-n0", "--replay", &file])
            .output()
            .unwrap();
        let replayed = output.stdout.clone();
        assert!(intervals(&replayed) >= 18);
        assert!(
            intervals(&replayed) + 2 >= intervals(&live),
            "{}",
            stderr(&output)
        );
        // What was seen is what is there. Where its writer was late, what is shown is joined, and
        // its sums are those of the file all the same.
        let (shown, kept) = (intervals_of(&live), intervals_of(&replayed));
        let last = kept.last_key_value().unwrap().0.clone();
        assert!(shown.range(..=last.clone()).count() > 1);
        for (time, (seen, sums)) in shown.range(..=last) {
            let (there, until) = &kept[time];
            let length = |interval: &[Value]| interval[0]["seconds"].as_f64();
            assert_eq!(sums, until, "{time}");
            assert!(seen == there || length(seen) > length(there), "{time}");
        }
        if name.ends_with(".zst") {
            assert_eq!(output.status.code(), Some(1));
            assert!(stderr(&output).contains("cut off"), "{}", stderr(&output));
        }
    }
}

/// A file system of so many bytes, unmounted when dropped.
struct Tiny(PathBuf);

impl Tiny {
    fn mount(path: PathBuf, kib: u32) -> Self {
        fs::create_dir_all(&path).unwrap();
        let options = std::ffi::CString::new(format!("size={kib}k")).unwrap();
        mount(
            "tmpfs",
            &path,
            "tmpfs",
            MountFlags::empty(),
            Some(options.as_c_str()),
        )
        .unwrap();
        Self(path)
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// The display goes on, it is said, what waits is written when there is room again, and sums are
/// whole.
#[test]
fn a_full_disk_holds_up_nothing_and_loses_nothing_if_room_comes_in_time() {
    let folder = Folder::new("full");
    // It is soon full, and then there is room for whatever has waited on a busy machine.
    let disk = Tiny::mount(folder.join("disk"), 8192);
    let _traffic = Demo::start();
    let (file, ballast) = (disk.0.join("x.jsonl"), disk.0.join("ballast"));
    fs::write(&ballast, vec![7; (8192 - 156) << 10]).unwrap();
    let mut command = flowtop_with(&[
        "--json",
        "-n0",
        "-i",
        "0.1",
        "--record",
        file.to_str().unwrap(),
    ]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let live = thread::spawn(move || {
        let mut live = Vec::new();
        stdout.read_to_end(&mut live).unwrap();
        live
    });
    let printed = Arc::new(Watched::new(String::new()));
    let (mut log, filling) = (child.stderr.take().unwrap(), Arc::clone(&printed));
    let reader = thread::spawn(move || {
        let mut bytes = [0; 1024];
        while let Ok(n @ 1..) = log.read(&mut bytes) {
            filling.change(|printed| printed.push_str(&String::from_utf8_lossy(&bytes[..n])));
        }
    });
    // The disk is small, but whoever else uses the machine may slow all of this down.
    let says = |what: &str| (0..3).any(|_| printed.wait_until(|printed| printed.contains(what)));
    let is_full = says("No space left on device");
    assert!(is_full, "{}", printed.with(|printed| printed.clone()));
    // Whole intervals are what is there now.
    let now = run(&["--json", "--replay", file.to_str().unwrap()], 0);
    assert!(!now.stdout.is_empty());
    fs::remove_file(&ballast).unwrap();
    let goes_on = says("it goes on, nothing is lost");
    assert!(goes_on, "{}", printed.with(|printed| printed.clone()));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let (code, live) = (child.wait().unwrap().code(), live.join().unwrap());
    reader.join().unwrap();
    let printed = printed.with(|printed| printed.clone());
    let replayed = run(&["--json", "-n0", "--replay", file.to_str().unwrap()], 0).stdout;
    let (live, replayed) = (records(&live), records(&replayed));
    for field in ["rx_bytes", "tx_bytes"] {
        let (shown, kept) = (
            sum(&live, "interval", field),
            sum(&replayed, "interval", field),
        );
        match code {
            Some(0) => assert_eq!(kept, shown, "{field}"),
            // The rest of the disk was not enough for all that had waited.
            _ => assert!(
                kept < shown && printed.contains("are not in it"),
                "{field}: {printed}"
            ),
        }
    }
}

#[test]
fn a_disk_that_stays_full_is_an_error_in_the_end() {
    let _traffic = Demo::start();
    let output = run(
        &["--json", "-i", "0.1", "-c", "10", "--record", "/dev/full"],
        1,
    );
    let shown = records(&output.stdout);
    assert!(
        shown.iter().filter(|r| r["type"] == "interval").count() > 1,
        "it went on"
    );
    let printed = stderr(&output);
    assert!(
        printed.contains("No space left on device") && printed.contains("are not in it"),
        "{printed}"
    );
}

#[test]
fn files_rotate_under_real_traffic_and_are_one_recording() {
    let folder = Folder::new("rotate");
    let _traffic = Demo::start();
    let file = folder.file("web.jsonl.zst");
    let live = run(
        &[
            "--json",
            "-n0",
            "-i",
            "0.1",
            "--duration",
            "6",
            "--record",
            &file,
            "--record-time",
            "0.5",
        ],
        0,
    );
    let mut files: Vec<PathBuf> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    let mut args = vec!["--json", "-n0", "--replay"];
    args.extend(files.iter().map(|file| file.to_str().unwrap()));
    let replayed = run(&args, 0).stdout;
    let (live, replayed) = (records(&live.stdout), records(&replayed));
    assert_eq!(
        sum(&replayed, "flow", "tx_bytes"),
        sum(&live, "flow", "tx_bytes")
    );
}
