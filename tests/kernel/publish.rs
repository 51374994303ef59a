//! `--publish`: both readers against what the processes' own system calls returned, while processes
//! come and go.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::common::counting::traffic_program;
use crate::common::folder::Folder;
use crate::common::{flowtop_with, records, stderr};
use serde_json::Value;

/// Cases in which many processes move something and end at once.
const CASES: [&str; 3] = ["fork_many", "s11_processes", "s20_burst"];
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

fn contrib(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("contrib/publish")
        .join(file)
}

fn publisher(table: &str) -> Command {
    flowtop_with(&["-q", "-i", "0.1", "--publish", table])
}

/// The header of a table; zeros while there is none.
fn header(table: &str) -> [u8; 128] {
    let table = fs::read(table).unwrap_or_default();
    table.first_chunk().copied().unwrap_or([0; 128])
}

/// flowtop, from the moment on that the table has an interval.
struct Published(Child);

impl Published {
    fn start(table: &str) -> Self {
        let published = Self(publisher(table).spawn().unwrap());
        // A table of an earlier run may be there.
        let began = Instant::now();
        while header(table)[40..44] != published.0.id().to_ne_bytes() {
            assert!(began.elapsed() < PATIENCE, "no table");
            std::thread::yield_now();
        }
        published.wait(table, 0);
        published
    }

    /// Waits until the table has an interval that ended after this time.
    fn wait(&self, table: &str, since: u64) -> u64 {
        let began = Instant::now();
        loop {
            let updated = u64::from_ne_bytes(header(table)[32..40].try_into().unwrap());
            if updated > since {
                return updated;
            }
            assert!(began.elapsed() < PATIENCE, "no interval");
            std::thread::yield_now();
        }
    }

    fn stop(mut self) {
        let pid = rustix::process::Pid::from_raw(self.0.id() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

type Moved = BTreeMap<u64, [u64; 4]>;

fn counters(record: &Value) -> [u64; 4] {
    ["rx_bytes", "tx_bytes", "rx_msgs", "tx_msgs"].map(|field| record[field].as_u64().unwrap_or(0))
}

/// What each process of these records moved.
fn by_process<'a>(records: impl IntoIterator<Item = &'a Value>) -> Moved {
    let mut moved = Moved::new();
    for record in records {
        let sums = moved.entry(record["pid"].as_u64().unwrap()).or_default();
        for (sum, more) in sums.iter_mut().zip(counters(record)) {
            *sum += more;
        }
    }
    moved
}

/// Reads again and again: in each reading the rows add up to the total, and nothing goes back.
const C_READER: &str = r#"
#include "flowtop_publish.h"
#include <stdio.h>
#include <stdlib.h>
static struct flowtop_process rows[FLOWTOP_ROWS];
int main(int argc, char **argv)
{
	struct flowtop_table table;
	struct flowtop_header header;
	unsigned long long last = 0, generation = 0, readings = 0, rx, tx;
	if (argc != 3 || flowtop_open(&table, argv[1]) != 0) return perror("open"), 1;
	int count;
	do {
		count = flowtop_read(&table, &header, rows, FLOWTOP_ROWS);
		if (count < 0) return perror("read"), 1;
		rx = header.evicted_rx_bytes + header.untracked_rx_bytes;
		tx = header.evicted_tx_bytes + header.untracked_tx_bytes;
		for (int i = 0; i < count; i++) rx += rows[i].rx_bytes, tx += rows[i].tx_bytes;
		if (rx != header.rx_bytes || tx != header.tx_bytes || rx + tx < last)
			return fprintf(stderr, "%llu %llu of %llu %llu, before %llu\n", rx, tx,
				(unsigned long long)header.rx_bytes, (unsigned long long)header.tx_bytes, last), 1;
		last = rx + tx;
		readings += header.generation != generation;
		generation = header.generation;
	} while (atoi(argv[2]) && header.running);
	fprintf(stderr, "%llu moments\n", readings);
	for (int i = 0; i < count; i++)
		printf("{\"pid\":%u,\"rx_bytes\":%llu,\"tx_bytes\":%llu,\"rx_msgs\":%llu,\"tx_msgs\":%llu}\n", rows[i].pid,
			(unsigned long long)rows[i].rx_bytes, (unsigned long long)rows[i].tx_bytes,
			(unsigned long long)rows[i].rx_msgs, (unsigned long long)rows[i].tx_msgs);
	return 0;
}
"#;

fn c_reader(folder: &Folder) -> PathBuf {
    let (source, program) = (folder.join("reader.c"), folder.join("reader"));
    fs::write(&source, C_READER).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-Wall", "-Wextra", "-Werror", "-I"]);
    compiler
        .arg(contrib(""))
        .arg(&source)
        .arg("-o")
        .arg(&program);
    assert!(compiler.status().unwrap().success());
    // The page offers the header to C++ as well. clang builds flowtop, so it is here.
    let mut syntax = Command::new("clang");
    syntax.args([
        "-x",
        "c++",
        "-std=c++11",
        "-fsyntax-only",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-I",
    ]);
    syntax.arg(contrib("")).arg(&source);
    assert!(syntax.status().unwrap().success(), "as C++");
    program
}

#[test]
fn both_readers_agree_with_the_processes_under_churn() {
    let folder = Folder::new("publish");
    let (table, reader) = (folder.file("processes"), c_reader(&folder));
    let published = Published::start(&table);
    let all_the_while = Command::new(&reader)
        .args([&table, "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut truth = Moved::new();
    for _ in 0..3 {
        let ran = Command::new(traffic_program())
            .arg("run")
            .args(CASES)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{}", stderr(&ran));
        truth.extend(by_process(&records(&ran.stdout)));
    }
    assert!(truth.len() > 200, "{} processes", truth.len());
    // The interval under way when the last process ended, and the one that began in it.
    let ended = published.wait(&table, published.wait(&table, 0));
    published.wait(&table, ended);
    let python = Command::new("python3")
        .arg(contrib("flowtop_publish.py"))
        .arg(&table)
        .output()
        .unwrap();
    let c = Command::new(&reader).args([&table, "0"]).output().unwrap();
    published.stop();
    let all_the_while = all_the_while.wait_with_output().unwrap();
    assert!(all_the_while.status.success(), "{}", stderr(&all_the_while));
    let moments: u64 = stderr(&all_the_while)
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(moments > 5, "{moments} moments");
    for (read, how) in [
        (python, "Python"),
        (c, "C"),
        (all_the_while, "C, to the end"),
    ] {
        assert!(read.status.success(), "{how}: {}", stderr(&read));
        let read = by_process(&records(&read.stdout));
        for (pid, moved) in &truth {
            assert_eq!(read.get(pid), Some(moved), "{how}: process {pid}");
        }
    }
    let ended = fs::read(&table).unwrap();
    assert_eq!(ended[44..48], 0u32.to_ne_bytes(), "it is marked as running");
}

#[test]
fn a_table_is_made_for_its_group_and_replaces_only_a_table() {
    let folder = Folder::new("publish-made");
    // The folder hands down its group.
    rustix::fs::chown(folder.path(), None, Some(rustix::fs::Gid::from_raw(4))).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o2750)).unwrap();
    let table = folder.file("processes");
    let run = |table: &str| publisher(table).args(["-c", "1"]).output().unwrap();
    let mut inodes = Vec::new();
    for _ in 0..2 {
        let ran = run(&table);
        assert!(ran.status.success(), "{}", stderr(&ran));
        let made = fs::metadata(&table).unwrap();
        assert_eq!(
            (made.mode() & 0o7777, made.gid(), made.len()),
            (0o640, 4, 524_416)
        );
        inodes.push(made.ino());
    }
    let published = Published::start(&table);
    let second = run(&table);
    assert_eq!(second.status.code(), Some(1));
    assert!(
        stderr(&second).contains("another flowtop publishes there"),
        "{}",
        stderr(&second)
    );
    published.stop();
    for (name, put) in [("text", false), ("link", true)] {
        let other = folder.file(name);
        match put {
            true => symlink(&table, &other).unwrap(),
            false => fs::write(&other, "not a table").unwrap(),
        }
        let refused = run(&other);
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            stderr(&refused).contains("not a table of yours"),
            "{}",
            stderr(&refused)
        );
    }
    assert_eq!(
        fs::read_to_string(folder.file("text")).unwrap(),
        "not a table"
    );
}
