//! The drain before 5.13: batches of look-ups and deletions by system calls on the idle maps.

use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::{io, ptr};

use anyhow::{Context, Result, ensure};
use libbpf_rs::{MapHandle, MapMut, libbpf_sys};

use super::super::buffers::Held;
use super::super::skel::{
    FlowtopSkel, Program, RawCgroup, RawKey4, RawKey6, RawOwner, RawRecord, RawSlot,
};
use super::{Buffer, Buffered, DrainedOwners, Records, from_bytes, protocol_of};
use crate::model::flow::Protocol;

/// Entries per batch; the size makes no difference between 256 and 16384 (measured).
const BATCH: usize = 4096;

/// The batched drain: the maps, and buffers that are kept from interval to interval.
pub struct Batches {
    maps: [Buffered<MapHandle>; 2],
    reader: BatchReader,
    /// Flows that wait for the state of their sockets.
    pending: Vec<RawRecord>,
    /// Reads the states of the sockets that it finds in `records`.
    program: Program,
    records: Records,
}

/// Buffers for batches of one map's entries.
struct BatchReader {
    keys: Vec<u64>,
    values: Vec<u64>,
    /// The kernel's position in the map: a u32, or a key if that is longer.
    token: [u64; 6],
}

impl Batches {
    /// Prepares this drain for a loaded object.
    ///
    /// # Errors
    /// When the records cannot be mapped, or there is no room for more descriptors.
    pub fn new(skel: &FlowtopSkel<'_>) -> Result<Self> {
        let maps = &skel.maps;
        let maps = [
            Buffered {
                cgroups: &maps.cgroups_a,
                owners: &maps.owners_a,
                flows4: &maps.flows4_a,
                flows6: &maps.flows6_a,
                overflow: &maps.overflow_a,
            },
            Buffered {
                cgroups: &maps.cgroups_b,
                owners: &maps.owners_b,
                flows4: &maps.flows4_b,
                flows6: &maps.flows6_b,
                overflow: &maps.overflow_b,
            },
        ];
        let keep = |map: &MapMut<'_>| MapHandle::try_from(map).context("keep a map");
        let [a, b] = maps;
        Ok(Self {
            maps: [a.try_map(keep)?, b.try_map(keep)?],
            reader: BatchReader {
                keys: vec![0; BATCH * size_of::<RawKey6>() / 8],
                values: vec![0; BATCH * size_of::<RawSlot>() / 8],
                token: [0; 6],
            },
            pending: Vec::new(),
            program: Program::new(&skel.progs.sample_records)?,
            records: Records::map::<RawRecord>(&skel.maps.records)?,
        })
    }

    /// Empties the retired maps and hands over every flow.
    ///
    /// # Errors
    /// When the kernel refuses a batch.
    pub fn take(
        &mut self,
        retired: Buffer,
        held: Held,
        owners: &mut DrainedOwners,
        mut each: impl FnMut(&RawRecord, &DrainedOwners),
    ) -> Result<()> {
        let (maps, reader, pending) = (
            &self.maps[retired.index()],
            &mut self.reader,
            &mut self.pending,
        );
        reader
            .each_entry::<u64, RawCgroup>(maps.cgroups.as_fd(), held.owners, |id, value| {
                owners.add_cgroup(*id, value);
                Ok(())
            })
            .context("drain the cgroups")?;
        reader
            .each_entry::<u32, RawOwner>(maps.owners.as_fd(), held.owners, |id, value| {
                owners.add(*id, value);
                Ok(())
            })
            .context("drain the owners")?;
        // Flows left by a failed drain.
        pending.clear();
        let (flows4, flows6) = (maps.flows4.as_fd(), maps.flows6.as_fd());
        reader
            .each_entry::<RawKey4, RawSlot>(flows4, held.flows[0] > 0, |key, slot| {
                let key = RawKey6 {
                    id: key.id,
                    local_addr: [key.local_addr, 0, 0, 0],
                    remote_addr: [key.remote_addr, 0, 0, 0],
                };
                pending.push(record(key, slot));
                Ok(())
            })
            .context("drain the flows of IPv4")?;
        reader
            .each_entry::<RawKey6, RawSlot>(flows6, held.flows[1] > 0, |key, slot| {
                pending.push(record(*key, slot));
                Ok(())
            })
            .context("drain the flows of IPv6")?;
        let overflow = maps.overflow.as_fd();
        reader
            .each_entry::<u32, RawSlot>(overflow, held.overflow, |owner_kind, slot| {
                let mut key = RawKey6::default();
                key.id.owner_kind = *owner_kind;
                pending.push(record(key, slot));
                Ok(())
            })
            .context("drain the flows without a slot")?;
        for records in pending.chunks(self.records.capacity) {
            let sampled = self.records.fill(&self.program, records);
            for record in sampled.context("read the sockets' states")? {
                each(from_bytes(record)?, owners);
            }
        }
        pending.clear();
        Ok(())
    }
}

impl BatchReader {
    /// Looks up and deletes every entry of a hash map and passes on each. A map without entries is
    /// skipped; debug builds walk it and assert that it is empty.
    fn each_entry<K: plain::Plain, V: plain::Plain>(
        &mut self,
        map: BorrowedFd<'_>,
        has_entries: bool,
        mut each: impl FnMut(&K, &V) -> Result<()>,
    ) -> Result<()> {
        if !has_entries && !cfg!(debug_assertions) {
            return Ok(());
        }
        let (key_size, value_size) = (size_of::<K>(), size_of::<V>());
        self.each_batch(map, key_size, value_size, |keys, values| {
            let keys = keys.chunks_exact(key_size);
            for (key, value) in keys.zip(values.chunks_exact(value_size)) {
                debug_assert!(has_entries, "entries in a map that is skipped");
                each(from_bytes(key)?, from_bytes(value)?)?;
            }
            Ok(())
        })
    }

    /// Looks up and deletes every entry of a hash map and passes on batches of keys and values.
    /// libbpf-rs's own batches end at the first short one and lose the rest.
    fn each_batch(
        &mut self,
        map: BorrowedFd<'_>,
        key_size: usize,
        value_size: usize,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut batch = BATCH;
        let mut first = true;
        loop {
            self.keys
                .resize(self.keys.len().max((batch * key_size).div_ceil(8)), 0);
            self.values
                .resize(self.values.len().max((batch * value_size).div_ceil(8)), 0);
            let mut count = u32::try_from(batch)?;
            let token: *mut c_void = self.token.as_mut_ptr().cast();
            let opts = libbpf_sys::bpf_map_batch_opts {
                sz: size_of::<libbpf_sys::bpf_map_batch_opts>() as libbpf_sys::size_t,
                ..Default::default()
            };
            // SAFETY: `keys` and `values` hold `count` elements of the map's sizes (resized above),
            // and `token` more bytes than the u32 the kernel keeps its position in. All outlive the
            // call.
            let ret = unsafe {
                libbpf_sys::bpf_map_lookup_and_delete_batch(
                    map.as_raw_fd(),
                    if first { ptr::null_mut() } else { token },
                    token,
                    self.keys.as_mut_ptr().cast(),
                    self.values.as_mut_ptr().cast(),
                    &mut count,
                    &opts,
                )
            };
            let error = io::Error::from_raw_os_error(-ret);
            let ended = error.kind() == io::ErrorKind::NotFound;
            if ret != 0 && !ended {
                // ENOSPC: the next bucket holds more than one batch. Nothing was deleted.
                if error.raw_os_error() == Some(rustix::io::Errno::NOSPC.raw_os_error())
                    && batch < 1 << 20
                {
                    batch *= 2;
                    continue;
                }
                return Err(error).context("look up and delete a batch");
            }
            let taken = usize::try_from(count)?;
            ensure!(
                taken <= batch,
                "the kernel returned {taken} entries for {batch}"
            );
            each(
                &as_bytes(&self.keys)[..taken * key_size],
                &as_bytes(&self.values)[..taken * value_size],
            )?;
            // ENOENT: the end of the map, with the last entries.
            if ended {
                return Ok(());
            }
            first = false;
        }
    }
}

fn as_bytes(words: &[u64]) -> &[u8] {
    // SAFETY: any initialized memory is bytes, of the same length and lifetime.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

/// Returns the record of a key and its slot, without the state of the socket.
fn record(key: RawKey6, slot: &RawSlot) -> RawRecord {
    let (sk, tx_packets) = match protocol_of(key.id.owner_kind) {
        Protocol::Tcp => (slot.sk_or_tx_packets, 0),
        _ => (0, slot.sk_or_tx_packets),
    };
    RawRecord {
        key,
        stats: slot.stats,
        sk,
        tx_packets,
        rx_packets: slot.rx_packets,
        netns: slot.netns,
        tgid: slot.tgid,
        owner: slot.owner,
        ifindex: slot.ifindex,
        ..RawRecord::default()
    }
}
