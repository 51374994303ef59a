//! Builds the query for the name of an address and parses its answer (RFC 1035, RFC 3596). Anyone
//! may have sent an answer: nothing here trusts a length, a count or a name.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name};
use domain::rdata::{Ptr, Soa};
use rustix::rand::{GetRandomFlags, getrandom};

/// Bounds of how long a name is valid, in seconds, whatever its TTL: with 1 s every name on the
/// screen would be looked up again and again, and a name that changed is not to be wrong for more
/// than a day.
const NAME_FOR: (u32, u32) = (60, 86_400);
/// The same for an address without a name. RFC 2308, section 5: more than one to three hours makes
/// no sense.
const NAMELESS_FOR: (u32, u32) = (60, 3600);
/// Seconds for which an address has no name, if the answer has no TTL for that.
const NAMELESS_WITHOUT_TTL: u32 = 300;

/// A query for the name of an address.
#[derive(Debug)]
pub(super) struct Query {
    message: Message<Vec<u8>>,
}

/// The result of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The name, in DNS's own text form (RFC 4343, section 2.1): `\027` for what is not printable,
    /// `\.` for a dot that separates nothing. And how long it is good.
    Name(String, Duration),
    /// There is none, for so long.
    NoPtrRecord(Duration),
    /// The answer did not fit: the query is to be repeated by TCP.
    Truncated,
    /// The server refused or failed, or its answer is malformed.
    Useless,
}

impl Query {
    /// With a random id (RFC 5452).
    ///
    /// # Errors
    /// When the kernel gives no random numbers.
    pub(super) fn new(addr: IpAddr) -> Result<Self> {
        let mut id = [0; 2];
        getrandom(&mut id, GetRandomFlags::empty()).context("get a random number")?;
        Self::with_id(addr, u16::from_ne_bytes(id))
    }

    pub(super) fn with_id(addr: IpAddr, id: u16) -> Result<Self> {
        let name = Name::<Vec<u8>>::reverse_from_addr(addr).context("write an address as name")?;
        let mut message = MessageBuilder::new_vec();
        message.header_mut().set_id(id);
        message.header_mut().set_rd(true);
        let mut question = message.question();
        question
            .push((name, Rtype::PTR, Class::IN))
            .context("write a question")?;
        Ok(Self {
            message: question.into_message(),
        })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.message.as_slice()
    }

    /// Parses `bytes`; `None` if they are no answer to this query.
    pub(super) fn read(&self, bytes: &[u8]) -> Option<Reply> {
        let answer = Message::from_slice(bytes).ok()?;
        if answer.header().opcode() != Opcode::QUERY || !answer.is_answer(&self.message) {
            return None;
        }
        Some(if answer.header().tc() {
            Reply::Truncated
        } else {
            interpret(answer).unwrap_or(Reply::Useless)
        })
    }
}

fn interpret(answer: &Message<[u8]>) -> Option<Reply> {
    let header = answer.header();
    if !matches!(header.rcode(), Rcode::NOERROR | Rcode::NXDOMAIN) {
        return None;
    }
    // Where a block of addresses is delegated, an alias leads to its name (RFC 2317). `None` when
    // aliases turn in a circle.
    let alias = answer.canonical_name()?;
    let mut name = None;
    let mut ttl = u32::MAX;
    for record in answer.answer().ok()? {
        let record = record.ok()?;
        ttl = ttl.min(record.ttl().as_secs());
        if name.is_none()
            && record.owner() == alias
            && let Some(record) = record.into_record::<Ptr<_>>().ok()?
        {
            name = Some(record.into_data().into_ptrdname().to_string());
        }
    }
    let seconds = |value: u32, (least, most)| Duration::from_secs(value.clamp(least, most).into());
    if let Some(name) = name.filter(|name| is_name(name)) {
        return Some(Reply::Name(name, seconds(ttl, NAME_FOR)));
    }
    // RFC 2308, section 5: the lesser of the two.
    let mut soas = answer.authority().ok()?.limit_to::<Soa<_>>();
    let soa = soas.next().transpose().ok()?;
    let printed = soa.map(|soa| soa.ttl().as_secs().min(soa.data().minimum().as_secs()));
    if printed.is_none() && !header.aa() && !header.ra() {
        // A server that neither knows nor finds out, and only points to others.
        return None;
    }
    let ttl = printed.unwrap_or(NAMELESS_WITHOUT_TTL);
    Some(Reply::NoPtrRecord(seconds(ttl, NAMELESS_FOR)))
}

/// Whether it is a name at all, and none that would be taken for an address.
pub(super) fn is_name(name: &str) -> bool {
    let bare = name.trim_matches(['[', ']', '.']);
    super::names::is_shown(bare) && bare.replace("\\.", ".").parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests;
