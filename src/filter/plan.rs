//! Divides a filter into a part that the kernel decides for every event and a part for user space.
//! A flow matches the filter exactly if it matches both.

use std::fmt;

use super::ast::{Expr, Side, Term};
use super::kernel_filter::{
    AllowOrDenyList, Family, KernelFilter, MAX_NETNS, MAX_NETS, MAX_PORTS, MAX_TASKS, MAX_TREES,
    MAX_UIDS, PortRange, Tasks,
};
use crate::model::flow::Protocol;
use crate::model::net::Net;

/// The part of a filter that may go to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pushdown {
    Nothing,
    /// Everything that [`KernelFilter`] can express.
    #[default]
    All,
}

/// A filter, divided between kernel and user space. The default is no filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterPlan {
    pub filter: Option<Expr>,
    /// The part that the kernel decides, as data.
    pub kernel_filter: KernelFilter,
    /// The part that the kernel decides, as an expression.
    pub kernel: Option<Expr>,
    /// The part that user space decides, for the events that the kernel lets through.
    pub rest: Option<Expr>,
    /// The part that was allowed to go to the kernel.
    pushdown: Pushdown,
}

impl FilterPlan {
    /// Divides a filter: the kernel gets every part that it can evaluate and that `reach` allows.
    pub fn new(filter: Expr, reach: Pushdown) -> Self {
        let mut parts = Vec::new();
        conjuncts(&filter, false, &mut parts);
        let mut plan = Self {
            kernel_filter: KernelFilter::default(),
            kernel: None,
            rest: None,
            pushdown: reach,
            filter: Some(filter),
        };
        // Each kernel list is either an allow- or a deny-list; allow-lists are more selective, so
        // they are filled first.
        let mut placed = vec![false; parts.len()];
        let needs_peers = filter_needs_peers(&parts);
        for except in [false, true] {
            for (part, placed) in parts.iter().zip(&mut placed) {
                if let Some(term) = KernelTerm::of(part)
                    && term.except == except
                    && reach == Pushdown::All
                    && (!needs_peers || term.is_symmetric())
                {
                    *placed |= term.push_to(&mut plan.kernel_filter);
                }
            }
        }
        let (kernel, rest): (Vec<_>, Vec<_>) =
            parts.into_iter().zip(placed).partition(|part| part.1);
        plan.kernel = Expr::all(kernel.into_iter().map(|(part, _)| part));
        plan.rest = Expr::all(rest.into_iter().map(|(part, _)| part));
        plan
    }

    /// Returns the filter with all parts in user space; `None` if they are already.
    pub fn unpushed(&self) -> Option<Self> {
        let filter = self
            .filter
            .clone()
            .filter(|_| !self.kernel_filter.is_empty());
        Some(Self::new(filter?, Pushdown::Nothing))
    }

    /// Returns the roots of all `tree` terms, in the kernel's part and in user space's.
    pub fn roots(&self) -> Vec<u32> {
        self.filter.as_ref().map(Expr::roots).unwrap_or_default()
    }

    /// Whether user space needs flows per thread for its part.
    pub fn needs_threads(&self) -> bool {
        let terms = self.rest.iter().flat_map(Expr::terms);
        terms.into_iter().any(|term| matches!(term, Term::Tids(_)))
    }

    /// Returns the written form of the filter; `None` without one.
    pub fn text(&self) -> Option<String> {
        self.filter.as_ref().map(ToString::to_string)
    }
}

/// Writes the text of `--explain-filter`: where each part is evaluated, and why not in the kernel.
impl fmt::Display for FilterPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(filter) = &self.filter else {
            return f.write_str("filter:      none, everything is counted\n");
        };
        writeln!(f, "filter:      {filter}")?;
        match &self.kernel {
            Some(kernel) => writeln!(f, "kernel:      {kernel}")?,
            None => f.write_str("kernel:      nothing, it counts everything\n")?,
        }
        let Some(rest) = &self.rest else {
            return f.write_str("user space:  nothing, the kernel decides all of it\n");
        };
        let parts = match rest {
            Expr::All(parts) => parts.as_slice(),
            rest => std::slice::from_ref(rest),
        };
        let needs_peers = filter_needs_peers(std::slice::from_ref(filter));
        let mut head = "user space:";
        for part in parts {
            let reason = reason(part, self.pushdown, needs_peers);
            writeln!(f, "{head:<11}  {part}  ({reason})")?;
            head = "";
        }
        Ok(())
    }
}

/// Returns the reason why user space decides a part.
fn reason(part: &Expr, reach: Pushdown, needs_peers: bool) -> &'static str {
    if reach == Pushdown::Nothing {
        return "the kernel filters nothing with --no-pushdown or --replay";
    }
    let late = part.terms().into_iter().find_map(Term::userspace_reason);
    late.unwrap_or(match KernelTerm::of(part) {
        Some(term) if needs_peers && !term.is_symmetric() => {
            "the other ends of flows are counted too, to know which are on this machine"
        }
        Some(_) => "the kernel's list for it is taken or full",
        None => "the kernel cannot evaluate alternatives of several kinds",
    })
}

/// Whether the filter compares flows with the flows of their peers, which the kernel must then
/// count too.
fn filter_needs_peers(parts: &[Expr]) -> bool {
    let mut terms = parts.iter().flat_map(Expr::terms);
    // A peer in another network namespace is known to be on this machine only if its own flow is
    // counted.
    terms.any(|term| matches!(term, Term::Internal | Term::Class(_)))
}

/// Collects the parts that must all match, with `not` moved inwards.
fn conjuncts(expr: &Expr, negated: bool, found: &mut Vec<Expr>) {
    match (expr, negated) {
        (Expr::All(parts), false) | (Expr::Any(parts), true) => {
            for part in parts {
                conjuncts(part, negated, found);
            }
        }
        (Expr::Not(part), negated) => conjuncts(part, !negated, found),
        (expr, false) => found.push(expr.clone()),
        (expr, true) => found.push(Expr::Not(Box::new(expr.clone()))),
    }
}

/// A term that fits one list of [`KernelFilter`].
#[derive(Clone, Debug)]
struct KernelTerm {
    what: KernelTermKind,
    except: bool,
}

#[derive(Clone, Debug)]
enum KernelTermKind {
    Protocols(Vec<Protocol>),
    Families(Vec<Family>),
    Tasks { tgids: Vec<u32>, tids: Vec<u32> },
    Trees(Vec<u32>),
    Uids(Vec<u32>),
    Netns(Vec<u32>),
    Ports(Side, Vec<PortRange>),
    Nets(Side, Vec<Net>),
}

impl KernelTerm {
    /// Returns `None` for a part that [`KernelFilter`] cannot express.
    fn of(part: &Expr) -> Option<Self> {
        let yes = |what| {
            Some(Self {
                what,
                except: false,
            })
        };
        match part {
            Expr::Is(Term::Protocol(protocol)) => yes(KernelTermKind::Protocols(vec![*protocol])),
            Expr::Is(Term::Family(family)) => yes(KernelTermKind::Families(vec![*family])),
            Expr::Is(Term::Pids(ids)) => yes(KernelTermKind::Tasks {
                tgids: ids.clone(),
                tids: Vec::new(),
            }),
            Expr::Is(Term::Tids(ids)) => yes(KernelTermKind::Tasks {
                tgids: Vec::new(),
                tids: ids.clone(),
            }),
            Expr::Is(Term::Tree(roots)) => yes(KernelTermKind::Trees(roots.clone())),
            Expr::Is(Term::Users(_, uids)) => yes(KernelTermKind::Uids(uids.clone())),
            Expr::Is(Term::Netns(ids)) => yes(KernelTermKind::Netns(ids.clone())),
            Expr::Is(Term::Ports(side, ports)) => yes(KernelTermKind::Ports(*side, ports.clone())),
            Expr::Is(Term::Nets(side, nets)) => yes(KernelTermKind::Nets(*side, nets.clone())),
            Expr::Is(_) | Expr::All(_) => None,
            Expr::Any(parts) => {
                let mut parts = parts.iter().map(Self::of);
                let first = parts.next()??;
                parts.try_fold(first, |all, part| all.union(part?))
            }
            Expr::Not(part) => {
                let term = Self::of(part)?;
                Some(Self {
                    except: !term.except,
                    ..term
                })
            }
        }
    }

    /// Whether a flow matches exactly if the other end's flow of the same connection does.
    const fn is_symmetric(&self) -> bool {
        matches!(
            self.what,
            KernelTermKind::Protocols(_)
                | KernelTermKind::Families(_)
                | KernelTermKind::Ports(Side::Either, _)
                | KernelTermKind::Nets(Side::Either, _)
        )
    }

    /// Returns the union of two terms; `None` if one list cannot hold it.
    fn union(mut self, other: Self) -> Option<Self> {
        if self.except || other.except {
            return None;
        }
        match (&mut self.what, other.what) {
            (
                KernelTermKind::Tasks { tgids, tids },
                KernelTermKind::Tasks { tgids: p, tids: t },
            ) => {
                tgids.extend(p);
                tids.extend(t);
            }
            (KernelTermKind::Protocols(mine), KernelTermKind::Protocols(theirs)) => {
                mine.extend(theirs)
            }
            (KernelTermKind::Families(mine), KernelTermKind::Families(theirs)) => {
                mine.extend(theirs)
            }
            (KernelTermKind::Uids(mine), KernelTermKind::Uids(theirs))
            | (KernelTermKind::Trees(mine), KernelTermKind::Trees(theirs))
            | (KernelTermKind::Netns(mine), KernelTermKind::Netns(theirs)) => {
                mine.extend(theirs);
            }
            (KernelTermKind::Ports(side, mine), KernelTermKind::Ports(other, theirs))
                if *side == other =>
            {
                mine.extend(theirs);
            }
            (KernelTermKind::Nets(side, mine), KernelTermKind::Nets(other, theirs))
                if *side == other =>
            {
                mine.extend(theirs);
            }
            _ => return None,
        }
        Some(self)
    }

    /// Adds the term to `pushed`; returns false if its list is taken or full.
    fn push_to(self, pushed: &mut KernelFilter) -> bool {
        let except = self.except;
        match self.what {
            KernelTermKind::Protocols(values) => {
                push_values(&mut pushed.protocols, values, except, usize::MAX)
            }
            KernelTermKind::Families(values) => {
                push_values(&mut pushed.families, values, except, usize::MAX)
            }
            KernelTermKind::Tasks { tgids, tids } => {
                push_tasks(&mut pushed.tasks, tgids, tids, except)
            }
            KernelTermKind::Trees(roots) => {
                push_values(&mut pushed.trees, roots, except, MAX_TREES)
            }
            KernelTermKind::Uids(uids) => push_values(&mut pushed.uids, uids, except, MAX_UIDS),
            KernelTermKind::Netns(ids) => push_values(&mut pushed.netns, ids, except, MAX_NETNS),
            KernelTermKind::Ports(side, ports) => {
                let list = match side {
                    Side::Either => &mut pushed.any_ports,
                    Side::Local => &mut pushed.local_ports,
                    Side::Remote => &mut pushed.remote_ports,
                };
                push_values(list, ports, except, MAX_PORTS)
            }
            KernelTermKind::Nets(side, nets) => {
                let list = match side {
                    Side::Either => &mut pushed.any_nets,
                    Side::Local => &mut pushed.local_nets,
                    Side::Remote => &mut pushed.remote_nets,
                };
                push_values(list, nets, except, MAX_NETS)
            }
        }
    }
}

fn push_values<T: Ord + Clone>(
    list: &mut AllowOrDenyList<T>,
    values: Vec<T>,
    except: bool,
    most: usize,
) -> bool {
    // Two deny-lists can be joined: "none of A" and "none of B" is "none of A and B".
    let joins = list.is_empty() || list.except && except;
    if values.is_empty() || !joins {
        return false;
    }
    let mut all = list.values.clone();
    all.extend(values);
    all.sort_unstable();
    all.dedup();
    let fits = all.len() <= most;
    if fits {
        *list = AllowOrDenyList {
            values: all,
            except,
        };
    }
    fits
}

fn push_tasks(tasks: &mut Tasks, tgids: Vec<u32>, tids: Vec<u32>, except: bool) -> bool {
    let joins = tasks.is_empty() || tasks.except && except;
    if !joins {
        return false;
    }
    let mut all = Tasks {
        except,
        ..tasks.clone()
    };
    for (ids, more) in [(&mut all.tgids, tgids), (&mut all.tids, tids)] {
        ids.extend(more);
        ids.sort_unstable();
        ids.dedup();
    }
    let fits = !all.is_empty() && all.tgids.len() <= MAX_TASKS && all.tids.len() <= MAX_TASKS;
    if fits {
        *tasks = all;
    }
    fits
}
