//! Takes everything out of the retired buffer and turns it into flows.
//!
//! In the kernel where its helpers allow (from 5.19): a program moves the flows into an array that
//! is mapped here, so that no bpf() look-up makes probes skip events. Before that, by batches of
//! system calls: those kernels do not preempt themselves by default, so nothing is skipped.

use std::ffi::c_void;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::{io, ptr};

use anyhow::{Context, Result, bail, ensure};
use libbpf_rs::{MapCore, ProgramInput, ProgramType, libbpf_sys};
use memmap2::{Mmap, MmapOptions};

use super::skel::{
    FlowtopSkel, KEY_IPV6, KEY_TGID_SHIFT, KEY_UDP, RawKey, RawOwner, RawRecord, RawStats,
};
use crate::flow::{Counters, Endpoint, Flow, FlowKey, Owner, Protocol};

/// Entries asked for in one batch; size makes no difference between 256 and 16384 (measured).
const BATCH: usize = 4096;

/// Which of the two buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffer {
    /// `flows_a`, active when the flag is 0.
    A,
    /// `flows_b`, active when the flag is 1.
    B,
}

/// The way this kernel allows.
pub enum Drain {
    /// A program run by BPF_PROG_TEST_RUN, writing to mapped memory.
    InKernel {
        /// The `records` array.
        records: Mmap,
        /// How many records it holds.
        capacity: usize,
    },
    /// bpf(BPF_MAP_LOOKUP_AND_DELETE_BATCH), which needs 5.6.
    Batches(Batches),
}

/// Whether the kernel has the helpers of the drain programs: `bpf_for_each_map_elem` (5.13) and
/// `bpf_map_lookup_percpu_elem` (5.19).
pub fn in_kernel_supported() -> bool {
    [
        libbpf_sys::BPF_FUNC_for_each_map_elem,
        libbpf_sys::BPF_FUNC_map_lookup_percpu_elem,
    ]
    .into_iter()
    .all(|helper| {
        ProgramType::RawTracepoint
            .is_helper_supported(helper)
            .unwrap_or(false)
    })
}

impl Drain {
    /// Prepares to drain a loaded object.
    ///
    /// # Errors
    /// When the records cannot be mapped or the number of CPUs is unknown.
    pub fn new(skel: &FlowtopSkel<'_>, in_kernel: bool) -> Result<Self> {
        if !in_kernel {
            return Ok(Self::Batches(Batches::new()?));
        }
        let map = &skel.maps.records;
        let capacity = usize::try_from(map.max_entries())?;
        // SAFETY: the kernel keeps the mapping's pages for the mapping's life. They change only
        // while a drain program runs, which is inside `take` alone, and no reference into them is
        // held over that.
        let records = unsafe {
            MmapOptions::new()
                .len(capacity * size_of::<RawRecord>())
                .map(map.as_fd().as_raw_fd())
        }
        .context("map the drain's records")?;
        Ok(Self::InKernel { records, capacity })
    }

    /// Empties the retired buffer, which no running program may still write, into `flows`.
    ///
    /// # Errors
    /// When the kernel refuses a drain; what was taken before stands in `flows`.
    pub fn take(
        &mut self,
        skel: &FlowtopSkel<'_>,
        retired: Buffer,
        flows: &mut Vec<Flow>,
    ) -> Result<()> {
        match self {
            Self::InKernel { records, capacity } => {
                let progs = &skel.progs;
                let (drain_flows, drain_owners) = match retired {
                    Buffer::A => (&progs.drain_flows_a, &progs.drain_owners_a),
                    Buffer::B => (&progs.drain_flows_b, &progs.drain_owners_b),
                };
                loop {
                    let run = drain_flows.test_run(ProgramInput::default());
                    let taken = usize::try_from(run.context("drain the flows")?.return_value)?;
                    for raw in records.chunks_exact(size_of::<RawRecord>()).take(taken) {
                        let raw: &RawRecord = from_bytes(raw)?;
                        flows.push(flow(&raw.key, &raw.stats, Some(&raw.owner)));
                    }
                    if taken < *capacity {
                        break;
                    }
                }
                let run = drain_owners.test_run(ProgramInput::default());
                run.context("drain the owners")?;
                Ok(())
            }
            Self::Batches(batches) => {
                let maps = &skel.maps;
                match retired {
                    Buffer::A => batches.take(maps.flows_a.as_fd(), maps.owners_a.as_fd(), flows),
                    Buffer::B => batches.take(maps.flows_b.as_fd(), maps.owners_b.as_fd(), flows),
                }
            }
        }
    }
}

/// Buffers of the batched drain, kept from interval to interval.
pub struct Batches {
    cpus: usize,
    keys: Vec<u64>,
    values: Vec<u64>,
    /// The kernel writes its position here: a u32, or a key where those are shorter.
    token: [u64; 2],
}

impl Batches {
    fn new() -> Result<Self> {
        let cpus = libbpf_rs::num_possible_cpus().context("count the possible CPUs")?;
        Ok(Self {
            cpus,
            keys: vec![0; BATCH * size_of::<RawKey>() / 8],
            values: vec![0; BATCH * size_of::<RawStats>() / 8 * cpus],
            token: [0; 2],
        })
    }

    fn take(
        &mut self,
        flow_map: BorrowedFd<'_>,
        owner_map: BorrowedFd<'_>,
        flows: &mut Vec<Flow>,
    ) -> Result<()> {
        let mut owners = std::collections::HashMap::new();
        self.each_batch(
            owner_map,
            size_of::<u32>(),
            size_of::<RawOwner>(),
            |keys, values| {
                for (tgid, owner) in keys
                    .chunks_exact(4)
                    .zip(values.chunks_exact(size_of::<RawOwner>()))
                {
                    let tgid: &u32 = from_bytes(tgid)?;
                    owners.insert(*tgid, *from_bytes::<RawOwner>(owner)?);
                }
                Ok(())
            },
        )
        .context("drain the owners")?;
        let stride = size_of::<RawStats>() * self.cpus;
        self.each_batch(flow_map, size_of::<RawKey>(), stride, |keys, values| {
            for (key, per_cpu) in keys
                .chunks_exact(size_of::<RawKey>())
                .zip(values.chunks_exact(stride))
            {
                let key: &RawKey = from_bytes(key)?;
                let mut sum = RawStats::default();
                for stats in per_cpu.chunks_exact(size_of::<RawStats>()) {
                    let stats: &RawStats = from_bytes(stats)?;
                    sum.tx_bytes += stats.tx_bytes;
                    sum.rx_bytes += stats.rx_bytes;
                    sum.tx_msgs += stats.tx_msgs;
                    sum.rx_msgs += stats.rx_msgs;
                }
                flows.push(flow(
                    key,
                    &sum,
                    owners.get(&(key.tgid_flags >> KEY_TGID_SHIFT)),
                ));
            }
            Ok(())
        })
        .context("drain the flows")
    }

    /// Looks up and deletes everything in a hash map, handing over batch after batch of keys and
    /// values. libbpf-rs's own batches refuse per-CPU maps and take a short batch for the last.
    fn each_batch(
        &mut self,
        map: BorrowedFd<'_>,
        key_size: usize,
        value_size: usize,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut asked = BATCH;
        let mut first = true;
        loop {
            self.keys
                .resize(self.keys.len().max((asked * key_size).div_ceil(8)), 0);
            self.values
                .resize(self.values.len().max((asked * value_size).div_ceil(8)), 0);
            let mut count = u32::try_from(asked)?;
            let token: *mut c_void = self.token.as_mut_ptr().cast();
            let opts = libbpf_sys::bpf_map_batch_opts {
                sz: size_of::<libbpf_sys::bpf_map_batch_opts>() as libbpf_sys::size_t,
                ..Default::default()
            };
            // SAFETY: `keys` and `values` hold `count` elements of the map's sizes (resized above;
            // `value_size` is one value for each possible CPU, 8-byte multiples), and `token` more
            // bytes than the u32 the kernel keeps its position in. All outlive the call.
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
                // ENOSPC: the next bucket holds more than was asked for. Nothing was deleted.
                if error.raw_os_error() == Some(rustix::io::Errno::NOSPC.raw_os_error())
                    && asked < 1 << 20
                {
                    asked *= 2;
                    continue;
                }
                return Err(error).context("look up and delete a batch");
            }
            let taken = usize::try_from(count)?;
            ensure!(
                taken <= asked,
                "the kernel returned {taken} entries for {asked}"
            );
            each(
                &as_bytes(&self.keys)[..taken * key_size],
                &as_bytes(&self.values)[..taken * value_size],
            )?;
            // ENOENT is the end, with what was left.
            if ended {
                return Ok(());
            }
            first = false;
        }
    }
}

fn as_bytes(words: &[u64]) -> &[u8] {
    // SAFETY: any initialised memory is valid as bytes, of the same length and lifetime.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

fn from_bytes<T: plain::Plain>(bytes: &[u8]) -> Result<&T> {
    match plain::from_bytes(bytes) {
        Ok(value) => Ok(value),
        Err(err) => bail!("decode a map's bytes: {err:?}"),
    }
}

/// One flow as the kernel holds it, in the project's words.
fn flow(key: &RawKey, stats: &RawStats, owner: Option<&RawOwner>) -> Flow {
    let address = |words: &[u32; 4]| -> IpAddr {
        if key.tgid_flags & KEY_IPV6 == 0 {
            Ipv4Addr::from(words[0].to_ne_bytes()).into()
        } else {
            let mut bytes = [0; 16];
            for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
                bytes.copy_from_slice(&word.to_ne_bytes());
            }
            Ipv6Addr::from(bytes).into()
        }
    };
    let protocol = if key.tgid_flags & KEY_UDP == 0 {
        Protocol::Tcp
    } else {
        Protocol::Udp
    };
    let key = FlowKey::new(
        protocol,
        Endpoint::new(address(&key.local_addr), key.local_port),
        Endpoint::new(address(&key.remote_addr), key.remote_port),
        key.tgid_flags >> KEY_TGID_SHIFT,
    );
    let counters = Counters {
        rx_bytes: stats.rx_bytes,
        tx_bytes: stats.tx_bytes,
        rx_msgs: stats.rx_msgs,
        tx_msgs: stats.tx_msgs,
    };
    let owner = owner.map_or_else(Owner::default, |owner| {
        Owner::named(&owner.comm.map(i8::cast_unsigned))
    });
    Flow::new(key, counters, Arc::new(owner))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(flags: u32, local: [u8; 4], remote: [u8; 4]) -> RawKey {
        RawKey {
            tgid_flags: 4321 << KEY_TGID_SHIFT | flags,
            local_port: 443,
            remote_port: 52110,
            local_addr: [u32::from_ne_bytes(local), 0, 0, 0],
            remote_addr: [u32::from_ne_bytes(remote), 0, 0, 0],
        }
    }

    #[test]
    fn a_kernel_key_keeps_its_ports_addresses_and_process() {
        let flow = flow(
            &raw(0, [10, 0, 0, 5], [203, 0, 113, 7]),
            &RawStats::default(),
            None,
        );
        assert_eq!(flow.key.local.to_string(), "10.0.0.5:443");
        assert_eq!(flow.key.remote.to_string(), "203.0.113.7:52110");
        assert_eq!((flow.key.tgid, flow.key.protocol), (4321, Protocol::Tcp));
    }

    #[test]
    fn an_ipv6_key_is_read_in_network_order() {
        let mut key = raw(KEY_IPV6 | KEY_UDP, [0x20, 0x01, 0x0d, 0xb8], [0; 4]);
        key.local_addr[3] = u32::from_ne_bytes([0, 0, 0, 1]);
        let flow = flow(&key, &RawStats::default(), None);
        assert_eq!(flow.key.local.to_string(), "[2001:db8::1]:443");
        assert_eq!(flow.key.protocol, Protocol::Udp);
    }
}
