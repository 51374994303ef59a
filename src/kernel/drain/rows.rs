//! The rows of each CPU: sums of flows in addition to the slots of the shared maps.

use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result};
use hashbrown::HashMap;
use libbpf_rs::{Map, MapCore};
use memmap2::{MmapOptions, MmapRaw};

use super::super::skel::{self, RawKey6, RawRecord, RawRows, RawStats};
use super::{Buffer, protocol_of};
use crate::model::flow::Protocol;

/// The mapped array of rows, and the sums taken from it.
pub struct CpuRows {
    memory: MmapRaw,
    cpus: usize,
    sums: HashMap<RowKey, (RawKey6, RawStats)>,
}

/// A key's fields, to look up the sums of a record.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct RowKey {
    net: u64,
    owner_kind: u32,
    ports: [u16; 2],
    addresses: [[u32; 4]; 2],
}

impl From<&RawKey6> for RowKey {
    fn from(key: &RawKey6) -> Self {
        Self {
            net: key.id.net,
            owner_kind: key.id.owner_kind,
            ports: [key.id.remote_port, key.id.local_port],
            addresses: [key.remote_addr, key.local_addr],
        }
    }
}

impl CpuRows {
    /// Maps the array, which has an element per possible CPU.
    ///
    /// # Errors
    /// When the kernel refuses the mapping.
    pub fn map(map: &Map<'_>) -> Result<Self> {
        let cpus = usize::try_from(map.max_entries())?;
        let memory = MmapOptions::new()
            .len(cpus * size_of::<RawRows>())
            .map_raw(map.as_fd().as_raw_fd())
            .context("map the rows of the CPUs")?;
        Ok(Self {
            memory,
            cpus,
            sums: HashMap::new(),
        })
    }

    /// Takes the sums out of the rows of the retired buffer, which no running program may still
    /// write, and frees them.
    pub fn take(&mut self, retired: Buffer) {
        self.sums.clear();
        let buffer = retired.index();
        for cpu in 0..self.cpus {
            let rows = self.memory.as_mut_ptr().cast::<RawRows>().wrapping_add(cpu);
            skel::take_rows(rows, buffer, |key, stats| {
                let sum = self
                    .sums
                    .entry(RowKey::from(&key))
                    .or_insert((key, RawStats::default()));
                sum.1 += &stats;
            });
        }
    }

    /// Returns the record with its flow's sums on all CPUs added; `None` if there are none.
    pub fn merge(&mut self, record: &RawRecord) -> Option<RawRecord> {
        if self.sums.is_empty() {
            return None;
        }
        let (_, stats) = self.sums.remove(&RowKey::from(&record.key))?;
        let mut record = *record;
        add(&mut record, &stats);
        Some(record)
    }

    /// Returns records of sums without a record of their flow. A flow has its slot before a row, so
    /// there are none. If there were, their bytes would still count, under a process of which only
    /// the PID is known.
    pub fn without_record(&mut self) -> impl Iterator<Item = RawRecord> {
        self.sums.drain().map(|(_, (key, stats))| {
            let tgid = key.id.owner_kind >> skel::KEY_SHIFT;
            let mut record = RawRecord {
                key,
                tgid,
                owner: tgid,
                ..RawRecord::default()
            };
            add(&mut record, &stats);
            record
        })
    }
}

/// Adds the sums of a row: messages of one packet each, or of TCP.
fn add(record: &mut RawRecord, stats: &RawStats) {
    record.stats += stats;
    if protocol_of(record.key.id.owner_kind) != Protocol::Tcp {
        record.tx_packets += stats.tx_msgs;
        record.rx_packets += stats.rx_msgs;
    }
}

#[cfg(test)]
mod tests {
    use memmap2::MmapMut;

    use super::*;
    use crate::kernel::skel::{KEY_IPV6, KEY_PROTOCOL_SHIFT, RawId, RawKey4, RawRow4, RawRow6};

    const UDP: u32 = 1 << KEY_PROTOCOL_SHIFT;
    const PROCESS: u32 = 4321 << skel::KEY_SHIFT;

    fn id(kind: u32) -> RawId {
        RawId {
            owner_kind: PROCESS | kind,
            local_port: 443,
            ..RawId::default()
        }
    }

    fn stats(tx_bytes: u64, tx_msgs: u64) -> RawStats {
        RawStats {
            tx_bytes,
            tx_msgs,
            ..RawStats::default()
        }
    }

    /// Rows of two CPUs. In buffer B the first has a flow of IPv4 and one of IPv6, the second the
    /// former only; in buffer A the first CPU has that flow too.
    fn rows() -> CpuRows {
        let mut memory = MmapMut::map_anon(2 * size_of::<RawRows>()).unwrap();
        let (cpus, _) = memory.split_at_mut(2 * size_of::<RawRows>());
        let cpus: &mut [RawRows] = plain::slice_from_mut_bytes(cpus).unwrap();
        let v4 = |tx_bytes, tx_msgs| RawRow4 {
            key: RawKey4 {
                id: id(UDP),
                remote_addr: 7,
                ..RawKey4::default()
            },
            stats: stats(tx_bytes, tx_msgs),
            ..RawRow4::default()
        };
        cpus[0].buffers[1].v4[5] = v4(100, 1);
        cpus[0].buffers[1].v6[9] = RawRow6 {
            key: RawKey6 {
                id: id(KEY_IPV6),
                ..RawKey6::default()
            },
            stats: stats(30, 3),
            ..RawRow6::default()
        };
        cpus[0].buffers[1].taken = [1, 1];
        cpus[0].buffers[0].v4[5] = v4(9, 9);
        cpus[0].buffers[0].taken = [1, 0];
        cpus[1].buffers[1].v4[5] = v4(200, 2);
        cpus[1].buffers[1].taken = [1, 0];
        CpuRows {
            memory: memory.into(),
            cpus: 2,
            sums: HashMap::new(),
        }
    }

    fn record(kind: u32, remote: u32) -> RawRecord {
        RawRecord {
            key: RawKey6 {
                id: id(kind),
                remote_addr: [remote, 0, 0, 0],
                ..RawKey6::default()
            },
            stats: stats(1000, 1),
            tx_packets: 1,
            ..RawRecord::default()
        }
    }

    #[test]
    fn a_record_gets_the_sums_of_all_cpus_in_the_retired_buffer_once() {
        let mut rows = rows();
        rows.take(Buffer::B);
        let merged = rows.merge(&record(UDP, 7)).unwrap();
        assert_eq!((merged.stats.tx_bytes, merged.stats.tx_msgs), (1300, 4));
        assert_eq!((merged.tx_packets, merged.rx_packets), (4, 0));
        let of_tcp = rows.merge(&record(KEY_IPV6, 0)).unwrap();
        assert_eq!((of_tcp.stats.tx_bytes, of_tcp.tx_packets), (1030, 1));
        assert!(rows.merge(&record(UDP, 7)).is_none());
        // The buffer is all free, the other one unchanged.
        for cpu in 0..rows.cpus {
            let of_cpu = rows.memory.as_ptr().cast::<RawRows>().wrapping_add(cpu);
            assert!(skel::rows_are_free(of_cpu, 1));
        }
        rows.take(Buffer::B);
        assert!(rows.merge(&record(UDP, 7)).is_none());
        rows.take(Buffer::A);
        assert_eq!(rows.merge(&record(UDP, 7)).unwrap().stats.tx_bytes, 1009);
    }

    #[test]
    fn sums_without_a_record_keep_their_bytes_and_process() {
        let mut rows = rows();
        rows.take(Buffer::B);
        assert!(rows.merge(&record(UDP, 8)).is_none());
        let mut left: Vec<_> = rows.without_record().collect();
        left.sort_by_key(|record| record.stats.tx_bytes);
        let figures = left.iter().map(|it| (it.tgid, it.stats.tx_bytes));
        assert_eq!(figures.collect::<Vec<_>>(), [(4321, 30), (4321, 300)]);
        assert_eq!(rows.without_record().count(), 0);
    }
}
