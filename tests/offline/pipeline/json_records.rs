//! Records of JSON: their sums, types, order and names.

use super::*;

#[test]
fn with_all_flows_the_records_add_up_to_the_totals() {
    let mut config = config(Output::Json, 1);
    config.stream.top_n = None;
    let (text, _) = run(&config, [interval(web_server())]);
    let records = records(&text);
    assert_eq!(records.len(), 1 + web_server().len());
    assert_eq!(records[0]["flows"], web_server().len());
    for field in ["rx_bytes", "tx_bytes"] {
        let sum: u64 = records[1..]
            .iter()
            .map(|flow| flow[field].as_u64().unwrap())
            .sum();
        assert_eq!(records[0][field], sum);
    }
}

#[test]
fn a_flow_in_both_tops_is_one_record() {
    let mut config = config(Output::Json, 1);
    config.stream.top_n = Some(1);
    let (text, _) = run(&config, [interval(web_server())]);
    let records = records(&text);
    let types: Vec<&Value> = records.iter().map(|record| &record["type"]).collect();
    assert_eq!(
        types,
        ["interval", "flow", "other"],
        "the largest each way is the same flow: {text}"
    );
}

#[test]
fn groups_and_other_and_untracked_are_the_interval_in_json() {
    for group in groups() {
        for top_n in [None, Some(0), Some(1), Some(3), Some(100)] {
            let text = grouped(group, top_n, &mut Json::default());
            let records = records(&text);
            let rows = records[1..].iter();
            for field in ["rx_bytes", "tx_bytes", "flows"] {
                let number = |record: &Value| match (field, &record["type"]) {
                    ("flows", kind) if *kind == "flow" => 1,
                    _ => record[field].as_u64().unwrap(),
                };
                let untracked = records[0][format!("untracked_{field}")].as_u64();
                let sum: u64 = rows.clone().map(number).sum();
                assert_eq!(
                    records[0][field],
                    sum + untracked.unwrap_or(0),
                    "{field} by {group}, {top_n:?}: {text}"
                );
            }
            let others = rows.filter(|record| record["type"] == "other").count();
            match top_n {
                None | Some(100) => assert_eq!(others, 0, "nothing is left out: {text}"),
                Some(0) => assert_eq!((others, records.len()), (1, 2), "{text}"),
                _ => assert!(others <= 1),
            }
        }
    }
}

/// Every kind of record, of a known machine.
fn records_of_all_kinds() -> Vec<Value> {
    let machine = Machine {
        host: "web-1".to_owned(),
        kernel: "6.18.1".to_owned(),
        ..Machine::default()
    };
    let mut all = Vec::new();
    for group in groups() {
        for top_n in [None, Some(1)] {
            let mut json = Json {
                machine: machine.clone(),
                filter: Some("tcp or udp".to_owned()),
                ..Json::default()
            };
            all.extend(records(grouped(group, top_n, &mut json)));
        }
    }
    all
}

#[test]
fn a_key_has_one_type_in_all_records() {
    let mut types: BTreeMap<String, &str> = BTreeMap::new();
    let mut kinds: BTreeSet<String> = BTreeSet::new();
    for record in records_of_all_kinds() {
        kinds.insert(record["type"].as_str().unwrap().to_owned());
        for (key, value) in record.as_object().unwrap() {
            let is = match value {
                Value::String(_) => "text",
                Value::Number(_) => "number",
                Value::Bool(_) => "boolean",
                Value::Array(_) => "list",
                Value::Object(_) => "object",
                Value::Null => "null",
            };
            let was = types.entry(key.clone()).or_insert(is);
            assert_eq!(*was, is, "{key} in {record}");
        }
    }
    assert_eq!(
        kinds.iter().collect::<Vec<_>>(),
        ["flow", "group", "interval", "other"]
    );
    for kind in kinds {
        assert!(!types.contains_key(&kind), "{kind} is a type and a key");
    }
    for (key, is) in [
        ("kernel_release", "text"),
        ("kernel_thread", "boolean"),
        ("process", "text"),
        ("seconds", "number"),
        ("grouped_by", "text"),
    ] {
        assert_eq!(types.get(key), Some(&is), "{key}");
    }
}

#[test]
fn every_record_says_of_which_machine_and_interval_it_is() {
    for record in records_of_all_kinds() {
        assert_eq!(record["host"], "web-1", "{record}");
        assert_eq!(record["seconds"], 1.000_123_456, "{record}");
        assert!(record["time"].is_string(), "{record}");
        let schema = record.get("schema").and_then(Value::as_u64);
        let expected = (record["type"] == "interval").then_some(3);
        assert_eq!(schema, expected, "{record}");
    }
}

#[test]
fn json_is_sorted_by_any_column_and_adds_up_to_its_interval() {
    for group in groups() {
        for top_n in [None, Some(2)] {
            for column in Column::ALL.into_iter().filter(|it| it.is_of_one_interval()) {
                for sort in [SortKey::by(column), SortKey::by(column).reversed()] {
                    let text = sorted(Output::Json, &sort.to_string(), group, top_n);
                    let records = records(&text);
                    let is_row =
                        |record: &&Value| record["type"] == "flow" || record["type"] == "group";
                    let rows: Vec<&Value> = records.iter().filter(is_row).collect();
                    assert!(rows.len() <= top_n.unwrap_or(usize::MAX), "{sort}");
                    for field in ["rx_bytes", "tx_bytes"] {
                        let untracked = records[0][format!("untracked_{field}")].as_u64().unwrap();
                        let sum: u64 = records[1..]
                            .iter()
                            .map(|r| r[field].as_u64().unwrap())
                            .sum();
                        assert_eq!(records[0][field], sum + untracked, "{group} by {sort}");
                    }
                    let [rx, tx] = ["rx_bytes", "tx_bytes"]
                        .map(|field| move |row: &Value| row[field].as_u64().unwrap());
                    let value: Box<dyn Fn(&Value) -> u64> = match column {
                        Column::Rx => Box::new(rx),
                        Column::Tx => Box::new(tx),
                        Column::Rate | Column::Total => Box::new(move |row| rx(row) + tx(row)),
                        Column::Pid if group == Group::Flow => {
                            Box::new(|row| row["pid"].as_u64().unwrap())
                        }
                        _ => continue,
                    };
                    let values: Vec<u64> = rows.iter().map(|row| value(row)).collect();
                    let is_sorted = match sort.descending {
                        true => values.is_sorted_by(|a, b| a >= b),
                        false => values.is_sorted(),
                    };
                    assert!(is_sorted, "{group} by {sort}: {values:?}");
                }
            }
        }
    }
}

#[test]
fn json_escapes_what_a_process_calls_itself() {
    let mut config = config(Output::Json, 1);
    config.stream.top_n = None;
    let (text, _) = run(&config, [interval(web_server())]);
    assert!(text.contains(r#""process":"\u001b[2J"#), "{text}");
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn names_are_added_to_json_once_they_are_known() {
    let (notify, notified) = std::sync::mpsc::channel();
    let names = Names::with(
        |addr| (addr.to_string() == "203.0.113.7").then(|| "client.example.net".to_owned()),
        move || {
            let _ = notify.send(());
        },
    )
    .unwrap();
    let ranking = Ranking::new(&interval(web_server()), Some(2));
    let (mut before, mut after) = (Vec::new(), Vec::new());
    Json::default()
        .append(&ranking, &names, &mut before)
        .unwrap();
    notified.recv().unwrap();
    Json::default()
        .append(&ranking, &names, &mut after)
        .unwrap();
    let named = |out: Vec<u8>| -> Vec<Value> {
        let records = records(std::str::from_utf8(&out).unwrap());
        records
            .into_iter()
            .filter_map(|mut r| Some(r.get_mut("remote_name")?.take()))
            .collect()
    };
    assert_eq!(named(after), ["client.example.net"]);
    // The first may or may not have been quick enough; what it must not do is wait.
    assert!(named(before).len() <= 1);
}

#[test]
fn services_and_own_flows_are_beside_what_they_explain_in_json() {
    let own = (std::process::id(), &b"flowtop"[..]);
    let mut flows = web_server();
    flows.push(flow(
        Protocol::Udp,
        end("10.0.0.5", 40_001),
        end("192.0.2.53", 53),
        own,
        (120, 45),
    ));
    let ranking = Ranking::new(&interval(flows), None);
    let names = Names::with(|_| None, || ()).unwrap();
    let names = names.with_services(Services::built_in());
    let mut json = Vec::new();
    Json::default().append(&ranking, &names, &mut json).unwrap();
    let records = records(std::str::from_utf8(&json).unwrap());
    let is_own = |record: &&Value| record["own"] == true;
    let marked: Vec<&Value> = records.iter().filter(is_own).collect();
    assert_eq!(marked.len(), 1, "{marked:?}");
    assert_eq!(marked[0]["pid"], own.0);
    assert_eq!(marked[0]["remote_port"], 53);
    assert_eq!(marked[0]["remote_service"], "domain");
    assert!(marked[0].get("local_service").is_none());
    let nginx = records.iter().find(|record| record["process"] == "nginx");
    assert_eq!(nginx.unwrap()["local_port"], 443);
    assert_eq!(nginx.unwrap()["local_service"], "https");

    let mut text = Vec::new();
    Text::default().append(&ranking, &names, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("10.0.0.5:https "), "{text}");
    assert!(text.contains("203.0.113.7:52110 "), "{text}");
    assert!(text.contains("10.0.0.5:ntp "), "{text}");
    assert_eq!(text.matches("flowtop (own look-ups)").count(), 2, "{text}");

    // Without names there are no look-ups to mark, and ports are numbers.
    let mut text = Vec::new();
    Text::default()
        .append(&ranking, &Names::disabled(), &mut text)
        .unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(
        !text.contains("own look-ups") && !text.contains("https"),
        "{text}"
    );
}
