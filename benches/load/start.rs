//! How long flowtop takes to count, and to say something.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

#[derive(clap::Args)]
pub struct Args {
    /// Path of the flowtop binary
    flowtop: PathBuf,
    /// Starts; the median is told
    #[arg(long, default_value_t = 7)]
    rounds: usize,
}

const INTERVAL: Duration = Duration::from_secs(1);

/// Prints milliseconds: from the start to attached, which flowtop says with `-v`, and from there to
/// the first interval's line less the interval.
pub fn run(args: &Args) -> Result<()> {
    let (mut attached, mut shown) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        let start = Instant::now();
        let mut child = Command::new(&args.flowtop)
            .args(["--json", "-v", "-c", "1", "-i", "1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", args.flowtop.display()))?;
        let stderr = BufReader::new(child.stderr.take().context("stderr")?);
        let mut stdout = BufReader::new(child.stdout.take().context("stdout")?);
        let mut lines = stderr.lines();
        let ready = loop {
            match lines.next().transpose()? {
                Some(line) if line.contains(" backend: ") => break start.elapsed(),
                Some(_) => {}
                None => bail!("flowtop does not attach"),
            }
        };
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        attached.push(ready);
        shown.push((start.elapsed() - ready).saturating_sub(INTERVAL));
        child.wait()?;
    }
    let [attached, shown] = [attached, shown].map(|mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e3
    });
    println!("{{\"attached_ms\":{attached:.1},\"first_after_interval_ms\":{shown:.1}}}");
    Ok(())
}
