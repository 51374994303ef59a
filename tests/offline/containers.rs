//! Names of containers on the screen: all of them on the detail page, and a mark where the engine
//! has lost one.

use std::sync::Arc;

use crate::common::screen::{app, draw, press, text};
use crate::common::{end, flow, interval};
use flowtop::model::container::ContainerLabels;
use flowtop::model::flow::{Flow, Owner, Protocol};
use flowtop::options::TableOptions;
use flowtop::tui::{Action, Command};
use flowtop::view::{Column, Group};

const SIZE: (u16, u16) = (120, 40);

fn flow_in(is_stale: bool) -> Flow {
    let process = (811, b"nginx".as_slice());
    let ends = (end("10.0.0.5", 443), end("192.0.2.1", 50_000));
    let mut flow = flow(Protocol::Tcp, ends.0, ends.1, process, (1000, 2000));
    let text = |text: &str| Some(text.to_owned());
    let labels = ContainerLabels {
        name: text("web-1"),
        image: text("nginx:1.29"),
        compose_project: text("shop"),
        compose_service: text("web"),
        is_stale,
        ..ContainerLabels::default()
    };
    flow.owner = Arc::new(Owner {
        cgroup: Some(format!("/system.slice/docker-{}.scope", "ab".repeat(32)).into()),
        labels: Some(Arc::new(labels)),
        ..Owner::clone(&flow.owner)
    });
    flow
}

fn screen(group: Group, is_stale: bool, commands: &[Command]) -> String {
    let options = TableOptions {
        columns: Some(vec![Column::Rate, Column::Process, Column::Container]),
        group,
        ..TableOptions::default()
    };
    let mut app = app(&options, SIZE.0, SIZE.1);
    app.update(Action::IntervalEnded(interval(vec![flow_in(is_stale)])));
    press(&mut app, commands);
    text(&draw(&app, SIZE.0, SIZE.1))
}

#[test]
fn a_container_that_its_engine_lost_is_marked() {
    for group in [Group::Flow, Group::Container] {
        let stale = screen(group, true, &[]);
        assert!(stale.contains("docker:web-1 (g"), "{group}: {stale}");
        let known = screen(group, false, &[]);
        assert!(known.contains("docker:web-1"), "{group}: {known}");
        assert!(!known.contains("(g"), "{group}: {known}");
    }
}

#[test]
fn the_detail_page_has_every_name_of_the_container() {
    let page = screen(Group::Flow, true, &[Command::Down, Command::Enter]);
    for text in [
        "ab".repeat(20).as_str(),
        "web-1",
        "nginx:1.29",
        "shop/web",
        "the engine no longer has",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
}
