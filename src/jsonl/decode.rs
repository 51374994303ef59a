//! Turns the records of a recording into intervals and flows, within bounds. Ignores fields and
//! record types that [`schema`](super::schema) does not have: a later version wrote them.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::schema::{
    AuditFields, FlowRecord, InterfaceFields, IntervalRecord, SCHEMA, WorstFields,
};
use crate::model::container::{ContainerLabels, is_label};
use crate::model::dns::{DnsName, DnsNameOrigin, MAX_DNS_NAME};
use crate::model::flow::{Comm, Counters, Endpoint, Flow, FlowKey, Owner, Packets, Protocol, Zone};
use crate::model::interval::{
    Audit, Drift, DriftingConnection, InterfaceTraffic, LinkCounters, Losses, Method, OTHER_UNSEEN,
    SlotHolder, UNSEEN_NAMES, Unknown,
};
use crate::model::peer_class::PeerClass;
use crate::text::sanitize::sanitize;

/// Longest name of a backend, in characters.
const MAX_BACKEND: usize = 32;
/// Most network cards, and the longest name of one, in characters: `IFNAMSIZ`
/// (include/uapi/linux/if.h).
const MAX_INTERFACES: usize = 1024;
const MAX_INTERFACE: usize = 16;
/// Longest path of a cgroup, in bytes: `PATH_MAX` (include/uapi/linux/limits.h).
const MAX_CGROUP: usize = 4096;
/// Longest name of a user, in bytes: `LOGIN_NAME_MAX` (useradd(8)).
const MAX_USER: usize = 256;
/// Longest name of a network namespace, in bytes: `NAME_MAX` (include/uapi/linux/limits.h).
const MAX_NETNS: usize = 255;
/// Longest host name, kernel release, filter or reason in the record of an interval, in bytes: as
/// much as a command line gives a filter.
pub(crate) const MAX_WORDS: usize = 4096;
/// Longest interval in seconds: three centuries.
const MAX_SECONDS: f64 = 1e10;

/// The type of a record.
pub(crate) enum RecordKind {
    Interval,
    Flow,
    /// The sum of the flows that have no record of their own.
    Sum,
    /// What a period of a ledger adds up to, which sums of its groups follow.
    LedgerPeriod,
    /// What a group moved in a period of a ledger.
    LedgerSum,
    /// A type of a later version.
    Unknown,
}

#[derive(Deserialize)]
struct RecordType<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
}

impl RecordKind {
    /// # Errors
    /// When it is no record.
    pub(crate) fn of(line: &[u8]) -> Result<Self, String> {
        // The spelling that flowtop writes; other spellings are understood too.
        if line.starts_with(br#"{"type":"flow","#) {
            return Ok(Self::Flow);
        }
        let typed: RecordType<'_> = json(line)?;
        Ok(match &*typed.r#type {
            "interval" => Self::Interval,
            "flow" => Self::Flow,
            "group" | "other" => Self::Sum,
            "sums" => Self::LedgerPeriod,
            "sum" => Self::LedgerSum,
            _ => Self::Unknown,
        })
    }
}

/// # Errors
/// What is wrong, in words.
pub(crate) fn json<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|error| match error.classify() {
        serde_json::error::Category::Eof => "the line is cut off".to_owned(),
        // serde_json's position is within the line; the text that it quotes is untrusted.
        _ => format!("this is no record ({})", sanitize(&error.to_string())),
    })
}

impl IntervalRecord<'_> {
    /// # Errors
    /// When it is of a later schema, or of no recording.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.schema > SCHEMA {
            return Err(format!(
                "this has schema {}, and this flowtop knows {SCHEMA}: replay it with a newer flowtop",
                self.schema
            ));
        }
        no_longer("host", &self.host, MAX_WORDS)?;
        no_longer("kernel_release", &self.kernel_release, MAX_WORDS)?;
        no_longer("reason", &self.reason, MAX_WORDS)?;
        no_longer(
            "filter",
            self.filter.as_deref().unwrap_or_default(),
            MAX_WORDS,
        )?;
        match &self.grouped_by {
            None => Ok(()),
            Some(_) => Err(sums()),
        }
    }

    /// # Errors
    /// When it is none.
    pub(crate) fn elapsed(&self) -> Result<Duration, String> {
        length(self.seconds)
    }

    /// # Errors
    /// When it is no time.
    pub(crate) fn ended(&self) -> Result<SystemTime, String> {
        time(&self.time)
    }

    /// Returns the machine's network cards. Sanitizes their names, because they are shown as they
    /// are.
    ///
    /// # Errors
    /// When these are more than any machine has.
    pub(crate) fn interfaces(&self) -> Result<Vec<InterfaceTraffic>, String> {
        if self.interfaces.len() > MAX_INTERFACES {
            return Err(format!(
                "an interval has at most {MAX_INTERFACES} interfaces"
            ));
        }
        let card = |card: &InterfaceFields<'_>| {
            let name: String = card.name.chars().take(MAX_INTERFACE).collect();
            InterfaceTraffic {
                name: sanitize(&name).into(),
                rx: LinkCounters {
                    bytes: card.rx_bytes,
                    packets: card.rx_packets,
                    errors: card.rx_errors,
                    drops: card.rx_drops,
                },
                tx: LinkCounters {
                    bytes: card.tx_bytes,
                    packets: card.tx_packets,
                    errors: card.tx_errors,
                    drops: card.tx_drops,
                },
            }
        };
        Ok(self.interfaces.iter().map(card).collect())
    }

    pub(crate) fn losses(&self) -> Losses {
        Losses {
            full: self.full_pid.map(|tgid| SlotHolder {
                tgid,
                comm: comm(self.full_process.as_deref().unwrap_or_default()),
                flows: self.full_flows.unwrap_or(0),
                slots: self.full_slots.unwrap_or(0),
            }),
            untracked: Counters {
                rx_bytes: self.untracked_rx_bytes,
                tx_bytes: self.untracked_tx_bytes,
                rx_msgs: self.untracked_rx_msgs,
                tx_msgs: self.untracked_tx_msgs,
            },
            missed_events: self.missed_events.unwrap_or(0),
            unknown: Unknown {
                processes: self.unknown_processes,
                cgroups: self.unknown_cgroups,
                answers: self.unknown_answers,
            },
            audit: self.audit.audit(),
        }
    }

    /// Returns how the interval was counted. Sanitizes the texts, because they are shown as they
    /// are.
    pub(crate) fn method(&self) -> Method {
        let known = |name: &Cow<'_, str>| {
            let known = UNSEEN_NAMES.iter().find(|(known, _)| known == name);
            known.map_or(OTHER_UNSEEN, |(known, _)| known)
        };
        let mut unseen: Vec<&'static str> = Vec::new();
        for name in self.unseen.iter().map(known) {
            if !unseen.contains(&name) {
                unseen.push(name);
            }
        }
        let backend: String = self.backend.chars().take(MAX_BACKEND).collect();
        Method {
            backend: sanitize(&backend).into_owned(),
            reason: sanitize(&self.reason).into_owned(),
            unseen,
            misses_unknown: self.missed_events.is_none(),
        }
    }
}

/// # Errors
/// When it is no length of time.
pub(crate) fn length(seconds: f64) -> Result<Duration, String> {
    let wrong = || "its length in seconds is no length of time".to_owned();
    match seconds {
        seconds if seconds <= MAX_SECONDS => {
            Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
        }
        _ => Err(wrong()),
    }
}

/// # Errors
/// When it is no time.
pub(crate) fn time(text: &str) -> Result<SystemTime, String> {
    /// 9999-12-31T23:59:59Z, the last second that RFC 3339 has.
    const LAST: i64 = 253_402_300_799;
    let wrong = || "time is none of RFC 3339 between the years 1970 and 9999".to_owned();
    let seconds = since_epoch(text).ok_or_else(wrong)?;
    match (0..=LAST).contains(&seconds.0) {
        true => Ok(SystemTime::UNIX_EPOCH + Duration::new(seconds.0.unsigned_abs(), seconds.1)),
        false => Err(wrong()),
    }
}

/// Seconds since 1970, and nanoseconds.
fn since_epoch(text: &str) -> Option<(i64, u32)> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some((time.as_second(), time.subsec_nanosecond().unsigned_abs()));
    }
    // The last day of the year 9999 is later than `SystemTime` can be.
    let time: jiff::civil::DateTime = text.strip_suffix('Z')?.parse().ok()?;
    let days = time
        .date()
        .since(jiff::civil::date(1970, 1, 1))
        .ok()?
        .get_days();
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    let of_day = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    let nanos = u32::try_from(time.subsec_nanosecond()).ok()?;
    Some((i64::from(days) * 86_400 + of_day, nanos))
}

/// # Errors
/// When a text is longer than it can be on any machine.
pub(crate) fn no_longer(field: &str, text: &str, most: usize) -> Result<(), String> {
    match text.len() <= most {
        true => Ok(()),
        false => Err(format!("{field} is longer than {most} bytes")),
    }
}

/// Returns the error for a file whose records are sums.
pub(crate) fn sums() -> String {
    "this holds sums of flows and not the flows: record with --record, or with --json -n 0 and no -g"
        .to_owned()
}

/// Why a ledger is no recording.
pub(crate) fn ledger() -> String {
    "this is a ledger, which holds sums of flows and not the flows: flowtop usage reads it"
        .to_owned()
}

impl AuditFields<'_> {
    fn audit(&self) -> Audit {
        Audit {
            connections: self.connections,
            agreeing: self.agreeing,
            exempt: self.exempt,
            drift: Drift {
                rx: self.drift_rx_bytes,
                tx: self.drift_tx_bytes,
            },
            worst: self.worst.as_ref().map(WorstFields::drifting),
        }
    }
}

impl WorstFields<'_> {
    fn drifting(&self) -> DriftingConnection {
        let local = Endpoint::new(self.local_addr, self.local_port);
        let remote = Endpoint::new(self.remote_addr, self.remote_port);
        DriftingConnection {
            key: FlowKey::new(Protocol::Tcp, local, remote, self.pid),
            comm: comm(&self.process),
            drift: Drift {
                rx: self.drift_rx_bytes,
                tx: self.drift_tx_bytes,
            },
        }
    }
}

impl FlowRecord<'_> {
    /// # Errors
    /// When a name is longer than any machine has.
    pub(crate) fn check(&self) -> Result<(), String> {
        no_longer(
            "cgroup",
            self.cgroup.as_deref().unwrap_or_default(),
            MAX_CGROUP,
        )?;
        no_longer(
            "netns_name",
            self.netns_name.as_deref().unwrap_or_default(),
            MAX_NETNS,
        )?;
        no_longer("user", self.user.as_deref().unwrap_or_default(), MAX_USER)
    }

    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn key(&self) -> Result<FlowKey, String> {
        // A record has both addresses; only that of the peer can be `*`.
        let local = self.local_addr.0.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let remote = self.remote_addr.0.unwrap_or(match local {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        });
        let zone = Zone {
            ifindex: self.ifindex,
            netns: self.netns,
        };
        Ok(FlowKey {
            protocol: Protocol::named(&self.proto)
                .ok_or_else(|| format!("\"{}\" is no protocol", sanitize(&self.proto)))?,
            local: Endpoint::new(local, self.local_port).bound_to(zone),
            remote: Endpoint::new(remote, self.remote_port).on_link(zone),
            tgid: self.pid,
            tid: self.tid,
            netns: self.netns,
            overflow: self.overflow,
        })
    }

    /// Returns the flow with this key, of a process known before or a new one.
    pub(crate) fn flow(&self, key: FlowKey, known: Option<&Arc<Owner>>) -> Flow {
        let packets = self.rx_packets.zip(self.tx_packets);
        Flow {
            // An unknown peer has no port; a port in the line is ignored.
            class: PeerClass::of(&key.remote).map(|by_address| {
                let recorded = self.class.as_deref().and_then(PeerClass::named);
                recorded.unwrap_or(by_address)
            }),
            zone: None,
            // Recordings of older versions lack this field.
            internal: self.internal || key.has_loopback_end(),
            key,
            counters: Counters {
                rx_bytes: self.rx_bytes,
                tx_bytes: self.tx_bytes,
                rx_msgs: self.rx_msgs,
                tx_msgs: self.tx_msgs,
            },
            owner: self.owner(known),
            packets: packets.map(|(rx, tx)| Packets { rx, tx }),
            tcp: self.tcp(),
            audited_rx: self.audited_rx_bytes.min(self.rx_bytes),
            dns_name: self.dns_name(),
        }
    }

    /// The name that the peer was resolved from, with an origin that this version knows.
    fn dns_name(&self) -> Option<Arc<DnsName>> {
        let origin = DnsNameOrigin::named(self.dns_name_origin.as_deref()?)?;
        let name = self.dns_name.as_deref()?;
        let fits = (1..=MAX_DNS_NAME).contains(&name.len());
        fits.then(|| {
            Arc::new(DnsName {
                name: name.into(),
                origin,
            })
        })
    }

    /// Returns the names of the container; shares the texts of an earlier flow if none differs.
    fn labels(&self, known: Option<&Arc<ContainerLabels>>) -> Option<Arc<ContainerLabels>> {
        let text = |text: &Option<_>| text.as_deref().map(str::to_owned);
        let labels = ContainerLabels {
            name: text(&self.container_name),
            image: text(&self.image),
            pod: text(&self.pod_name),
            namespace: text(&self.pod_namespace),
            compose_project: text(&self.compose_project),
            compose_service: text(&self.compose_service),
            is_stale: self.names_stale,
        };
        if labels.is_empty() {
            return None;
        }
        let labels = labels.checked(is_label);
        match known {
            Some(known) if **known == labels => Some(Arc::clone(known)),
            _ => (!labels.is_empty()).then(|| Arc::new(labels)),
        }
    }

    /// Returns the process; shares the owner of an earlier flow if nothing differs, so that each
    /// process is held once.
    fn owner(&self, known: Option<&Arc<Owner>>) -> Arc<Owner> {
        let mut owner = Owner {
            comm: comm(&self.process),
            thread: comm(&self.thread),
            uid: self.uid,
            start: self.start_ns.map(Duration::from_nanos),
            cgroup: None,
            labels: self.labels(known.and_then(|known| known.labels.as_ref())),
            kernel: self.kernel_thread,
            trees: Vec::new(),
        };
        if let Some(known) = known {
            let cgroup = known.cgroup.as_ref();
            let same = cgroup.map(|path| &**path) == self.cgroup.as_deref();
            owner.cgroup = cgroup.filter(|_| same).map(Arc::clone);
            if same && owner == **known {
                return Arc::clone(known);
            }
        }
        if owner.cgroup.is_none() {
            owner.cgroup = self.cgroup.as_deref().map(Arc::from);
        }
        Arc::new(owner)
    }
}

/// Returns a name as the kernel keeps it. Each byte that was not UTF-8 is recorded as U+FFFD, three
/// bytes long; the name fits again because U+FFFD becomes one byte that is not UTF-8.
fn comm(name: &str) -> Comm {
    if !name.contains(char::REPLACEMENT_CHARACTER) {
        return Comm::new(name.as_bytes());
    }
    let mut bytes = Vec::with_capacity(name.len());
    for c in name.chars() {
        match c {
            char::REPLACEMENT_CHARACTER => bytes.push(0xff),
            c => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Comm::new(&bytes)
}
