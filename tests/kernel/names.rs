//! Host names from real name servers: NSD from Debian, and servers that are slow, dead or hostile.
//! Each test has a network and a configuration of its own. Needs root, as all of `make test` does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on stops there"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::lan::{Asker, Lan, NSD, PATIENCE, first_label, pair, relay, responder};
use serde_json::Value;

/// `n PTR host-n.example.`, for each.
fn hosts(numbers: impl IntoIterator<Item = u8>) -> String {
    let line = |n| format!("{n} PTR host-{n}.example.\n");
    numbers.into_iter().map(line).collect()
}

const LAN: &str = "2.0.192.in-addr.arpa";

#[test]
fn a_real_server_is_understood() {
    Lan::enter("real", |lan| {
        let long = format!("{}.", "a".repeat(60)).repeat(4) + "example.";
        let many: String = (0..400)
            .map(|n| format!("6 PTR many-{n}.example.\n"))
            .collect();
        let zone = [
            "1 PTR one.example.\n",
            "2 CNAME 2.0-31.customer.example.\n",
            "3 PTR evil\\027[31m\\195\\164.www\\.bank\\.example.evil.example.\n",
            "4 PTR 8\\.8\\.8\\.8.\n",
            &format!("5 PTR {long}\n"),
            &many,
        ];
        let six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0 PTR six.example.\n";
        let _nsd = lan.nsd(&[
            (LAN, &zone.concat()),
            ("customer.example", "2.0-31 PTR two.customer.example.\n"),
            ("8.b.d.0.1.0.0.2.ip6.arpa", six),
        ]);
        lan.write(
            "resolv.conf",
            &format!("search example\nnameserver {NSD}\n"),
        );
        let asker = Asker::new();
        assert_eq!(
            asker.now("192.0.2.1"),
            None,
            "a first question waits for nothing"
        );
        // Without names, asked for before the others.
        let nameless = [
            "192.0.2.4",
            "192.0.2.99",
            "127.0.0.1",
            "169.254.1.1",
            "fe80::1",
        ];
        for nameless in nameless {
            assert_eq!(asker.now(nameless), None);
        }
        assert_eq!(asker.name("192.0.2.1"), "one.example");
        assert_eq!(asker.name("2001:db8::1"), "six.example");
        assert_eq!(asker.name("192.0.2.2"), "two.customer.example");
        assert_eq!(
            asker.name("192.0.2.3"),
            r"evil\027[31m\195\164.www\.bank\.example.evil.example"
        );
        assert_eq!(asker.name("192.0.2.5"), long.trim_end_matches('.'));
        let one_of_many = asker.name("192.0.2.6");
        assert!(one_of_many.starts_with("many-"), "{one_of_many}");
        for nameless in nameless {
            assert_eq!(asker.now(nameless), None, "{nameless}");
        }
    });
}

#[test]
fn a_server_is_asked_by_ipv6_too() {
    Lan::enter("six", |lan| {
        let _nsd = lan.nsd(&[(LAN, &hosts([1]))]);
        lan.write("resolv.conf", "nameserver 2001:db8::53\n");
        assert_eq!(Asker::new().name("192.0.2.1"), "host-1.example");
    });
}

#[test]
fn an_address_without_a_name_is_asked_for_once() {
    Lan::enter("negative", |lan| {
        let _nsd = lan.nsd(&[(LAN, &hosts([1]))]);
        let answered = responder("192.0.2.54", relay);
        // Asked once more after 5 s without an answer, if this were not said.
        lan.write("resolv.conf", "nameserver 192.0.2.54\noptions timeout:30\n");
        let asker = Asker::new();
        assert_eq!(asker.now("192.0.2.99"), None);
        assert_eq!(answered.recv_timeout(PATIENCE), Ok(99));
        for _ in 0..100 {
            assert_eq!(asker.now("192.0.2.99"), None);
        }
        assert_eq!(asker.name("192.0.2.1"), "host-1.example");
        // Were it asked for again, that would have come first.
        assert_eq!(answered.recv_timeout(PATIENCE), Ok(1));
        assert_eq!(asker.now("192.0.2.99"), None);
    });
}

#[test]
fn the_hosts_file_goes_first_and_a_change_is_noticed() {
    Lan::enter("hosts", |lan| {
        let _nsd = lan.nsd(&[(LAN, &hosts([1, 2, 3, 4]))]);
        lan.write(
            "hosts",
            "127.0.0.1 localhost\n192.0.2.1 mine.example alias\n",
        );
        lan.write("resolv.conf", &format!("nameserver {NSD}\n"));
        let asker = Asker::new();
        assert_eq!(asker.name("127.0.0.1"), "localhost");
        assert_eq!(asker.name("192.0.2.1"), "mine.example");
        assert_eq!(asker.name("192.0.2.2"), "host-2.example");
        lan.write("hosts", "192.0.2.1 renamed.example\n192.0.2.2 two\n");
        // Whatever is looked up next notices, and has the others asked for again.
        assert_eq!(asker.name("192.0.2.3"), "host-3.example");
        let start = Instant::now();
        while asker.name("192.0.2.1") != "renamed.example" || asker.name("192.0.2.2") != "two" {
            assert!(start.elapsed() < PATIENCE, "the change is not noticed");
            thread::sleep(Duration::from_millis(5));
        }
        // Another server, which does not answer: what is known stands.
        lan.write(
            "resolv.conf",
            "nameserver 192.0.2.77\noptions timeout:1 attempts:1\n",
        );
        lan.write("hosts", "192.0.2.5 five\n");
        assert_eq!(asker.name("192.0.2.5"), "five");
        assert_eq!(asker.name("192.0.2.3"), "host-3.example");
    });
}

#[test]
fn dead_and_failing_servers_are_passed_over() {
    Lan::enter("dead", |lan| {
        let _nsd = lan.nsd(&[(LAN, &hosts(1..=20))]);
        // One that takes questions and never answers; one that fails.
        let silent = responder("192.0.2.54", |_| Vec::new());
        let failing = responder("192.0.2.55", |question| {
            let mut answer = question.to_vec();
            (answer[2], answer[3]) = (0x81, 0x82);
            vec![answer]
        });
        // Time enough for a busy machine: who answers late counts as silent.
        lan.write(
            "resolv.conf",
            &format!(
                "nameserver 192.0.2.54\nnameserver 192.0.2.55\nnameserver {NSD}\n\
                 options timeout:10 attempts:1\n"
            ),
        );
        let asker = Asker::new();
        assert_eq!(asker.name("192.0.2.1"), "host-1.example");
        for n in 2..=20 {
            assert_eq!(
                asker.name(&format!("192.0.2.{n}")),
                format!("host-{n}.example")
            );
        }
        assert_eq!(
            silent.try_iter().collect::<Vec<_>>(),
            [1],
            "then it is asked last"
        );
        assert_eq!(failing.try_iter().count(), 20);
    });
}

#[test]
fn nothing_waits_for_a_slow_server() {
    Lan::enter("slow", |lan| {
        let any = "* PTR host.example.\n";
        let _nsd = lan.nsd(&[(LAN, any), ("100.51.198.in-addr.arpa", any)]);
        // Holds every answer back until it is let go.
        let (go, gate) = channel::<()>();
        let answered = responder("192.0.2.54", move |question| {
            let _ = gate.recv();
            relay(question)
        });
        lan.write("resolv.conf", "nameserver 192.0.2.54\noptions timeout:30\n");
        // More than there is room for in any queue.
        let addrs: Vec<String> = ["192.0.2", "198.51.100"]
            .iter()
            .flat_map(|net| (1..=250).map(move |n| format!("{net}.{n}")))
            .collect();
        let (done, asked) = channel();
        let asking = addrs.clone();
        thread::spawn(move || {
            let asker = Asker::new();
            let start = Instant::now();
            for addr in asking.iter().cycle().take(10_000) {
                assert_eq!(asker.now(addr), None);
            }
            let _ = done.send((asker, start.elapsed() / 10_000));
        });
        let (asker, each) = asked.recv_timeout(PATIENCE).expect("asking waits");
        assert!(each < Duration::from_millis(1), "asking took {each:?}");
        assert_eq!(answered.try_iter().count(), 0);
        for _ in &addrs {
            go.send(()).unwrap();
        }
        for addr in &addrs {
            assert_eq!(asker.name(addr), "host.example");
        }
        assert_eq!(answered.iter().take(500).count(), 500);
        assert_eq!(answered.try_iter().count(), 0, "each was asked for once");
    });
}

/// An answer to a question that says nothing but a name of these bytes.
fn answer(question: &[u8], name: &[u8]) -> Vec<u8> {
    let mut answer = question.to_vec();
    answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    answer.extend(b"\xc0\x0c\x00\x0c\x00\x01\x00\x00\x00\x3c");
    answer.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
    answer.extend(name);
    answer
}

#[test]
fn guesses_at_an_answer_are_passed_over() {
    Lan::enter("guesses", |lan| {
        let _nsd = lan.nsd(&[(LAN, &hosts(1..=5))]);
        let _guessed = responder("192.0.2.54", |question| {
            let right = relay(question).remove(0);
            let mut wrong = answer(question, b"\x05wrong\x00");
            match first_label(question) {
                1 => wrong[0] ^= 0x55,
                2 => wrong[13] ^= 1,
                3 => wrong[2] = 0x01,
                4 => wrong = vec![0xff; 5000],
                _ => wrong.clear(),
            }
            vec![wrong.clone(), question.to_vec(), wrong, right]
        });
        lan.write("resolv.conf", "nameserver 192.0.2.54\noptions timeout:30\n");
        let asker = Asker::new();
        for n in 1..=5 {
            let addr = format!("192.0.2.{n}");
            assert_eq!(asker.name(&addr), format!("host-{n}.example"));
        }
    });
}

#[test]
fn broken_answers_are_none_and_the_next_server_knows() {
    Lan::enter("broken", |lan| {
        let _nsd = lan.nsd(&[(LAN, &hosts(1..=8))]);
        let broken = responder("192.0.2.54", |question| {
            let right = relay(question).remove(0);
            let with = |at: usize, bytes: &[u8]| {
                let mut answer = right.clone();
                answer[at..at + bytes.len()].copy_from_slice(bytes);
                answer
            };
            vec![match first_label(question) {
                // A name that is itself, of unknown labels, of 257 bytes.
                1 => answer(question, b"\xc0\x34"),
                2 => answer(question, b"\x80\x80\x80"),
                3 => answer(question, &[[63; 64].repeat(4), vec![0]].concat()),
                // More records than there are; half of one.
                4 => with(6, &[0xff; 6]),
                5 => right[..right.len() - 3].to_vec(),
                // "Ask by TCP", where nobody is.
                6 => with(2, &[0x83]),
                // Refused; a code that does not exist.
                7 => with(3, &[0x85]),
                _ => with(3, &[0x8f]),
            }]
        });
        lan.write(
            "resolv.conf",
            &format!("nameserver 192.0.2.54\nnameserver {NSD}\noptions timeout:30\n"),
        );
        let asker = Asker::new();
        // The sixth last: it makes the server one that does not answer.
        for n in [1, 2, 3, 4, 5, 7, 8, 6] {
            let addr = format!("192.0.2.{n}");
            assert_eq!(asker.name(&addr), format!("host-{n}.example"));
            assert_eq!(broken.recv_timeout(PATIENCE), Ok(n), "it was asked first");
        }
    });
}

/// flowtop itself, over connections to a server that has a name.
#[test]
fn flowtop_shows_names_and_marks_its_own_look_ups() {
    Lan::enter("flowtop", |lan| {
        let records = "7 PTR web.example.\n8 PTR evil\\027[2j.example.\n";
        let _nsd = lan.nsd(&[("100.51.198.in-addr.arpa", records)]);
        lan.write("resolv.conf", &format!("nameserver {NSD}\n"));
        let (mut web, mut served) = pair("198.51.100.7:443".parse().unwrap());
        let evil = UdpSocket::bind("198.51.100.8:5000").unwrap();
        let sender = UdpSocket::bind("198.51.100.9:0").unwrap();
        thread::spawn(move || {
            loop {
                web.write_all(b"hello").unwrap();
                served.read_exact(&mut [0; 5]).unwrap();
                sender
                    .send_to(b"hello", evil.local_addr().unwrap())
                    .unwrap();
                thread::sleep(Duration::from_millis(20));
            }
        });

        let (mut has_name, mut has_evil, mut has_own) = (false, false, false);
        watch(&["--json"], |line, pid| {
            let is_own = line.contains(&format!(r#""pid":{pid},"#));
            assert_eq!(line.contains(r#""own":true"#), is_own, "{line}");
            let record: Value = serde_json::from_str(line).unwrap();
            // Beside the address and the port, never instead of them.
            if is_own {
                assert_eq!(record["process"], "flowtop");
                assert_eq!(record["remote_addr"], NSD);
                assert_eq!(record["remote_port"], 53);
                assert_eq!(record["remote_service"], "domain");
                has_own = true;
            } else if record["remote_port"] == 443 {
                assert_eq!(record["remote_addr"], "198.51.100.7");
                assert_eq!(record["remote_service"], "https");
                assert!(record.get("local_service").is_none(), "{record}");
                has_name |= record["remote_name"] == "web.example";
            } else if record["remote_port"] == 5000 {
                assert_eq!(record["remote_addr"], "198.51.100.8");
                has_evil |= record["remote_name"] == r"evil\027[2j.example";
            }
            has_name && has_evil && has_own
        });

        let mut wanted = vec!["web.example:https", "flowtop (own look-ups)"];
        watch(&["--batch"], |line, _| {
            wanted.retain(|text| !line.contains(text));
            assert!(
                !line.contains("(own") || line.contains(":domain "),
                "{line}"
            );
            wanted.is_empty()
        });
    });
}

/// Reads what `flowtop -x` writes, line by line, with its process id, until that is enough.
fn watch(args: &[&str], mut is_enough: impl FnMut(&str, u32) -> bool) {
    // Of this process's flows and its own, which the shell knows: the machine may be busy
    // otherwise.
    let me = std::process::id().to_string();
    let mut flowtop = Command::new("sh")
        .args([
            "-c",
            r#"exec "$0" -p $$ "$@""#,
            env!("CARGO_BIN_EXE_flowtop"),
        ])
        .args(["-p", &me, "-x", "-n", "0", "-i", "200ms"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = flowtop.id();
    let start = Instant::now();
    let mut lines = BufReader::new(flowtop.stdout.take().unwrap()).lines();
    loop {
        let line = lines.next().expect("flowtop has ended").unwrap();
        if is_enough(&line, pid) {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{args:?}: not enough");
    }
    // A closed pipe ends it.
    drop(lines);
    assert!(flowtop.wait().unwrap().success());
}
