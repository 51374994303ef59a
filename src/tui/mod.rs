//! The live table: turns rankings and keys into a screen. Knows nothing of the kernel.
//!
//! The main thread blocks on one channel that the collector, the keyboard, signals and host names
//! send to, and draws only when something came. Collecting goes on in its own thread whatever
//! happens here, so no key can shorten or stretch an interval.

mod app;
mod columns;
mod keys;
mod terminal;
mod view;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use crossterm::event::{self, Event as TerminalEvent};

pub use self::app::{Action, App};
use self::terminal::Screen;
use crate::collector::{Collector, Notice, Schedule};
use crate::config::Config;
use crate::interval::Method;
use crate::names::Names;
use crate::signals::Watch;
use crate::source::Source;

enum Event {
    Collector(Notice),
    Terminal(io::Result<TerminalEvent>),
    Name,
    Stop,
}

/// Shows a live table until a key, a signal, the count or an error ends it. The terminal is as
/// before afterwards, whatever the end.
///
/// # Errors
/// When the source fails or the terminal cannot be read or written.
pub fn run(
    config: &Config,
    source: impl Source + 'static,
    method: Arc<Method>,
    signals: Watch,
) -> Result<()> {
    let (tell, events) = channel();
    signals
        .forward(sender(&tell, || Event::Stop), terminal::restore_soon)
        .context("watch for signals")?;
    let names = if config.host_names {
        let tell = tell.clone();
        Names::system(move || drop(tell.send(Event::Name)))?
    } else {
        Names::off()
    };
    let schedule = Schedule {
        interval: config.interval,
        count: config.count,
    };
    let collector = {
        let tell = tell.clone();
        Collector::start(source, schedule, move |notice| {
            drop(tell.send(Event::Collector(notice)));
        })?
    };
    let mut app = App::new(config, host_name(), method, names);
    // Dropped first of all that lives here, so that whatever follows is seen.
    let mut screen = Screen::enter()?;
    read_keyboard(tell)?;
    watch(&mut app, &mut screen, &collector, &events)
}

fn watch(
    app: &mut App,
    screen: &mut Screen,
    collector: &Collector,
    events: &Receiver<Event>,
) -> Result<()> {
    loop {
        screen.draw(app)?;
        let mut event = events.recv().context("wait for something to happen")?;
        // Everything that has happened by now is one drawing.
        loop {
            match event {
                Event::Collector(notice) => {
                    if let Some(interval) = collector.take() {
                        app.update(Action::Show(interval));
                    }
                    if let Notice::Finished(outcome) = notice {
                        return outcome;
                    }
                }
                Event::Terminal(event) => {
                    let event = event.context("read the keyboard")?;
                    if let Some(action) = keys::action(&event) {
                        app.update(action);
                    }
                }
                Event::Name => app.update(Action::NameFound),
                Event::Stop => app.update(Action::Quit),
            }
            if app.has_quit() {
                return Ok(());
            }
            match events.try_recv() {
                Ok(next) => event = next,
                Err(_) => break,
            }
        }
    }
}

fn sender(tell: &Sender<Event>, event: fn() -> Event) -> impl Fn() + Send + 'static {
    let tell = tell.clone();
    move || drop(tell.send(event()))
}

/// Keys and changes of size come from a thread of their own, which ends with the process: a read
/// of the keyboard cannot be called off.
fn read_keyboard(tell: Sender<Event>) -> Result<()> {
    // Has changes of size noticed from here on, before the first drawing, and not from whenever
    // the thread gets to its first read.
    event::poll(Duration::ZERO).context("read the keyboard")?;
    thread::Builder::new()
        .name("keyboard".to_owned())
        .spawn(move || {
            loop {
                let event = event::read();
                let last = event.is_err();
                if tell.send(Event::Terminal(event)).is_err() || last {
                    return;
                }
            }
        })
        .context("start a thread for the keyboard")?;
    Ok(())
}

fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
