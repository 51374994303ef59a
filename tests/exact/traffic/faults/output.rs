//! Whoever reads what flowtop writes is slow, gone, or has no room.

use std::ffi::CString;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::kernel::{own_mounts, prepared};
use super::{FaultReport, Faults, PATIENCE, counted, lost};
use crate::load::Load;
use crate::proc::Taken;
use crate::subject::ended;
use crate::sys::cvt;
use crate::terminal::Terminal;

faults! { false,
    "a reader that does not read" => slow_reader,
    "a pipe that is closed" => closed_pipe,
    "an output file on a full disk" => disk_full,
    "a terminal that is closed" => terminal_gone,
    "a terminal that is closed under `nohup`" => terminal_gone_unheard,
}

fn slow_reader(how: &Faults) -> Result<FaultReport> {
    let silent = how.seconds(3, 60);
    let subject = how.flowtop(0.01, &[])?;
    let pid = subject.pid();
    let load = Load::mixed(2, 5)?;
    let (early, late) = {
        let _held = subject.hold();
        thread::sleep(silent / 3);
        let early = Taken::of(pid)?;
        thread::sleep(silent * 2 / 3);
        (early, Taken::of(pid)?)
    };
    subject.wait_for(subject.intervals() + 3, PATIENCE)?;
    let truth = load.end()?;
    let seen = subject.stop(PATIENCE)?;
    let grown = late.memory.saturating_sub(early.memory);
    ensure!(grown < 32 << 20, "its memory grew by {grown} bytes");
    ensure!(
        seen.longest > silent.as_secs_f64() / 2.0,
        "the longest interval is {} s",
        seen.longest
    );
    Ok(FaultReport {
        happened: format!(
            "not read for {} s at 10 ms an interval: they merge, memory grows by {} kB, then {}",
            silent.as_secs(),
            grown >> 10,
            counted(&truth, &seen)
        ),
        lost: lost(&truth, &seen)?,
        message: format!("the length of the interval: {:.1} s", seen.longest),
    })
}

fn closed_pipe(how: &Faults) -> Result<FaultReport> {
    let mut child = prepared(how, &[], || Ok(()))?;
    let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
    let first = lines.next().context("it wrote nothing")??;
    drop(lines);
    let status = ended(&mut child, PATIENCE)?;
    ensure!(status.success(), "it ended with {status}");
    let record: Value = serde_json::from_str(&first)?;
    ensure!(record["type"] == "interval", "{first}");
    Ok(FaultReport {
        happened: "it ends with 0: nobody wants more".to_owned(),
        lost: 0,
        message: "nowhere".to_owned(),
    })
}

fn disk_full(how: &Faults) -> Result<FaultReport> {
    let disk = std::env::temp_dir().join(format!("flowtop-disk-{}", std::process::id()));
    std::fs::create_dir(&disk).context("make a mount point")?;
    // In a thread, which alone sees the disk.
    let reported = thread::scope(|scope| scope.spawn(|| on_a_small_disk(how, &disk)).join());
    std::fs::remove_dir(&disk).context("remove the mount point")?;
    reported.map_err(|_| anyhow::anyhow!("the thread panicked"))?
}

fn on_a_small_disk(how: &Faults, disk: &Path) -> Result<FaultReport> {
    own_mounts().context("unshare mounts")?;
    let at = CString::new(disk.as_os_str().as_bytes())?;
    let (tmpfs, at) = (c"tmpfs".as_ptr(), at.as_ptr());
    // SAFETY: mount reads C strings that outlive the call.
    cvt(unsafe { libc::mount(tmpfs, at, tmpfs, 0, c"size=64k".as_ptr().cast()) })
        .context("mount")?;
    let out = disk.join("out");
    let load = Load::mixed(2, 5)?;
    let mut child = Command::new(how.start.flowtop)
        .args(["--json", "-n", "0", "-i", "0.05"])
        .stdin(Stdio::null())
        .stdout(File::create(&out)?)
        .stderr(Stdio::piped())
        .spawn()?;
    let mut message = String::new();
    let errors = child.stderr.take().context("no stderr")?;
    BufReader::new(errors).read_to_string(&mut message)?;
    let status = ended(&mut child, PATIENCE)?;
    load.end()?;
    ensure!(
        status.code() == Some(1),
        "it ended with {status}: {message}"
    );
    ensure!(
        message.contains("No space left on device"),
        "it says {message:?}"
    );
    let written = std::fs::read_to_string(&out)?;
    // What was there before is whole: all lines, but for the one that found no room.
    let whole = written.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut moved = (0, 0);
    for line in whole.lines() {
        let record: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        moved.0 += u64::from(record["type"] == "interval");
        moved.1 += u64::from(record["type"] == "flow");
    }
    ensure!(moved.0 > 0 && moved.1 > 0, "nothing was written");
    Ok(FaultReport {
        happened: format!(
            "it ends with 1; {} intervals with {} flows stand there whole",
            moved.0, moved.1
        ),
        lost: 0,
        message: format!("standard error: `{}`", message.trim()),
    })
}

fn terminal_gone(how: &Faults) -> Result<FaultReport> {
    hang_up(how, false)
}

fn terminal_gone_unheard(how: &Faults) -> Result<FaultReport> {
    hang_up(how, true)
}

fn hang_up(how: &Faults, unheard: bool) -> Result<FaultReport> {
    let mut terminal = Terminal::start(how.start.flowtop, &["-i", "0.2"], unheard)?;
    terminal.press("g")?;
    let gone = Instant::now();
    let mut child = terminal.hang_up();
    let status = ended(&mut child, Duration::from_secs(30))?;
    // 1 where it noticed by itself that nothing can be written; a panic would be 101.
    ensure!(
        matches!(status.code(), Some(0 | 1)),
        "it ended with {status}"
    );
    Ok(FaultReport {
        happened: format!(
            "it ends within {} ms ({status})",
            gone.elapsed().as_millis().div_ceil(100) * 100
        ),
        lost: 0,
        message: "nobody is there".to_owned(),
    })
}
