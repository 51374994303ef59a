//! What holds of every output, whatever others called themselves.

mod tables;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget as _;

use crate::jsonl::writer::Json;
use crate::model::flow::{Comm, Counters, Endpoint, Flow, FlowKey, Owner, Protocol};
use crate::model::interval::{Interval, Losses, Method, SlotHolder};
use crate::options::TableOptions;
use crate::output::Report;
use crate::output::text::Text;
use crate::resolve::names::Names;
use crate::resolve::owners::Owners;
use crate::stats::ranking::Ranking;
use crate::text::sanitize::is_unsafe_char;
use crate::tui::{
    Action, App, Background, Command, Depth, DisplayOptions, Edit, Machine, RunContext,
};
use crate::view::Group;

/// Names of a process, a thread, a cgroup and a machine, and a filter, made of any bytes, are shown
/// in text, JSON, CSV, metrics and on the screen: nothing in these could drive a terminal, no line
/// is broken, and JSON, CSV and metrics have the original text.
///
/// # Panics
/// When that is not so.
pub fn shown(bytes: &[u8]) {
    let UntrustedNames {
        owner,
        host,
        filter,
    } = UntrustedNames::of(bytes);
    let harmless = Owner {
        cgroup: Some(Arc::from("/")),
        ..Owner::named(b"harmless")
    };
    let interval = interval(&owner);
    let expected = interval_lines(&self::interval(&harmless), "harmless");
    let lines = interval_lines(&interval, &filter);
    assert_eq!(lines, expected, "lines of text, by grouping");
    json(&interval, &owner, &filter);
    for group in GROUPS {
        tables::csv(&interval, Some(group), &owner, &filter);
        tables::metrics(&interval, group, &host, &filter);
    }
    tables::csv(&interval, None, &owner, &filter);
    screens(interval, host, &filter);
}

/// The names of [`shown`] in CSV and in OpenMetrics, by one grouping, which the first byte chooses:
/// many times as fast as with the screens.
///
/// # Panics
/// When the promises of [`shown`] do not hold.
pub fn exported(bytes: &[u8]) {
    let Some((&choice, bytes)) = bytes.split_first() else {
        return;
    };
    let UntrustedNames {
        owner,
        host,
        filter,
    } = UntrustedNames::of(bytes);
    let interval = interval(&owner);
    // Without a grouping CSV has flows; metrics always have groups.
    let group = GROUPS.get(usize::from(choice) % (GROUPS.len() + 1));
    tables::csv(&interval, group.copied(), &owner, &filter);
    let group = group.copied().unwrap_or(Group::Process);
    tables::open_metrics(&interval, group, &host, &filter);
}

/// Names that others chose.
struct UntrustedNames {
    /// With the names of a process, a thread and a cgroup.
    owner: Owner,
    host: String,
    filter: String,
}

impl UntrustedNames {
    /// Made of any bytes, in five parts.
    fn of(bytes: &[u8]) -> Self {
        let mut parts = bytes.splitn(5, |&byte| byte == 0xff);
        let mut part = || parts.next().unwrap_or_default();
        Self {
            owner: Owner {
                comm: Comm::new(part()),
                thread: Comm::new(part()),
                cgroup: Some(Arc::from(format!("/{}", String::from_utf8_lossy(part())))),
                uid: Some(4_000_000_000),
                ..Owner::default()
            },
            host: String::from_utf8_lossy(part()).into_owned(),
            filter: String::from_utf8_lossy(part()).into_owned(),
        }
    }
}

fn interval(owner: &Owner) -> Interval {
    let end = Endpoint::new([192, 0, 2, 1].into(), 443);
    let key = FlowKey {
        tid: 8,
        ..FlowKey::new(Protocol::Tcp, end, end, 7)
    };
    let counters = Counters {
        rx_bytes: 1000,
        tx_bytes: 2000,
        rx_msgs: 1,
        tx_msgs: 2,
    };
    Interval {
        ended: SystemTime::UNIX_EPOCH,
        elapsed: Duration::from_secs(1),
        flows: vec![Flow::new(key, counters, Arc::new(owner.clone()))],
        losses: Losses {
            full: Some(SlotHolder {
                tgid: 7,
                comm: owner.comm,
                flows: 3,
                slots: 4,
            }),
            ..Losses::default()
        },
        interfaces: Vec::new(),
        method: Arc::new(Method::default()),
    }
}

const GROUPS: [Group; 9] = [
    Group::Program,
    Group::Process,
    Group::Thread,
    Group::Container,
    Group::Unit,
    Group::Pod,
    Group::Namespace,
    Group::Compose,
    Group::Job,
];

fn written(report: &mut impl Report, interval: &Interval, group: Option<Group>) -> String {
    let mut out = Vec::new();
    let (names, owners) = (Names::disabled(), Owners::disabled());
    let appended = match group {
        None => report.append(&Ranking::new(interval, None), &names, &mut out),
        Some(group) => {
            let ranking = Ranking::grouped(interval, group, &owners, None);
            report.append_groups(group, &ranking, &names, &mut out)
        }
    };
    assert!(appended.is_ok());
    for note in report.take_notes() {
        out.extend_from_slice(note.as_bytes());
        out.push(b'\n');
    }
    let text = String::from_utf8_lossy(&out).into_owned();
    assert!(!text.contains(char::REPLACEMENT_CHARACTER) || std::str::from_utf8(&out).is_ok());
    assert!(
        !text.chars().any(|c| c != '\n' && is_unsafe_char(c)),
        "{text:?}"
    );
    text
}

fn interval_lines(interval: &Interval, filter: &str) -> Vec<usize> {
    let groups = GROUPS.into_iter().map(Some).chain([None]);
    let lines = groups.flat_map(|group| {
        [false, true].map(|wide| {
            let mut text = Text {
                wide,
                filter: Some(filter.to_owned()),
                ..Text::default()
            };
            written(&mut text, interval, group).lines().count()
        })
    });
    lines.collect()
}

fn json(interval: &Interval, owner: &Owner, filter: &str) {
    for group in GROUPS.into_iter().map(Some).chain([None]) {
        let mut json = Json {
            filter: Some(filter.to_owned()),
            ..Json::default()
        };
        let text = written(&mut json, interval, group);
        let mut lines = text.lines().map(serde_json::from_str::<serde_json::Value>);
        let (first, second) = (lines.next(), lines.next());
        assert!(lines.next().is_none());
        assert!(first.is_some_and(|line| line.is_ok_and(|record| record["filter"] == filter)));
        if group.is_none_or(|group| group == Group::Process) {
            let comm = owner.comm.to_string_lossy();
            assert!(second.is_some_and(|line| line.is_ok_and(|record| record["process"] == *comm)));
        }
    }
}

fn screens(interval: Interval, host: String, filter: &str) {
    let machine = Machine {
        host,
        kernel: "6.18".to_owned(),
        uptime: Duration::from_secs(1),
    };
    let display = DisplayOptions::new(&TableOptions::default(), Depth::Mono, Background::Unknown);
    let context = RunContext {
        machine,
        method: Arc::clone(&interval.method),
        ..RunContext::default()
    };
    let mut app = App::new(context, Names::disabled(), Owners::disabled(), display);
    app.update(Action::IntervalEnded(interval));
    draw(&app, 80, 24);
    app.update(Action::Command(Command::Filter));
    for c in filter.chars().take(100) {
        app.update(Action::Type(Edit::Insert(c)));
    }
    draw(&app, 100, 30);
    for command in [
        Command::Back,
        Command::NextGroup,
        Command::Enter,
        Command::Enter,
    ] {
        app.update(Action::Command(command));
        draw(&app, 160, 50);
    }
}

fn draw(app: &App, width: u16, height: u16) {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    app.render(buffer.area, &mut buffer);
    for cell in &buffer.content {
        assert!(
            !cell.symbol().chars().any(is_unsafe_char),
            "{:?}",
            cell.symbol()
        );
    }
}
