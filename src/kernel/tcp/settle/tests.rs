use std::sync::Arc;

use super::*;
use crate::kernel::skel::{
    RawRecord, TCP_OTHER_PROTO, TCP_REPAIR, TCP_RX_TORN, TCP_TX_TORN, TCP_ULP, TCP_URGENT,
};
use crate::model::flow::{Flow, FlowKey, Owner};
use crate::model::interval::Drift;
use crate::testing::{Random, key};

const ESTABLISHED: u32 = 1;
const FIN_WAIT1: u32 = 4;
const FIN_WAIT2: u32 = 5;
const CLOSE_WAIT: u32 = 8;
const LAST_ACK: u32 = 9;

/// A connection: the bytes its calls moved, and the bytes counted.
struct Connection {
    sk: u64,
    irs: u32,
    iss: u32,
    syn: u64,
    read: u64,
    unread: u64,
    written: u64,
    acked: u64,
    state: u32,
    marks: u32,
    /// Counted in the interval, by owners.
    counted: Vec<Counters>,
}

impl Connection {
    fn new(sk: u64, random: &mut Random) -> Self {
        Self {
            sk,
            irs: random.next() as u32,
            iss: random.next() as u32,
            syn: random.below(2),
            read: 0,
            unread: 0,
            written: 0,
            acked: 0,
            state: ESTABLISHED,
            marks: TCP_READ,
            counted: vec![Counters::default(); 3],
        }
    }

    fn reading(&self) -> RawTcp {
        let received = self.read + self.unread;
        let acked = self.acked + self.syn;
        let ahead = (self.written - self.acked) as u32;
        RawTcp {
            bytes_received: received,
            unread: self.unread as u32,
            rcv_nxt: self.irs.wrapping_add(received as u32),
            bytes_acked: acked,
            snd_una: self.iss.wrapping_add(acked as u32),
            unacked: ahead / 2,
            notsent: ahead - ahead / 2,
            state: self.state,
            marks: self.marks,
            ..RawTcp::default()
        }
    }

    fn moves(&mut self, rx: u64, tx: u64) {
        self.read += rx;
        self.written += tx;
        self.acked = self.written;
    }

    fn counts(&mut self, owner: usize, rx_bytes: u64, tx_bytes: u64) {
        self.counted[owner] += Counters {
            rx_bytes,
            tx_bytes,
            rx_msgs: 1,
            tx_msgs: 1,
        };
    }
}

/// Ends intervals of one connection.
struct SimulatedMachine {
    samples: TcpSamples,
    now: Duration,
    length: Duration,
    found: Drift,
    shown_rx: u64,
    audited_rx: u64,
    /// Whether the kernel reports missed calls.
    missed: bool,
    /// Whether threads of the first owner wait for a processor from each reading to the next flip.
    waits: bool,
    random: Random,
}

impl SimulatedMachine {
    fn new(mode: AuditMode) -> Self {
        Self {
            samples: TcpSamples::new(mode, false),
            now: Duration::ZERO,
            length: Duration::from_millis(100),
            found: Drift::default(),
            shown_rx: 0,
            audited_rx: 0,
            missed: false,
            waits: false,
            random: Random(7),
        }
    }

    /// The flip; then `later` moves bytes, then the socket is read.
    fn end(&mut self, connection: &mut Connection, later: impl FnOnce(&mut Connection)) -> Audit {
        let none = Counters::default();
        let doubted = self.samples.doubted_processes().to_vec();
        let waits = |&tgid: &u32| self.waits && tgid == 1;
        self.samples.hold(doubted.into_iter().filter(waits));
        let to_inspect = self.samples.sockets_before_flip();
        let reading = |one: &Inspect| (one.sk, connection.reading());
        let soon: Vec<_> = to_inspect.iter().map(reading).collect();
        self.samples.note_soon(&soon);
        let counted = std::mem::replace(&mut connection.counted, vec![none; 3]);
        later(connection);
        self.samples.next_interval();
        let mut flows = Vec::new();
        for (owner, moved) in counted.into_iter().enumerate() {
            if moved.is_zero() {
                continue;
            }
            let key = FlowKey {
                tgid: owner as u32 + 1,
                ..key(1)
            };
            let mut record = RawRecord {
                sk: connection.sk,
                tcp: connection.reading(),
                ..RawRecord::default()
            };
            record.tcp.marks &= TCP_READ | TCP_RX_TORN | TCP_TX_TORN;
            let flow = Flow::new(key, moved, Arc::new(Owner::named(b"p")));
            self.samples.append(&record, flow, &mut flows);
        }
        let audit = self.settle(connection, &mut flows);
        self.samples.note_missed(self.missed);
        audit
    }

    fn settle(&mut self, connection: &Connection, flows: &mut Vec<Flow>) -> Audit {
        self.now += self.length;
        let to_inspect = self.samples.sockets_to_inspect();
        let read: Vec<_> = to_inspect
            .iter()
            .map(|one| {
                assert_eq!(one.sk, connection.sk);
                (one.sk, connection.reading())
            })
            .collect();
        let audit = self.samples.settle(self.now, &read, flows);
        self.found += audit.drift;
        for flow in flows {
            self.shown_rx += flow.counters.rx_bytes;
            self.audited_rx += flow.audited_rx;
        }
        audit
    }
}

fn still(_: &mut Connection) {}

/// Moves bytes at random by three owners. Some calls are under way at flips, and one in `lossy` is
/// not counted (0: none). Returns the lost bytes.
fn live(machine: &mut SimulatedMachine, connection: &mut Connection, lossy: u64) -> Drift {
    let mut lost = Drift::default();
    // Calls that moved bytes and have not returned, by owner.
    let mut under_way = [(0, 0); 3];
    for _ in 0..machine.random.below(12) {
        let random = &mut machine.random;
        let owner = random.below(3) as usize;
        let (rx, tx) = (random.below(3) * random.below(100_000), random.below(5_000));
        connection.unread = random.below(70_000);
        let (before_rx, before_tx) = std::mem::take(&mut under_way[owner]);
        connection.counts(owner, before_rx, before_tx);
        connection.moves(rx, tx);
        if lossy > 0 && random.below(lossy) == 0 {
            lost += Drift {
                rx: rx as i64,
                tx: tx as i64,
            };
        } else if random.below(4) == 0 {
            under_way[owner] = (rx, tx);
        } else {
            connection.counts(owner, rx, tx);
        }
    }
    machine.end(connection, |connection| {
        connection.moves(5, 7);
        connection.counts(0, 5, 7);
        for (owner, (rx, tx)) in under_way.into_iter().enumerate() {
            if (rx, tx) != (0, 0) {
                connection.counts(owner, rx, tx);
            }
        }
    });
    lost
}

#[test]
fn a_connection_that_is_counted_to_the_byte_never_drifts() {
    let mut random = Random(1);
    for sk in 1..200 {
        let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
        machine.random = Random(sk);
        let mut connection = Connection::new(sk, &mut random);
        if sk % 2 == 0 {
            // The connection is older than flowtop.
            connection.moves(1 << 33, 12_345);
        }
        for _ in 0..30 {
            live(&mut machine, &mut connection, 0);
            assert_eq!(machine.found, Drift::default());
        }
    }
}

#[test]
fn drift_is_what_was_lost_to_the_byte_when_the_connection_falls_silent() {
    let mut random = Random(2);
    for sk in 1..200 {
        let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
        machine.random = Random(sk);
        let mut connection = Connection::new(sk, &mut random);
        let mut lost = Drift::default();
        live(&mut machine, &mut connection, 0);
        // Losses before the first reading are unknown.
        machine.end(&mut connection, still);
        for _ in 0..10 {
            lost += live(&mut machine, &mut connection, 5);
            let found = machine.found;
            assert!(
                found.rx <= lost.rx && found.tx <= lost.tx,
                "{found:?} of {lost:?}"
            );
        }
        for _ in 0..3 {
            machine.end(&mut connection, still);
        }
        if machine.samples.sockets.contains_key(&sk) {
            assert_eq!(machine.found, lost, "{sk}");
        }
    }
}

/// A connection that moves `rx` bytes an interval, of which it counts `counted`.
fn steady(
    machine: &mut SimulatedMachine,
    connection: &mut Connection,
    rx: u64,
    counted: u64,
) -> Audit {
    connection.moves(rx, 1);
    connection.counts(0, counted, 1);
    machine.end(connection, still)
}

#[test]
fn a_connection_that_drifts_is_named_within_two_intervals() {
    let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
    let mut connection = Connection::new(1, &mut Random(3));
    assert_eq!(steady(&mut machine, &mut connection, 100, 100).agreeing, 1);
    let audit = steady(&mut machine, &mut connection, 100, 0);
    assert_eq!(
        (audit.connections, audit.agreeing),
        (1, 1),
        "calls may be under way"
    );
    steady(&mut machine, &mut connection, 100, 0);
    let audit = steady(&mut machine, &mut connection, 100, 0);
    assert_eq!((audit.connections, audit.agreeing), (1, 0));
    assert_eq!(audit.drift, Drift { rx: 100, tx: 0 });
    let worst = audit.worst.unwrap();
    assert_eq!((worst.key.tgid, worst.drift), (1, audit.drift));
    assert_eq!(worst.comm.as_bytes(), b"p");
}

/// Calls of a busy connection in an interval, and bytes of each.
const CALLS: u64 = 1000;
const CALL: u64 = 1400;

/// Moves bytes by many calls, of which `missed` are not counted, and as many between flip and
/// reading.
fn busy(machine: &mut SimulatedMachine, connection: &mut Connection, lost: u64) -> Audit {
    for call in 0..CALLS {
        connection.moves(CALL, 1);
        if call >= lost {
            connection.counts(0, CALL, 1);
        }
    }
    machine.end(connection, |connection| {
        for _ in 0..CALLS / 20 {
            connection.moves(CALL, 1);
            connection.counts(0, CALL, 1);
        }
    })
}

#[test]
fn a_busy_connection_that_loses_one_call_in_a_hundred_is_named_within_two_intervals() {
    const LOST: u64 = CALLS / 100;
    let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
    let mut connection = Connection::new(1, &mut Random(30));
    for _ in 0..3 {
        steady(&mut machine, &mut connection, 100, 100);
    }
    machine.missed = true;
    for _ in 0..2 {
        assert_eq!(busy(&mut machine, &mut connection, LOST).agreeing, 1);
    }
    let audit = busy(&mut machine, &mut connection, LOST);
    assert_eq!((audit.connections, audit.agreeing), (1, 0));
    let first_two = (2 * LOST * CALL) as i64;
    assert!(audit.drift.rx > first_two / 2 && audit.drift.rx <= first_two);
    assert_eq!(audit.worst.unwrap().drift, audit.drift);
    for _ in 0..7 {
        busy(&mut machine, &mut connection, LOST);
    }
    for _ in 0..3 {
        machine.end(&mut connection, still);
    }
    let lost = 10 * LOST;
    let all = Drift {
        rx: (lost * CALL) as i64,
        tx: lost as i64,
    };
    assert_eq!(machine.found, all);
}

#[test]
fn calls_that_a_busy_connection_loses_in_one_interval_alone_are_named_within_two_intervals() {
    const LOST: u64 = CALLS / 100;
    let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
    let mut connection = Connection::new(1, &mut Random(32));
    for _ in 0..3 {
        steady(&mut machine, &mut connection, 100, 100);
    }
    busy(&mut machine, &mut connection, 0);
    machine.missed = true;
    busy(&mut machine, &mut connection, LOST);
    machine.missed = false;
    assert_eq!(busy(&mut machine, &mut connection, 0).agreeing, 1);
    let audit = busy(&mut machine, &mut connection, 0);
    assert_eq!((audit.connections, audit.agreeing), (1, 0));
    for _ in 0..20 {
        let audit = busy(&mut machine, &mut connection, 0);
        assert_eq!(audit.agreeing, 0, "it stays named");
    }
    for _ in 0..3 {
        machine.end(&mut connection, still);
    }
    let (rx, tx) = ((LOST * CALL) as i64, LOST as i64);
    assert_eq!(machine.found, Drift { rx, tx });
}

#[test]
fn threads_that_wait_long_for_a_processor_are_no_drift_though_others_lose_calls() {
    for seed in 1..50 {
        let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
        machine.missed = true;
        let mut random = Random(seed);
        let mut connection = Connection::new(1, &mut random);
        // Bytes that four threads of one process have moved and not counted yet: they wait in
        // between.
        let mut waiting = [0; 4];
        for _ in 0..60 {
            for bytes in &mut waiting {
                if random.below(4) == 0 {
                    connection.counts(0, *bytes, 0);
                    *bytes = random.below(CALL + 1);
                    connection.moves(*bytes, 0);
                }
            }
            let audit = busy(&mut machine, &mut connection, 0);
            assert_eq!(audit.drift, Drift::default(), "{seed}: {waiting:?}");
        }
    }
}

#[test]
fn a_call_whose_thread_waits_for_a_processor_is_no_drift_however_long_it_waits() {
    for intervals in 1..20 {
        let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
        let mut connection = Connection::new(1, &mut Random(3));
        steady(&mut machine, &mut connection, 100, 100);
        machine.waits = true;
        connection.moves(700, 70);
        for _ in 0..intervals {
            let audit = steady(&mut machine, &mut connection, 100, 100);
            assert_eq!((audit.connections, audit.agreeing), (1, 1), "{intervals}");
        }
        connection.counts(0, 700, 70);
        machine.waits = false;
        for _ in 0..5 {
            steady(&mut machine, &mut connection, 100, 100);
        }
        assert_eq!(machine.found, Drift::default());
    }
}

#[test]
fn lost_bytes_are_drift_one_interval_after_the_threads_have_run() {
    for intervals in 1..20 {
        let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
        let mut connection = Connection::new(1, &mut Random(3));
        steady(&mut machine, &mut connection, 100, 100);
        machine.waits = true;
        connection.moves(700, 70);
        for _ in 0..=intervals {
            machine.end(&mut connection, still);
            assert_eq!(machine.found, Drift::default());
        }
        machine.waits = false;
        machine.end(&mut connection, still);
        assert_eq!(machine.found, Drift { rx: 700, tx: 70 });
    }
}

#[test]
fn threads_of_another_process_hold_no_drift_back() {
    let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
    let mut connection = Connection::new(1, &mut Random(3));
    machine.waits = true;
    connection.moves(100, 1);
    connection.counts(1, 100, 1);
    machine.end(&mut connection, still);
    connection.moves(700, 70);
    for _ in 0..3 {
        assert_eq!(machine.found, Drift::default());
        machine.end(&mut connection, still);
    }
    assert_eq!(machine.found, Drift { rx: 700, tx: 70 });
}

#[test]
fn a_socket_in_the_middle_of_a_call_is_read_again_before_the_flip() {
    let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
    let mut connection = Connection::new(1, &mut Random(31));
    steady(&mut machine, &mut connection, 100, 100);
    assert!(machine.samples.sockets_before_flip().is_empty());
    machine.samples.note_missed(true);
    let to_inspect = machine.samples.sockets_before_flip();
    assert_eq!(to_inspect.len(), 1);
    connection.marks |= TCP_BUSY;
    let busy = machine.samples.note_soon(&[(1, connection.reading())]);
    assert_eq!(busy, [1]);
    connection.marks = TCP_READ;
    let free = machine.samples.note_soon(&[(1, connection.reading())]);
    assert!(free.is_empty());
}

#[test]
fn bytes_of_a_silent_flow_are_missed_too() {
    let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
    let mut connection = Connection::new(1, &mut Random(4));
    steady(&mut machine, &mut connection, 100, 100);
    connection.moves(0, 555);
    for _ in 0..2 {
        assert!(machine.end(&mut connection, still).is_well());
    }
    let audit = machine.end(&mut connection, still);
    assert_eq!(audit.drift, Drift { rx: 0, tx: 555 });
    assert_eq!((audit.connections, audit.agreeing), (1, 0));
}

#[test]
fn drift_of_a_call_that_lasted_long_is_taken_back() {
    let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
    let mut connection = Connection::new(1, &mut Random(5));
    steady(&mut machine, &mut connection, 100, 100);
    for _ in 0..5 {
        steady(&mut machine, &mut connection, 1000, 0);
    }
    assert!(machine.found.rx > 0);
    let audit = steady(&mut machine, &mut connection, 0, 5000);
    assert_eq!((machine.found, audit.agreeing), (Drift::default(), 1));
    // A send under way is no drift.
    connection.marks |= TCP_BUSY;
    for _ in 0..5 {
        connection.moves(0, 1000);
        connection.counts(1, 1, 0);
        connection.moves(1, 0);
        machine.end(&mut connection, still);
    }
    assert_eq!(machine.found, Drift::default());
}

#[test]
fn more_than_a_connection_moved_is_drift_at_once() {
    let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
    let mut connection = Connection::new(1, &mut Random(6));
    steady(&mut machine, &mut connection, 100, 100);
    let audit = steady(&mut machine, &mut connection, 100, 200);
    assert_eq!((audit.drift.rx, audit.agreeing), (-100, 0));
}

#[test]
fn fins_are_no_bytes() {
    let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
    let mut connection = Connection::new(1, &mut Random(8));
    steady(&mut machine, &mut connection, 100, 100);
    // The peer's FIN came and was read; the own one was written.
    connection.state = CLOSE_WAIT;
    connection.moves(1, 0);
    for _ in 0..4 {
        connection.counts(0, 0, 3);
        connection.moves(0, 3);
        machine.end(&mut connection, still);
    }
    connection.moves(0, 1);
    connection.state = LAST_ACK;
    for _ in 0..4 {
        machine.end(&mut connection, still);
    }
    assert_eq!(machine.found, Drift::default());
}

#[test]
fn a_state_that_says_fin_before_its_sequence_number_is_taken_is_no_drift() {
    for (waits, last_bytes) in [(1, 3), (4, 3), (1, 0), (4, 0)] {
        let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
        let mut connection = Connection::new(1, &mut Random(8));
        steady(&mut machine, &mut connection, 100, 100);
        // tcp_close() has set the state, and waits for a processor before tcp_send_fin().
        connection.state = FIN_WAIT1;
        connection.moves(0, last_bytes);
        connection.counts(0, 0, last_bytes);
        for interval in 0..waits + 3 {
            if interval == waits {
                connection.moves(0, 1);
            }
            machine.end(&mut connection, still);
            assert_eq!(machine.found, Drift::default(), "{waits} {last_bytes}");
        }
    }
}

#[test]
fn a_connection_first_seen_before_its_fin_has_a_sequence_number_is_no_drift() {
    let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
    let mut connection = Connection::new(1, &mut Random(8));
    connection.state = FIN_WAIT1;
    connection.moves(0, 3);
    connection.counts(0, 0, 3);
    machine.end(&mut connection, still);
    connection.moves(0, 1);
    for _ in 0..4 {
        machine.end(&mut connection, still);
        assert_eq!(machine.found, Drift::default());
    }
}

#[test]
fn a_fin_that_is_written_between_the_readings_of_state_and_sequence_number_is_no_drift() {
    let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
    let mut connection = Connection::new(1, &mut Random(8));
    steady(&mut machine, &mut connection, 100, 100);
    connection.moves(0, 4);
    connection.counts(0, 0, 3);
    machine.end(&mut connection, still);
    connection.state = FIN_WAIT2;
    for _ in 0..4 {
        machine.end(&mut connection, still);
        assert_eq!(machine.found, Drift::default());
    }
}

#[test]
fn a_connection_first_read_while_its_fin_is_written_is_no_drift() {
    for syn in [0, 1] {
        let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
        let mut connection = Connection::new(1, &mut Random(8));
        connection.syn = syn;
        // The state was read before the FIN, the sequence number after it.
        connection.moves(0, 4);
        connection.counts(0, 0, 3);
        machine.end(&mut connection, still);
        connection.state = FIN_WAIT2;
        for _ in 0..4 {
            machine.end(&mut connection, still);
            assert_eq!(machine.found, Drift::default(), "SYN {syn}");
        }
    }
}

#[test]
fn more_than_a_connection_moved_is_drift_after_its_fin_too() {
    let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
    let mut connection = Connection::new(1, &mut Random(8));
    steady(&mut machine, &mut connection, 100, 100);
    connection.state = FIN_WAIT2;
    connection.moves(0, 4);
    connection.counts(0, 0, 5);
    machine.end(&mut connection, still);
    assert_eq!(machine.found.tx, -2);
}

#[test]
fn what_is_no_bytes_of_calls_is_exempt() {
    for mark in [TCP_ULP, TCP_OTHER_PROTO, TCP_REPAIR, TCP_URGENT] {
        let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
        let mut connection = Connection::new(1, &mut Random(9));
        steady(&mut machine, &mut connection, 100, 100);
        connection.marks |= mark;
        let audits: Vec<Audit> = (0..12)
            .map(|_| steady(&mut machine, &mut connection, 120, 100))
            .collect();
        assert_eq!(machine.found, Drift::default());
        assert_eq!((audits[11].connections, audits[11].exempt), (0, 1));
    }
}

#[test]
fn an_interval_with_flows_without_a_slot_is_not_compared() {
    let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
    let mut connection = Connection::new(1, &mut Random(10));
    steady(&mut machine, &mut connection, 100, 100);
    for _ in 0..5 {
        connection.moves(100, 0);
        machine.samples.next_interval();
        machine.samples.note_overflow();
        let audit = machine.settle(&connection, &mut Vec::new());
        assert_eq!((audit.connections, audit.drift), (0, Drift::default()));
    }
    for _ in 0..4 {
        steady(&mut machine, &mut connection, 100, 100);
    }
    assert_eq!(machine.found, Drift::default());
    assert_eq!(steady(&mut machine, &mut connection, 100, 100).agreeing, 1);
}

#[test]
fn torn_readings_are_not_compared_and_hide_nothing() {
    let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
    let mut connection = Connection::new(1, &mut Random(11));
    steady(&mut machine, &mut connection, 100, 100);
    connection.marks |= TCP_RX_TORN | TCP_TX_TORN;
    for _ in 0..3 {
        steady(&mut machine, &mut connection, 100, 90);
        assert_eq!(machine.found, Drift::default());
    }
    connection.marks = TCP_READ;
    steady(&mut machine, &mut connection, 100, 100);
    for _ in 0..3 {
        machine.end(&mut connection, still);
    }
    assert_eq!(machine.found, Drift { rx: 30, tx: 0 });
}

#[test]
fn another_connection_of_the_same_ends_and_address_begins_anew() {
    let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
    let mut connection = Connection::new(1, &mut Random(12));
    steady(&mut machine, &mut connection, 100, 100);
    let mut connection = Connection::new(1, &mut Random(13));
    connection.counts(0, 50, 0);
    let audit = steady(&mut machine, &mut connection, 10, 10);
    assert_eq!((audit.connections, audit.exempt), (0, 1));
    for _ in 0..3 {
        steady(&mut machine, &mut connection, 10, 10);
    }
    assert_eq!(machine.found, Drift::default());
}

#[test]
fn a_socket_is_read_again_once_though_its_address_was_used_before() {
    let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
    let mut connection = Connection::new(1, &mut Random(15));
    steady(&mut machine, &mut connection, 100, 100);
    // It closes, and another one with the same ends and address begins.
    connection.marks = 0;
    steady(&mut machine, &mut connection, 0, 0);
    let mut connection = Connection::new(1, &mut Random(16));
    steady(&mut machine, &mut connection, 100, 100);
    machine.samples.next_interval();
    assert_eq!(machine.samples.sockets_to_inspect().len(), 1);
}

#[test]
fn a_call_that_was_under_way_at_the_start_may_not_be_counted() {
    for (mode, found) in [(AuditMode::FromFirstCall, 0), (AuditMode::AtOnce, 70)] {
        let mut machine = SimulatedMachine::new(mode);
        let mut connection = Connection::new(1, &mut Random(14));
        connection.moves(1000, 1000);
        let mut step = |rx, counted, tx| {
            connection.moves(rx, tx);
            connection.counts(0, counted, tx);
            machine.end(&mut connection, still);
        };
        step(0, 0, 9);
        step(70, 0, 9);
        step(0, 0, 9);
        step(0, 0, 9);
        step(80, 80, 9);
        for _ in 0..3 {
            step(80, 80, 9);
        }
        assert_eq!(machine.found.rx, found, "{mode:?}");
    }
}

#[test]
fn bytes_that_no_probe_sees_are_counted_from_the_socket_to_the_byte() {
    let mut random = Random(20);
    for sk in 1..200 {
        let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
        machine.samples = TcpSamples::new(AuditMode::AtOnce, true);
        machine.random = Random(sk);
        let mut connection = Connection::new(sk, &mut random);
        steady(&mut machine, &mut connection, 100, 100);
        let mut spliced = 0;
        for _ in 0..10 {
            live(&mut machine, &mut connection, 0);
            for _ in 0..random.below(3) {
                let bytes = random.below(200_000);
                connection.moves(bytes, 0);
                spliced += bytes;
            }
        }
        for _ in 0..3 {
            machine.end(&mut connection, still);
        }
        assert_eq!(machine.audited_rx, spliced, "{sk}");
        assert_eq!(machine.shown_rx, connection.read, "{sk}");
        assert_eq!(machine.found, Drift::default(), "{sk}");
    }
}

#[test]
fn bytes_of_a_call_that_took_long_are_counted_once() {
    let mut machine = SimulatedMachine::new(AuditMode::AtOnce);
    machine.samples = TcpSamples::new(AuditMode::AtOnce, true);
    let mut connection = Connection::new(1, &mut Random(21));
    steady(&mut machine, &mut connection, 100, 100);
    for _ in 0..5 {
        steady(&mut machine, &mut connection, 1000, 0);
    }
    assert!(machine.shown_rx > 3000);
    steady(&mut machine, &mut connection, 0, 5000);
    for _ in 0..3 {
        machine.end(&mut connection, still);
    }
    assert_eq!(machine.shown_rx, 5100);
    assert_eq!(machine.found, Drift::default());
}
