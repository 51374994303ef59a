//! Calls inside of calls, as the kernel side carries them from entry to return.

use std::path::Path;
use std::process::Command;

#[test]
fn calls_inside_of_calls_are_counted_or_said_to_be_missed() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nested_calls");
    let status = Command::new("clang")
        .args(["-O1", "-g", "-Wall", "-Werror", "-Wno-unused", "-o"])
        .arg(&program)
        .args(["-I", "bpf", "tests/offline/nested_calls.c"])
        .current_dir(here)
        .status();
    assert!(status.unwrap().success());
    let run = Command::new(&program).output().unwrap();
    let printed = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{printed}");
}
