//! DNS answers that processes received, read from the ring buffer that the programs fill.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use libbpf_rs::{RingBuffer, RingBufferBuilder};

use super::skel::{FlowtopSkel, RawAnswer};
use crate::model::dns::DnsAnswer;

/// Size of the ring in bytes: room for about 400 answers of usual size per interval. All of it is
/// resident, twice: libbpf maps the data twice so that no entry is split at the end of the ring.
const ANSWER_BYTES: u32 = 128 << 10;

/// Returns the size of the ring in bytes, rounded up to whole pages.
pub fn ring_bytes() -> u32 {
    let page = u32::try_from(rustix::param::page_size()).unwrap_or(ANSWER_BYTES);
    ANSWER_BYTES.max(page)
}

/// The mapped ring, and the answers read from it.
pub struct Answers {
    ring: RingBuffer<'static>,
    received: Receiver<DnsAnswer>,
}

impl Answers {
    /// Maps the ring of a loaded object.
    ///
    /// # Errors
    /// When the kernel refuses the mapping.
    pub fn map(skel: &FlowtopSkel<'_>) -> Result<Self> {
        let (sender, received) = channel();
        let mut builder = RingBufferBuilder::new();
        builder
            .add(&skel.maps.answers, move |bytes| {
                if let Some(answer) = decode(bytes) {
                    let _ = sender.send(answer);
                }
                0
            })
            .context("find the ring of answers")?;
        let ring = builder.build().context("map the ring of answers")?;
        Ok(Self { ring, received })
    }

    /// Takes the answers that arrived since the last call, in order of arrival. Makes no system
    /// call.
    ///
    /// # Errors
    /// When the ring is broken.
    pub fn take(&mut self) -> Result<Vec<DnsAnswer>> {
        self.ring.consume().context("read the ring of answers")?;
        Ok(self.received.try_iter().collect())
    }
}

/// Decodes an entry of the ring; `None` if the entry is shorter than its own length field.
fn decode(bytes: &[u8]) -> Option<DnsAnswer> {
    let (head, rest) = bytes.split_at_checked(size_of::<RawAnswer>())?;
    let raw: RawAnswer = *plain::from_bytes(head).ok()?;
    Some(DnsAnswer {
        tgid: raw.tgid,
        start: Duration::from_nanos(raw.start_ns),
        uid: raw.uid,
        netns: raw.netns,
        local_port: raw.local_port,
        connected: raw.connected != 0,
        bytes: rest.get(..usize::try_from(raw.length).ok()?)?.to_vec(),
    })
}
