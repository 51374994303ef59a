//! The conditions of a filter that select a row: its group, then the values that all its flows
//! share.

use super::shared::SharedState;
use crate::filter::{Expr, Pattern, PortRange, Side, Term};
use crate::model::flow::Endpoint;
use crate::model::net::Net;
use crate::stats::ranking::{ProcessLookup as _, Row, RowId};
use crate::view::Group;

/// Returns the conditions, those of the row's group first.
pub fn row_terms(row: &Row, shared: &SharedState) -> Vec<Expr> {
    let mut terms = Vec::new();
    of_group(row, shared, &mut terms);
    let common = &row.common;
    if let Some(comm) = &common.comm {
        terms.push(Expr::Is(Term::Comm(vec![exact(&comm.to_string_lossy())])));
    }
    if let Some(tgid) = common.tgid {
        terms.push(Expr::Is(Term::Pids(vec![tgid])));
    }
    if let Some(remote) = common.remote.filter(|end| !end.addr.is_unspecified()) {
        let net = Net::of(remote.addr, Net::bits(remote.addr));
        terms.push(Expr::Is(Term::Nets(Side::Remote, vec![net])));
    }
    terms.extend(port(Side::Remote, common.remote));
    terms.extend(port(Side::Local, common.local));
    if let Some(process_ref) = row.process_ref() {
        let owners = &shared.owners;
        terms.extend(owners.uid(&process_ref).map(|uid| user(uid, shared)));
        if let Some(location) = owners.location(&process_ref) {
            terms.extend(
                location
                    .container
                    .as_ref()
                    .map(|it| container(&it.to_string())),
            );
            terms.extend(location.unit.as_deref().map(unit));
        }
    }
    terms.extend(common.protocol.map(|it| Expr::Is(Term::Protocol(it))));
    let mut distinct: Vec<Expr> = Vec::new();
    for term in terms {
        if !distinct.contains(&term) {
            distinct.push(term);
        }
    }
    distinct
}

fn of_group(row: &Row, shared: &SharedState, terms: &mut Vec<Expr>) {
    match &row.id {
        RowId::Program(comm, _) => {
            terms.push(Expr::Is(Term::Comm(vec![exact(&comm.to_string_lossy())])));
        }
        RowId::Thread(_, tid) if *tid > 0 => terms.push(Expr::Is(Term::Tids(vec![*tid]))),
        RowId::Process(tgid) | RowId::Thread(tgid, _) => {
            terms.push(Expr::Is(Term::Pids(vec![*tgid])));
        }
        RowId::User(uid) => terms.push(user(*uid, shared)),
        RowId::Zone(zone) => terms.push(Expr::Is(Term::Zone(vec![exact(zone)]))),
        RowId::Host(name) => terms.push(Expr::Is(Term::HostNames(vec![exact(name)]))),
        RowId::Class(class) => terms.push(Expr::Is(Term::Class(vec![*class]))),
        RowId::Net(net) => terms.push(Expr::Is(Term::Nets(Side::Remote, vec![*net]))),
        RowId::Remote(addr) => {
            let net = Net::of(*addr, Net::bits(*addr));
            terms.push(Expr::Is(Term::Nets(Side::Remote, vec![net])));
        }
        RowId::Port(protocol, number) => {
            let port = port(
                Side::Either,
                Some(Endpoint::new(
                    std::net::Ipv4Addr::UNSPECIFIED.into(),
                    *number,
                )),
            );
            terms.extend(Expr::all(
                port.into_iter()
                    .chain([Expr::Is(Term::Protocol(*protocol))]),
            ));
        }
        RowId::Container(location) => terms.push(container(&location.to_string())),
        RowId::Unit(name) => terms.push(unit(name)),
        RowId::Pod(location) => {
            terms.extend(location.pod.as_deref().map(|id| member(Group::Pod, id)))
        }
        RowId::Named(group, name) => terms.push(member(*group, name)),
        // A flow offers its parts as conditions; unknown values offer none.
        RowId::Flow(_) | RowId::Without(_) | RowId::Unknown => {}
    }
}

fn exact(name: &str) -> Pattern {
    Pattern::exact(name)
}

fn port(side: Side, end: Option<Endpoint>) -> Option<Expr> {
    let port = end?.port;
    let range = PortRange {
        first: port,
        last: port,
    };
    (port > 0).then(|| Expr::Is(Term::Ports(side, vec![range])))
}

fn user(uid: u32, shared: &SharedState) -> Expr {
    let name = shared.owners.user_name(uid);
    let name = name.map_or_else(|| uid.to_string(), |name| name.to_string());
    Expr::Is(Term::Users(vec![exact(&name)], vec![uid]))
}

fn container(name: &str) -> Expr {
    Expr::Is(Term::Container(vec![exact(name)]))
}

fn member(group: Group, name: &str) -> Expr {
    Expr::Is(Term::Member(group, vec![exact(name)]))
}

fn unit(name: &str) -> Expr {
    Expr::Is(Term::Unit(vec![exact(name)]))
}
