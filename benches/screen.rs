//! What the live table costs: taking in an interval, ranking it, drawing it, and answering a key,
//! with few and with many flows. `cargo bench --bench screen`; prints medians, and how much of a
//! core one interval a second takes.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark: it talks on stdout, and stops where it cannot go on"
)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flowtop::config::Config;
use flowtop::flow::{Counters, Endpoint, Flow, FlowKey, Owner, Protocol};
use flowtop::interval::{Interval, Losses, Method};
use flowtop::names::Names;
use flowtop::owner::Owners;
use flowtop::tui::{Action, App, Background, Command, Depth, Edit, Look, Machine};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: u64 = 40;

fn interval(flows: u32, round: u64) -> Interval {
    let owner = Arc::new(Owner::named(b"server"));
    let flows = (0..flows).map(|n| {
        let mut random = u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ round.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        random ^= random >> 29;
        let addr = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n));
        let key = FlowKey::new(
            Protocol::Tcp,
            Endpoint::new(IpAddr::V4(Ipv4Addr::new(10, 9, 8, 7)), 443),
            Endpoint::new(addr, 40_000 + (n % 20_000) as u16),
            1000 + n % 200,
        );
        let counters = Counters {
            rx_bytes: 1 + random % 100_000,
            tx_bytes: 1 + (random >> 20) % 10_000_000,
            rx_msgs: 3,
            tx_msgs: 5,
        };
        Flow::new(key, counters, Arc::clone(&owner))
    });
    Interval {
        ended: SystemTime::UNIX_EPOCH + Duration::from_secs(round),
        elapsed: Duration::from_secs(1),
        flows: flows.collect(),
        losses: Losses::default(),
        method: Arc::new(Method::default()),
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Time on the processor, so that what else runs does not count.
fn timed(times: &mut Vec<Duration>, work: impl FnOnce()) {
    let start = processor_time();
    work();
    times.push(processor_time().saturating_sub(start));
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn main() {
    println!(
        "processor time, median of {ROUNDS} rounds   flows   interval     drawing   key+drawing   of a core at 1 s"
    );
    for (width, height) in [(80, 24), (200, 50)] {
        for flows in [100, 1000, 10_000] {
            let config = Config::default();
            let look = Look::new(&config, Depth::Mono, Background::Unknown);
            let mut app = App::new(
                &config,
                Machine::default(),
                Arc::new(Method::default()),
                Names::off(),
                Owners::off(),
                look,
            );
            app.update(Action::Resize(width, height));
            let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
            let (mut taken, mut drawn, mut keys) = (Vec::new(), Vec::new(), Vec::new());
            for round in 0..ROUNDS {
                let next = interval(flows, round);
                timed(&mut taken, || app.update(Action::Show(next)));
                timed(&mut drawn, || {
                    buffer.reset();
                    black_box(&app).render(buffer.area, &mut buffer);
                });
                // The dearest keys: each of them ranks anew.
                timed(&mut keys, || {
                    app.update(Action::Do(Command::NextSort));
                    buffer.reset();
                    app.render(buffer.area, &mut buffer);
                });
                app.update(Action::Do(Command::PreviousSort));
                timed(&mut keys, || {
                    app.update(Action::Do(Command::Filter));
                    app.update(Action::Type(Edit::Insert('7')));
                    buffer.reset();
                    app.render(buffer.area, &mut buffer);
                });
                app.update(Action::Type(Edit::Cancel));
            }
            let (taken, drawn, keys) = (median(taken), median(drawn), median(keys));
            println!(
                "{:>34} {flows:>12} {:>10.2?} {:>11.2?} {:>13.2?} {:>17.2} %",
                format!("{width}x{height}"),
                taken,
                drawn,
                keys,
                (taken + drawn).as_secs_f64() * 100.0
            );
        }
    }
}
