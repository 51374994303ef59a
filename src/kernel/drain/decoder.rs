//! Turns the records that the drain takes out of the maps into flows with their owners.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use crate::kernel::skel::{
    KEY_IPV6, KEY_OVERFLOW, KEY_PROTOCOL_MASK, KEY_PROTOCOL_SHIFT, KEY_SHIFT, OWNER_KERNEL,
    OWNER_TREES_SHIFT, RawCgroup, RawOwner, RawRecord,
};
use crate::kernel::tcp::TcpSamples;
use crate::model::flow::{Comm, Counters, Endpoint, Flow, FlowKey, Owner, Packets, Protocol, Zone};

/// Everything needed to turn records into flows.
pub struct Decoder {
    pub(super) samples: TcpSamples,
    /// Whether flows are split by thread: keys and owners are per thread.
    pub(super) by_thread: bool,
    /// Owners that moved bytes in the interval and have no entry.
    pub(super) unknown_owners: HashSet<u32>,
    /// Whether the hooks see how many datagrams a UDP message is.
    pub(super) udp_packets: bool,
    /// Roots of the filter's trees, by their bits.
    roots: Vec<u32>,
}

impl Decoder {
    pub fn new(by_thread: bool, udp_packets: bool, samples: TcpSamples) -> Self {
        Self {
            samples,
            unknown_owners: HashSet::new(),
            by_thread,
            udp_packets,
            roots: Vec::new(),
        }
    }

    /// Sets the roots of the filter's trees.
    pub fn with_roots(self, roots: Vec<u32>) -> Self {
        Self { roots, ..self }
    }

    /// Returns the owners of an interval, none yet.
    pub(super) fn owners(&self) -> DrainedOwners {
        DrainedOwners {
            roots: self.roots.clone(),
            ..DrainedOwners::default()
        }
    }

    /// Converts a record to a flow and appends it.
    pub(super) fn append(
        &mut self,
        raw: &RawRecord,
        owners: &DrainedOwners,
        flows: &mut Vec<Flow>,
    ) {
        let id = &raw.key.id;
        let overflow = id.owner_kind & KEY_OVERFLOW != 0;
        let task = (id.owner_kind & !KEY_OVERFLOW) >> KEY_SHIFT;
        let address = |words: &[u32; 4]| -> IpAddr {
            if id.owner_kind & KEY_IPV6 == 0 {
                Ipv4Addr::from(words[0].to_ne_bytes()).into()
            } else {
                let mut bytes = [0; 16];
                for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
                    bytes.copy_from_slice(&word.to_ne_bytes());
                }
                Ipv6Addr::from(bytes).into()
            }
        };
        let protocol = protocol_of(id.owner_kind);
        let zone = Zone {
            ifindex: raw.ifindex,
            netns: raw.netns,
        };
        let key = FlowKey {
            protocol,
            local: Endpoint::new(address(&raw.key.local_addr), id.local_port).bound_to(zone),
            remote: Endpoint::new(address(&raw.key.remote_addr), u16::from_be(id.remote_port))
                .on_link(zone),
            tgid: raw.tgid,
            // An overflow row belongs to the process, whichever of its threads moved the bytes.
            tid: if self.by_thread && !overflow { task } else { 0 },
            netns: raw.netns,
            overflow,
        };
        if overflow {
            self.samples.note_overflow();
        }
        let counters = Counters::from(&raw.stats);
        let mut owner = owners.get(raw.owner).unwrap_or_else(|| {
            self.unknown_owners.insert(raw.owner);
            Arc::default()
        });
        if overflow && self.by_thread {
            Arc::make_mut(&mut owner).thread = Comm::default();
        }
        let mut flow = Flow::new(key, counters, owner);
        let packets = Packets {
            rx: raw.rx_packets,
            tx: raw.tx_packets,
        };
        match protocol {
            Protocol::Tcp if raw.sk != 0 => {
                self.samples.append(raw, flow, flows);
                return;
            }
            Protocol::Udp => flow.packets = self.udp_packets.then_some(packets),
            // A message is as many packets as its protocol makes of it.
            Protocol::Tcp | Protocol::Sctp | Protocol::Dccp => {}
            Protocol::Icmp
            | Protocol::Icmp6
            | Protocol::Raw
            | Protocol::UdpLite
            | Protocol::Packet => flow.packets = Some(packets),
        }
        flows.push(flow);
    }
}

/// Owners that moved bytes in the interval, by the number that flows refer to.
#[derive(Default)]
pub(super) struct DrainedOwners {
    by_id: HashMap<u32, Arc<Owner>>,
    cgroups: HashMap<u64, Arc<str>>,
    /// Roots of the filter's trees, by their bits.
    roots: Vec<u32>,
    /// Number of owners whose cgroup has no entry.
    pub(super) without_cgroup: u64,
}

impl DrainedOwners {
    pub(super) fn add_cgroup(&mut self, id: u64, raw: &RawCgroup) {
        self.cgroups.insert(id, cgroup_path(raw).into());
    }

    /// Returns the roots whose bits an owner has.
    fn trees_of(&self, flags: u32) -> Vec<u32> {
        let roots = self.roots.iter().enumerate();
        let roots = roots.filter(|(bit, _)| flags >> OWNER_TREES_SHIFT >> bit & 1 != 0);
        roots.map(|(_, root)| *root).collect()
    }

    /// Adds an owner. The entry of its cgroup must be added before, if there is one.
    pub(super) fn add(&mut self, id: u32, raw: &RawOwner) {
        let cgroup = self.cgroups.get(&raw.cgroup).cloned();
        self.without_cgroup += u64::from(raw.cgroup != 0 && cgroup.is_none());
        let owner = Owner {
            comm: Comm::new(&raw.comm.map(i8::cast_unsigned)),
            thread: Comm::new(&raw.thread.map(i8::cast_unsigned)),
            uid: Some(raw.uid),
            start: Some(Duration::from_nanos(raw.start_ns)),
            cgroup,
            labels: None,
            kernel: raw.flags & OWNER_KERNEL != 0,
            trees: self.trees_of(raw.flags),
        };
        self.by_id.insert(id, Arc::new(owner));
    }

    fn get(&self, id: u32) -> Option<Arc<Owner>> {
        self.by_id.get(&id).cloned()
    }
}

/// Returns the path of a cgroup below the root, from its names upwards. A path with more names than
/// the kernel side has room for begins with `…` in place of the names nearest to the root.
fn cgroup_path(raw: &RawCgroup) -> String {
    let bytes: Vec<u8> = raw
        .names
        .as_flattened()
        .as_flattened()
        .iter()
        .map(|c| c.cast_unsigned())
        .collect();
    let names: Vec<_> = bytes
        .split(|&byte| byte == 0)
        .take_while(|name| !name.is_empty())
        .map(String::from_utf8_lossy)
        .collect();
    let mut path = String::new();
    if raw.cut != 0 {
        path.push_str("/…");
    }
    for name in names.iter().rev() {
        path.push('/');
        path.push_str(name);
    }
    if path.is_empty() {
        "/".to_owned()
    } else {
        path
    }
}

/// Returns the protocol in a key's `owner_kind`.
pub(super) fn protocol_of(owner_kind: u32) -> Protocol {
    let number = (owner_kind >> KEY_PROTOCOL_SHIFT & KEY_PROTOCOL_MASK) as usize;
    // Unreachable: the programs write no other number.
    Protocol::ALL.get(number).copied().unwrap_or(Protocol::Raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::skel::{RawId, RawKey6};

    const UDP: u32 = 1 << KEY_PROTOCOL_SHIFT;

    fn raw(flags: u32, local: [u8; 4], remote: [u8; 4]) -> RawRecord {
        RawRecord {
            key: RawKey6 {
                id: RawId {
                    owner_kind: 4321 << KEY_SHIFT | flags,
                    local_port: 443,
                    remote_port: 52110u16.to_be(),
                    ..RawId::default()
                },
                local_addr: [u32::from_ne_bytes(local), 0, 0, 0],
                remote_addr: [u32::from_ne_bytes(remote), 0, 0, 0],
            },
            netns: 4026531840,
            tgid: 4321,
            owner: 4321,
            rx_packets: 7,
            tx_packets: 5,
            ..RawRecord::default()
        }
    }

    fn flow(mut decoder: Decoder, raw: &RawRecord, owners: &DrainedOwners) -> Flow {
        let mut flows = Vec::new();
        decoder.append(raw, owners, &mut flows);
        flows.remove(0)
    }

    fn decode(raw: &RawRecord, udp_packets: bool) -> Flow {
        flow(
            Decoder::new(false, udp_packets, TcpSamples::default()),
            raw,
            &DrainedOwners::default(),
        )
    }

    #[test]
    fn a_kernel_key_keeps_its_ports_addresses_and_process() {
        let flow = decode(&raw(0, [10, 0, 0, 5], [203, 0, 113, 7]), true);
        assert_eq!(flow.key.local.to_string(), "10.0.0.5:443");
        assert_eq!(flow.key.remote.to_string(), "203.0.113.7:52110");
        assert_eq!((flow.key.tgid, flow.key.protocol), (4321, Protocol::Tcp));
        assert_eq!(flow.key.netns, 4026531840);
        assert_eq!((flow.tcp, flow.packets), (None, None));
    }

    #[test]
    fn an_overflow_row_is_of_its_process_and_of_no_thread() {
        let mut record = RawRecord::default();
        record.key.id.owner_kind = KEY_OVERFLOW | 4321 << KEY_SHIFT | KEY_IPV6;
        (record.tgid, record.owner) = (4321, 4321);
        let mut owners = DrainedOwners::default();
        let mut raw = RawOwner::default();
        (raw.comm[0], raw.thread[0]) = (b'p'.cast_signed(), b't'.cast_signed());
        owners.add(4321, &raw);
        for by_thread in [false, true] {
            let flow = flow(
                Decoder::new(by_thread, true, TcpSamples::default()),
                &record,
                &owners,
            );
            assert!(flow.key.overflow);
            assert_eq!((flow.key.tgid, flow.key.tid), (4321, 0));
            assert_eq!(flow.owner.comm, Comm::new(b"p"));
            assert!(!by_thread || flow.owner.thread.is_empty());
            assert!(flow.key.local.is_unknown() && flow.key.remote.is_unknown());
            assert!(flow.key.local.addr.is_ipv6());
        }
        assert!(
            !decode(&self::raw(0, [10, 0, 0, 5], [0; 4]), true)
                .key
                .overflow
        );
    }

    #[test]
    fn an_ipv6_key_is_read_in_network_order() {
        let mut record = raw(KEY_IPV6 | UDP, [0x20, 0x01, 0x0d, 0xb8], [0; 4]);
        record.key.local_addr[3] = u32::from_ne_bytes([0, 0, 0, 1]);
        let flow = decode(&record, true);
        assert_eq!(flow.key.local.to_string(), "[2001:db8::1]:443");
        assert_eq!(flow.key.protocol, Protocol::Udp);
        assert_eq!(flow.packets, Some(Packets { rx: 7, tx: 5 }));
        assert_eq!(decode(&record, false).packets, None);
    }

    #[test]
    fn datagrams_one_way_never_carry_into_the_other_way() {
        let most = u64::from(u32::MAX);
        for (rx, tx) in [(most + 7, 0), (0, most + 5), (1 << 40, 1 << 41)] {
            let mut record = raw(UDP, [10, 0, 0, 5], [0; 4]);
            (record.rx_packets, record.tx_packets) = (rx, tx);
            assert_eq!(decode(&record, true).packets, Some(Packets { rx, tx }));
        }
    }

    #[test]
    fn a_cgroup_path_is_read_from_the_leaf_up() {
        assert_eq!(cgroup_path(&RawCgroup::default()), "/");
        let leaf = format!("docker-{}.scope", "0".repeat(64));
        let path = format!("/system.slice/{leaf}");
        assert_eq!(cgroup_path(&cgroup(&[&leaf, "system.slice"], 0)), path);
        // The maximum length of a cgroup's name.
        let [long, other] = ["a", "b"].map(|letter| letter.repeat(255));
        let path = format!("/{other}/{long}");
        assert_eq!(cgroup_path(&cgroup(&[&long, &other], 0)), path);
        assert_eq!(cgroup_path(&cgroup(&[&long], 1)), format!("/…/{long}"));
    }

    /// Encodes names as the kernel side writes them.
    fn cgroup(names: &[&str], cut: u64) -> RawCgroup {
        let mut raw = RawCgroup {
            cut,
            ..RawCgroup::default()
        };
        let bytes = names.iter().flat_map(|name| name.bytes().chain([0]));
        let room = raw.names.as_flattened_mut().as_flattened_mut();
        for (to, byte) in room.iter_mut().zip(bytes) {
            *to = byte.cast_signed();
        }
        raw
    }

    #[test]
    fn flows_of_a_thread_find_the_thread_and_others_the_process() {
        let mut owners = DrainedOwners::default();
        owners.add(
            7,
            &RawOwner {
                uid: 3,
                flags: OWNER_KERNEL,
                ..RawOwner::default()
            },
        );
        let mut record = raw(0, [10, 0, 0, 5], [0; 4]);
        (record.key.id.owner_kind, record.owner) = (7 << KEY_SHIFT, 7);
        record.tgid = 5;
        for by_thread in [false, true] {
            let flow = flow(
                Decoder::new(by_thread, true, TcpSamples::default()),
                &record,
                &owners,
            );
            assert_eq!(flow.key.tgid, 5);
            assert_eq!(flow.key.tid, if by_thread { 7 } else { 0 });
            assert_eq!((flow.owner.uid, flow.owner.kernel), (Some(3), true));
        }
        (record.key.id.owner_kind, record.owner) = (8 << KEY_SHIFT, 8);
        assert_eq!(decode(&record, true).owner.uid, None);
    }
}
