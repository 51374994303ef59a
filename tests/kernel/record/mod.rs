//! Recording and replaying with the real binary: real traffic, a disk that is full, a process that
//! is killed, files that are damaged, a user without rights, the live table on a terminal. Needs
//! root, as all of `make test` does.

mod files;
mod outputs;
mod table;

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Output;

use crate::common::flowtop_with;

#[track_caller]
pub fn run(args: &[&str], code: i32) -> Output {
    let output = flowtop_with(args).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {message}");
    output
}

/// The recording that ships with flowtop.
pub fn sample() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/demo.jsonl.zst");
    path.to_str().unwrap().to_owned()
}

pub fn unpacked(file: &str) -> Vec<u8> {
    let mut text = Vec::new();
    let mut decoder = zstd::stream::read::Decoder::new(fs::File::open(file).unwrap()).unwrap();
    // What comes before the end that may be missing.
    let _ = decoder.read_to_end(&mut text);
    text
}
