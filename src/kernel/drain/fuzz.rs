//! Properties that hold for any bytes that the drain programs may leave in their arrays.

use std::time::Duration;

use super::{Decoder, DrainedOwners};
use crate::kernel::skel::{RawCgroupRecord, RawOwnerRecord, RawRecord};
use crate::kernel::tcp::{AuditMode, TcpSamples};

/// Any bytes become flows of two intervals, for both kinds of hooks and keys. Their owners are
/// among the owners given, and paths of cgroups are valid paths.
///
/// # Panics
/// When that is not so.
pub fn decode(bytes: &[u8]) {
    // The first two bytes are the numbers of cgroups and owners; the rest are flows.
    let [cgroups, owned, rest @ ..] = bytes else {
        return;
    };
    let mut bytes = rest;
    let mut owners = DrainedOwners::default();
    for _ in 0..*cgroups % 3 {
        let raw: RawCgroupRecord = take(&mut bytes);
        owners.add_cgroup(raw.id, &raw.cgroup);
    }
    for _ in 0..*owned % 4 {
        let raw: RawOwnerRecord = take(&mut bytes);
        owners.add(raw.id, &raw.owner);
    }
    let mut decoder = Decoder::new(false, false, TcpSamples::new(AuditMode::AtOnce, true));
    for by_all in [false, true] {
        (decoder.by_thread, decoder.udp_packets) = (by_all, by_all);
        decoder.samples.next_interval();
        let mut bytes = bytes;
        let mut flows = Vec::new();
        while !bytes.is_empty() {
            let raw: RawRecord = take(&mut bytes);
            let count = flows.len();
            decoder.append(&raw, &owners, &mut flows);
            assert_eq!(flows.len(), count + 1);
            let flow = &flows[count];
            assert!(flow.owner.comm.as_bytes().len() < 16);
            if let Some(path) = &flow.owner.cgroup {
                assert!(path.starts_with('/') && !path.contains('\0'), "{path:?}");
            }
            let _ = (flow.key.local.to_string(), flow.key.remote.to_string());
        }
        let samples = &mut decoder.samples;
        let to_inspect = samples.sockets_to_inspect();
        let read: Vec<_> = to_inspect
            .iter()
            .map(|one| (one.sk, take::<RawRecord>(&mut bytes).tcp))
            .collect();
        let audit = samples.settle(Duration::from_secs(u64::from(by_all)), &read, &mut flows);
        assert!(audit.agreeing <= audit.connections);
    }
}

/// The next record; zeros where there are no more bytes.
fn take<T: plain::Plain + Default>(bytes: &mut &[u8]) -> T {
    let mut raw = T::default();
    let (now, rest) = bytes.split_at(bytes.len().min(size_of::<T>()));
    *bytes = rest;
    let mut whole = vec![0; size_of::<T>()];
    whole[..now.len()].copy_from_slice(now);
    // On failure `raw` stays zero.
    let _ = plain::copy_from_bytes(&mut raw, &whole);
    raw
}
