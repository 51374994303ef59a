use super::*;
use crate::model::flow::Protocol;

fn request(group: Group, directions: Directions) -> LayoutRequest<'static> {
    LayoutRequest {
        columns: &DEFAULT,
        directions,
        group,
        sorted: Column::Rate,
        totals: false,
        units: Units::Bytes,
        looks_up_hosts: false,
        has_local_addresses: true,
        containers: true,
        seen: AvailableColumns::ALL,
        widths: Widths::default(),
    }
}

fn columns(width: u16, request: &LayoutRequest) -> Vec<Column> {
    fit(width, request).iter().map(|slot| slot.column).collect()
}

#[test]
fn columns_leave_in_one_order_and_never_come_back() {
    for group in Group::ALL {
        for directions in [Directions::Rx, Directions::Both] {
            let request = request(group, directions);
            let mut wider = columns(300, &request);
            for width in (0..300).rev() {
                let now = columns(width, &request);
                // The sum stands for both ways where there is room for one number.
                let is_sum = |column: &Column| *column == Column::Rate && width < 30;
                assert!(
                    now.iter().all(|it| wider.contains(it) || is_sum(it)),
                    "{width}: {now:?} from {wider:?}"
                );
                let mut gone: Vec<_> = DROP_ORDER.iter().filter(|c| wider.contains(c)).collect();
                gone.retain(|column| !now.contains(column));
                let staying = DROP_ORDER.iter().filter(|column| now.contains(column));
                for (gone, stays) in gone
                    .iter()
                    .flat_map(|g| staying.clone().map(move |s| (g, s)))
                {
                    let at = |c: &Column| DROP_ORDER.iter().position(|other| other == c);
                    assert!(request.stays(*stays) || at(gone) < at(stays), "{width}");
                }
                wider = now;
            }
        }
    }
}

#[test]
fn which_columns_there_are_does_not_depend_on_the_traffic() {
    let mut wide = request(Group::Flow, Directions::Tx);
    wide.widths = Widths {
        local: 300,
        port: 300,
        remote: 300,
        pid: 10,
        process: 60,
        protocol: 7,
    };
    for width in 0..300 {
        let narrow = request(Group::Flow, Directions::Tx);
        assert_eq!(columns(width, &narrow), columns(width, &wide));
    }
}

#[test]
fn columns_never_overlap_nor_leave_the_table() {
    for group in Group::ALL {
        for directions in [Directions::Tx, Directions::Both] {
            for units in Units::ALL {
                for width in (60..300).step_by(7) {
                    for (local, remote) in [(1, 1), (12, 21), (21, 47), (47, 47), (300, 3)] {
                        let mut request = request(group, directions);
                        request.units = units;
                        request.widths.local = local;
                        request.widths.remote = remote;
                        let mut end = 0;
                        for slot in fit(width, &request) {
                            assert!(slot.x > end || end == 0, "{width}: {slot:?}");
                            end = slot.x + slot.width;
                            assert!(end <= width, "{group:?} {units:?} {width}: {slot:?}");
                            let least = slot.column.heading(group, directions).len() as u16;
                            let number = slot.column.is_number();
                            assert!(!number || slot.width >= least.min(5), "{slot:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn eighty_columns_hold_any_usual_ipv4_flow_whole() {
    let mut request = request(Group::Flow, Directions::Rx);
    request.widths.local = "10.0.12.5:443".len();
    request.widths.process = 12;
    let slots = fit(80, &request);
    let at = |column| slots.iter().find(|slot| slot.column == column).unwrap();
    assert!(at(Column::Local).width >= 13 && at(Column::Remote).width >= 21);
    assert!(!at(Column::Local).is_port);
    assert!(at(Column::Process).width >= 12);
    assert!(slots.iter().any(|slot| slot.column == Column::Avg10));
}

#[test]
fn the_local_address_is_shown_where_it_has_room_and_tells_rows_apart() {
    let mut request = request(Group::Flow, Directions::Rx);
    let local = |width, request: &LayoutRequest| {
        let slots = fit(width, request);
        let slot = slots.iter().find(|slot| slot.column == Column::Local);
        slot.map(|slot| (slot.width, slot.is_port))
    };
    assert_eq!(local(200, &request), Some((19, false)));
    request.widths.remote = 47;
    assert_eq!(local(80, &request), Some((5, true)));
    request.has_local_addresses = false;
    assert_eq!(local(200, &request), Some((5, true)));
    let mut addresses = LocalAddresses::default();
    for (addr, are_several) in [
        ("127.0.0.1", false),
        ("10.0.0.5", false),
        ("2001:db8::5", false),
        ("::1", false),
        ("10.0.0.5", false),
        ("10.0.0.6", true),
        ("10.0.0.5", true),
    ] {
        addresses.add(addr.parse().unwrap());
        assert_eq!(addresses.are_several, are_several, "{addr}");
    }
}

#[test]
fn the_protocol_is_as_wide_as_the_longest_name_seen() {
    let mut request = request(Group::Flow, Directions::Rx);
    for (protocol, width) in [
        (Protocol::Tcp, 5),
        (Protocol::Packet, 6),
        (Protocol::UdpLite, 7),
    ] {
        let protocol = protocol.as_str().len();
        request.widths.widen(&Widths {
            protocol,
            ..Widths::default()
        });
        for all in [100, 120, 300] {
            let slots = fit(all, &request);
            let slot = slots.iter().find(|slot| slot.column == Column::Protocol);
            assert_eq!(slot.unwrap().width, width, "{all}");
            let end = slots.last().map(|slot| slot.x + slot.width);
            assert!(end <= Some(all), "{all}");
        }
    }
    let longest = Protocol::ALL.map(|it| it.as_str().len()).into_iter().max();
    assert_eq!(longest, Some(7));
}

#[test]
fn every_column_has_a_heading_and_no_two_leave_at_once() {
    for column in Column::ALL {
        assert!(
            !column.heading(Group::Flow, Directions::Rx).is_empty(),
            "{column:?}"
        );
    }
    let ranks = Column::ALL.map(|column| column.drawing().leaves.as_ref().map(|it| it.rank));
    let mut ranks: Vec<u16> = ranks.into_iter().flatten().collect();
    let all = ranks.len();
    ranks.sort_unstable();
    ranks.dedup();
    assert_eq!(ranks.len(), all);
}

#[test]
fn chosen_columns_come_in_the_order_they_were_chosen_in() {
    use Column::{Peak, Process, Rate, Remote, Share};
    let mut request = request(Group::Flow, Directions::Rx);
    let chosen = [Process, Rate, Peak, Remote, Share];
    request.columns = &chosen;
    assert_eq!(columns(200, &request), chosen);
}

#[test]
fn no_width_is_too_small() {
    for width in 0..60 {
        fit(width, &request(Group::Flow, Directions::Both));
    }
}

#[test]
fn the_column_that_rows_are_sorted_by_is_there_wherever_it_finds_room() {
    for group in Group::ALL {
        for sorted in Column::ALL {
            let mut request = request(group, Directions::Rx);
            request.sorted = sorted;
            let can_come = sorted.drawing().leaves.is_some();
            if can_come && (sorted.drawing().may_come)(&request) {
                assert!(
                    columns(100, &request).contains(&sorted),
                    "{group} {sorted:?}"
                );
            }
            for width in 0..120 {
                let slots = fit(width, &request);
                let is_inside = |slot: &ColumnSlot| slot.x + slot.width <= width;
                assert!(slots.iter().all(is_inside), "{group} {sorted:?} {width}");
            }
        }
    }
}

#[test]
fn a_table_of_twenty_cells_shows_names_with_the_number_they_are_sorted_by() {
    for sorted in [Column::Rate, Column::Rx, Column::Tx] {
        let mut request = request(Group::Flow, Directions::Both);
        request.sorted = sorted;
        assert_eq!(columns(20, &request), [Column::Process, sorted]);
        let slots = fit(20, &request);
        assert!(slots[0].width >= MIN_TITLE, "{slots:?}");
        assert!(slots[1].width >= request.most(sorted), "{slots:?}");
    }
}
