//! Groupings: a row of a table is a flow, or a sum of flows.

use std::fmt;
use std::str::FromStr;

use super::Column;
use crate::text::suggest::{UnknownWord, nearest};

/// A grouping of flows into the rows of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    #[default]
    Flow,
    /// All flows of the processes of one name.
    Program,
    /// All flows of a process (thread group).
    Process,
    /// All flows of a thread; only where threads are counted apart.
    Thread,
    /// All flows of the processes of a user.
    User,
    /// All flows of a container, or of a pod where the path names no container.
    Container,
    /// All flows of a systemd unit.
    Unit,
    /// All flows with a remote address.
    Remote,
    /// All flows with remote addresses in a net.
    Net(Prefix),
    /// All flows of a service: by the smaller port of the two ends, see
    /// [`crate::stats::ranking::RowId`].
    Port,
    /// All flows of a Kubernetes pod.
    Pod,
    /// All flows of a Kubernetes namespace.
    Namespace,
    /// All flows of a service of a compose project.
    Compose,
    /// All flows of a batch job.
    Job,
    /// All flows with peers of a class: see [`crate::model::peer_class::PeerClass`].
    Class,
    /// All flows with peers in a zone of the user: see [`crate::model::peer_zone::PeerZone`].
    Zone,
    /// All flows whose peers were resolved from a host name: see [`crate::model::dns::DnsName`].
    Host,
}

/// The definition of a grouping. `stats/row_id` assigns flows to rows.
#[derive(Clone, Copy, Debug)]
pub struct GroupSpec {
    /// Nouns for one row and for several; the first is also the name on the command line.
    pub rows: (&'static str, &'static str),
    /// The column that rows are named in, with its heading; flows are named by their ends and
    /// process.
    pub title: Option<(Column, &'static str)>,
    /// Whether all flows of a row are of one process.
    pub is_of_process: bool,
    /// Whether a flow's owner alone decides which row it belongs to.
    pub is_of_owner: bool,
}

impl GroupSpec {
    /// Rows of flows that may be of several processes, by more than their owners.
    const fn flows(
        one: &'static str,
        several: &'static str,
        column: Column,
        heading: &'static str,
    ) -> Self {
        Self {
            rows: (one, several),
            title: Some((column, heading)),
            is_of_process: false,
            is_of_owner: false,
        }
    }

    /// The flows of a row are of one process.
    const fn of_process(mut self) -> Self {
        self.is_of_process = true;
        self
    }

    /// The owner alone decides the row.
    const fn of_owner(mut self) -> Self {
        self.is_of_owner = true;
        self
    }
}

/// Lengths of network prefixes, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// Prefix length of IPv4: 1 to 32.
    pub v4: u8,
    /// Prefix length of IPv6: 1 to 128.
    pub v6: u8,
}

impl Default for Prefix {
    /// /24, and /64: the usual size of one link (RFC 4291, 2.5.4).
    fn default() -> Self {
        Self { v4: 24, v6: 64 }
    }
}

impl Group {
    /// Every grouping, in the order of lists; for networks the default prefix.
    pub const ALL: [Self; 17] = [
        Self::Flow,
        Self::Program,
        Self::Process,
        Self::Thread,
        Self::User,
        Self::Container,
        Self::Unit,
        Self::Remote,
        Self::Net(Prefix { v4: 24, v6: 64 }),
        Self::Port,
        Self::Pod,
        Self::Namespace,
        Self::Compose,
        Self::Job,
        Self::Class,
        Self::Zone,
        Self::Host,
    ];

    /// Returns its entry in the table.
    pub const fn spec(self) -> &'static GroupSpec {
        match self {
            Self::Flow => {
                const {
                    &GroupSpec {
                        title: None,
                        is_of_process: true,
                        ..GroupSpec::flows("flow", "flows", Column::Process, "")
                    }
                }
            }
            Self::Program => {
                const { &GroupSpec::flows("program", "programs", Column::Process, "PROGRAM") }
            }
            Self::Process => {
                const {
                    &GroupSpec::flows("process", "processes", Column::Process, "PROCESS")
                        .of_process()
                }
            }
            Self::Thread => {
                const { &GroupSpec::flows("thread", "threads", Column::Process, "THREAD").of_process() }
            }
            Self::User => {
                const { &GroupSpec::flows("user", "users", Column::User, "USER").of_owner() }
            }
            Self::Container => {
                const {
                    &GroupSpec::flows("container", "containers", Column::Container, "CONTAINER")
                        .of_owner()
                }
            }
            Self::Unit => {
                const { &GroupSpec::flows("unit", "units", Column::Container, "UNIT").of_owner() }
            }
            Self::Remote => {
                const { &GroupSpec::flows("remote", "remotes", Column::Remote, "PEER") }
            }
            Self::Net(_) => const { &GroupSpec::flows("net", "nets", Column::Remote, "PEER NET") },
            Self::Port => {
                const { &GroupSpec::flows("port", "ports", Column::Local, "SERVICE PORT") }
            }
            Self::Pod => {
                const { &GroupSpec::flows("pod", "pods", Column::Container, "POD").of_owner() }
            }
            Self::Namespace => {
                const {
                    &GroupSpec::flows("namespace", "namespaces", Column::Container, "NAMESPACE")
                        .of_owner()
                }
            }
            Self::Compose => {
                const {
                    &GroupSpec::flows(
                        "compose",
                        "compose services",
                        Column::Container,
                        "COMPOSE SERVICE",
                    )
                    .of_owner()
                }
            }
            Self::Job => {
                const { &GroupSpec::flows("job", "jobs", Column::Container, "JOB").of_owner() }
            }
            Self::Class => {
                const { &GroupSpec::flows("class", "classes", Column::Remote, "PEER CLASS") }
            }
            Self::Zone => const { &GroupSpec::flows("zone", "zones", Column::Remote, "PEER ZONE") },
            Self::Host => const { &GroupSpec::flows("host", "hosts", Column::Host, "HOST NAME") },
        }
    }

    /// Returns what a row sums, for the list of groupings.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Flow => "two ends and a process",
            Self::Program => "all processes of one name",
            Self::Process => "all flows of a process",
            Self::Thread => "all flows of a thread",
            Self::User => "all processes of a user",
            Self::Container => "containers, pods without containers",
            Self::Unit => "systemd units",
            Self::Remote => "peer addresses",
            Self::Net(_) => "networks of peers",
            Self::Port => "service ports",
            Self::Pod => "Kubernetes pods",
            Self::Namespace => "Kubernetes namespaces",
            Self::Compose => "services of compose projects",
            Self::Job => "batch jobs",
            Self::Class => "loopback, private, internet and other peers",
            Self::Zone => "own zones of peers (--zones)",
            Self::Host => "host names that programs resolved",
        }
    }

    /// Whether rows are named in this column.
    pub fn is_named_in(self, column: Column) -> bool {
        let title = self.spec().title;
        title.is_some_and(|(title, _)| title == column)
    }

    /// Returns the noun for `count` rows.
    pub const fn rows(self, count: usize) -> &'static str {
        let (one, more) = self.spec().rows;
        if count == 1 { one } else { more }
    }
}

/// Writes the name as on the command line and in the configuration file.
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(prefix) if prefix.v6 == Prefix::default().v6 => {
                write!(f, "net/{}", prefix.v4)
            }
            Self::Net(prefix) => write!(f, "net/{},{}", prefix.v4, prefix.v6),
            // The word for one row.
            group => f.write_str(group.rows(1)),
        }
    }
}

impl FromStr for Group {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.map(|group| group.to_string());
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        if let Some(position) = known.iter().position(|known| *known == word) {
            return Ok(Self::ALL[position]);
        }
        match word.split_once('/') {
            Some(("net", length)) => prefix(length).map(Self::Net),
            Some((kind, _)) if nearest(kind, &["net"]).is_some() => Err(no_net(word)),
            None if nearest(word, &["net", "nets", "network", "subnet"]).is_some() => {
                Err(no_net(word))
            }
            _ => Err(UnknownWord::new("group", word, &known)),
        }
    }
}

// `24`, or `24,64`.
fn prefix(text: &str) -> Result<Prefix, UnknownWord> {
    let (v4, v6) = match text.split_once(',') {
        Some((v4, v6)) => (v4, Some(v6)),
        None => (text, None),
    };
    let usual = Prefix::default();
    let prefix = Some(Prefix {
        v4: length(v4, 32).unwrap_or(0),
        v6: v6.map_or(Some(usual.v6), |v6| length(v6, 128)).unwrap_or(0),
    });
    let prefix = prefix.filter(|prefix| prefix.v4 > 0 && prefix.v6 > 0);
    prefix.ok_or_else(|| no_net(&format!("net/{text}")))
}

fn length(text: &str, most: u8) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let length = text.parse().ok().filter(|_| digits)?;
    (1..=most).contains(&length).then_some(length)
}

fn no_net(word: &str) -> UnknownWord {
    UnknownWord(format!(
        "{word:?} is not a network group: write net/24 for networks of 24 bits in IPv4 (1 to 32) and 64 bits in \
         IPv6, or net/24,48 for other lengths in both (1 to 128)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_grouping_is_read_as_it_is_written() {
        for group in Group::ALL {
            assert_eq!(group.to_string().parse(), Ok(group));
        }
        for (v4, v6) in [(1, 1), (32, 128), (24, 48), (16, 64)] {
            let group = Group::Net(Prefix { v4, v6 });
            assert_eq!(group.to_string().parse(), Ok(group));
        }
        assert_eq!("net/24".parse(), Ok(Group::Net(Prefix::default())));
        assert_eq!("net/24,64".parse::<Group>(), "net/24".parse());
    }

    #[test]
    fn what_is_no_grouping_is_answered_with_what_could_be() {
        let message = |word: &str| word.parse::<Group>().unwrap_err().to_string();
        for word in [
            "net",
            "net/",
            "net/0",
            "net/33",
            "net/-1",
            "net/+8",
            "net/24,",
            "net/24,0",
            "net/24,129",
            "net/,64",
            "net/a",
            "net/24,64,1",
            "ne/24",
            "nets",
            "network",
        ] {
            assert!(message(word).contains("write net/24"), "{}", message(word));
        }
        assert!(message("proces").contains("did you mean \"process\"?"));
        assert!(message("zzzzzz").contains(
            "thread, user, container, unit, remote, net/24, port, pod, namespace, compose, job, class, zone or host"
        ));
    }
}
