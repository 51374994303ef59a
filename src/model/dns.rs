//! DNS answers as processes received them, and the host names that follow for flows.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// An answer of a name server, as a process received it. Its bytes are what anyone may have sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsAnswer {
    pub tgid: u32,
    /// Start of the process since boot, as [`super::flow::Owner::start`].
    pub start: Duration,
    pub uid: u32,
    /// Inode number of the socket's network namespace; 0 where unknown.
    pub netns: u32,
    /// Port of the socket that received it, in host byte order.
    pub local_port: u16,
    /// Whether the socket is connected to the server, so that no other host can send to it.
    pub connected: bool,
    /// The message, cut off where it is longer than what the kernel side has room for.
    pub bytes: Vec<u8>,
}

/// Why a name is taken for that of a flow's peer; the most certain origin first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DnsNameOrigin {
    /// The flow's process resolved this name to the peer's address, and no other name.
    Process,
    /// The flow's process resolved several names to this address: this one last.
    Several,
    /// The same as [`Self::Process`], but the answer was no longer valid when the flow began.
    Expired,
    /// Another process resolved the name: one of the same user or of the system.
    Other,
}

impl DnsNameOrigin {
    pub const ALL: [Self; 4] = [Self::Process, Self::Several, Self::Expired, Self::Other];

    /// The word in JSON and CSV.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Several => "several",
            Self::Expired => "expired",
            Self::Other => "other",
        }
    }

    /// What people read about a name of this origin.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Process => "resolved by this process",
            Self::Several => "this process resolved several names to this address, this one last",
            Self::Expired => "resolved by this process; the answer had expired when the flow began",
            Self::Other => "resolved by another process",
        }
    }

    /// What stands before a name in tables: `~` says that it may be another one.
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Process => "",
            Self::Several | Self::Expired | Self::Other => "~",
        }
    }

    /// The origin with this word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|origin| origin.as_str() == word)
    }
}

impl fmt::Display for DnsNameOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Longest name, in bytes of its text form: names of hosts have 253 at most (RFC 1035, section
/// 2.3.4).
pub const MAX_DNS_NAME: usize = 253;

/// The name that a flow's peer was resolved from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsName {
    /// In DNS's text form, in lower case, without the dot at its end. Not sanitized.
    pub name: Arc<str>,
    pub origin: DnsNameOrigin,
}

impl DnsName {
    /// The name as tables have it.
    pub fn marked(&self) -> Cow<'_, str> {
        match self.origin.mark() {
            "" => Cow::Borrowed(&self.name),
            mark => Cow::Owned(format!("{mark}{}", self.name)),
        }
    }

    /// The name that two flows share, with the less certain origin; `None` if their names differ.
    pub fn shared(mine: Option<Arc<Self>>, theirs: &Option<Arc<Self>>) -> Option<Arc<Self>> {
        let (mine, theirs) = (mine?, theirs.as_ref()?);
        let is_shared = mine.name == theirs.name;
        is_shared.then(|| match mine.origin >= theirs.origin {
            true => mine,
            false => Arc::clone(theirs),
        })
    }
}
