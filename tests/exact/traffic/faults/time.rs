//! flowtop is held up, or its intervals do not suit the work; and processes that come and go.

use std::thread;

use anyhow::{Result, ensure};

use super::{FaultReport, Faults, PATIENCE, beside, counted, lost};
use crate::load::{Flows, Load};

faults! { false,
    "stopped (SIGSTOP), and continued later" => suspended,
    "intervals shorter than the work of one" => interval_too_short,
    "an interval longer than it runs" => interval_too_long,
    "processes, numbers, programs and network namespaces that come and go" => churn,
}

fn suspended(how: &Faults) -> Result<FaultReport> {
    let asleep = how.seconds(3, 180);
    let (truth, seen) = beside(how, 0.2, |subject| {
        subject.freeze(PATIENCE)?;
        thread::sleep(asleep);
        subject.signal(libc::SIGCONT);
        Ok(())
    })?;
    ensure!(
        seen.longest >= asleep.as_secs_f64(),
        "the longest interval is {} s",
        seen.longest
    );
    Ok(FaultReport {
        happened: format!(
            "{} s long: the kernel went on counting; {}",
            asleep.as_secs(),
            counted(&truth, &seen)
        ),
        lost: lost(&truth, &seen)?,
        message: format!("the length of the interval: {:.1} s", seen.longest),
    })
}

fn interval_too_short(how: &Faults) -> Result<FaultReport> {
    let flows = how.number(8_000, 60_000);
    let mut many = Flows::new(flows)?;
    let mut sent = 0;
    let (truth, seen) = beside(how, 0.01, |_| {
        for _ in 0..3 {
            sent = many.go()?;
        }
        Ok(())
    })?;
    let of_many = seen
        .flows
        .iter()
        .filter(|(id, _)| id.pid == u64::from(many.pid()));
    let counted_of_many: u64 = of_many.map(|(_, counts)| counts.tx_bytes).sum();
    let mean = seen.elapsed / seen.intervals as f64 * 1000.0;
    Ok(FaultReport {
        happened: format!(
            "10 ms asked for, with {flows} flows {mean:.0} ms on average; {sent} and {}",
            counted(&truth, &seen)
        ),
        lost: lost(&truth, &seen)? + i128::from(sent) - i128::from(counted_of_many),
        message: format!("the length of each interval, up to {:.1} s", seen.longest),
    })
}

fn interval_too_long(how: &Faults) -> Result<FaultReport> {
    let subject = how.one_interval(&[])?;
    let load = Load::mixed(2, 5)?;
    thread::sleep(how.seconds(1, 20));
    let truth = load.end()?;
    let seen = subject.stop(PATIENCE)?;
    ensure!(seen.intervals == 1, "{} intervals", seen.intervals);
    Ok(FaultReport {
        happened: format!(
            "stopped by SIGINT after {:.1} s of an hour: {}",
            seen.elapsed,
            counted(&truth, &seen)
        ),
        lost: lost(&truth, &seen)?,
        message: "the length of the interval".to_owned(),
    })
}

fn churn(how: &Faults) -> Result<FaultReport> {
    let subject = how.flowtop(0.05, &[])?;
    let load = Load::mixed(0, 0)?;
    thread::sleep(how.seconds(3, 120));
    let truth = load.end()?;
    let seen = subject.stop(PATIENCE)?;
    Ok(FaultReport {
        happened: format!(
            "{} processes: {}",
            truth.owners.len(),
            counted(&truth, &seen)
        ),
        lost: lost(&truth, &seen)?,
        message: "nothing to say".to_owned(),
    })
}
