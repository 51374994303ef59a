//! Writes the kernel's part of a filter into the programs' read-only data, before they are loaded.

use std::net::IpAddr;

use anyhow::{Context, Result};

use super::skel::{FAMILY_ALL, FAMILY_IPV4, FAMILY_IPV6, types};
use super::trees;
use crate::filter::{AllowOrDenyList, Family, KernelFilter, PortRange};
use crate::model::flow::Protocol;
use crate::model::net::Net;
use crate::resolve::namespace;

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/// Writes all of `pushed`, and `roots`, the roots of trees whose processes are tracked.
/// [`KernelFilter::matches`] defines the meaning.
///
/// # Errors
/// When a list is longer than the programs have room for.
pub fn write(pushed: &KernelFilter, roots: &[u32], to: &mut types::rodata) -> Result<()> {
    let every = Protocol::ALL.map(protocol_bit).iter().sum();
    to.protocols = bits(&pushed.protocols, protocol_bit, every);
    to.families = bits(&pushed.families, family_bit, FAMILY_ALL);
    to.nr_tgids = fill(&mut to.tgids, &pushed.tasks.tgids, |&id| id).context("processes")?;
    to.nr_tids = fill(&mut to.tids, &pushed.tasks.tids, |&id| id).context("threads")?;
    to.tasks_except = pushed.tasks.except.into();
    to.tasks_pidns = namespace::own_pid().unwrap_or(0);
    to.nr_trees = u32::try_from(roots.len())?;
    to.trees_selected = trees::bits(roots, &pushed.trees.values);
    to.trees_except = pushed.trees.except.into();
    to.nr_uids = fill(&mut to.uids, &pushed.uids.values, |&id| id).context("users")?;
    to.uids_except = pushed.uids.except.into();
    to.nr_netns = fill(&mut to.netns, &pushed.netns.values, |&id| id).context("namespaces")?;
    to.netns_except = pushed.netns.except.into();
    ports(&mut to.local_ports, &pushed.local_ports)?;
    ports(&mut to.remote_ports, &pushed.remote_ports)?;
    ports(&mut to.any_ports, &pushed.any_ports)?;
    nets(&mut to.local_nets, &pushed.local_nets)?;
    nets(&mut to.remote_nets, &pushed.remote_nets)?;
    nets(&mut to.any_nets, &pushed.any_nets)?;
    let calls = KernelFilter {
        protocols: pushed.protocols.clone(),
        tasks: pushed.tasks.clone(),
        trees: pushed.trees.clone(),
        uids: pushed.uids.clone(),
        ..KernelFilter::default()
    };
    to.filters_calls = calls != KernelFilter::default();
    to.filters_flows = *pushed != calls;
    Ok(())
}

const fn protocol_bit(protocol: Protocol) -> u32 {
    1 << protocol as u32
}

const fn family_bit(family: Family) -> u32 {
    match family {
        Family::V4 => FAMILY_IPV4,
        Family::V6 => FAMILY_IPV6,
    }
}

/// Returns the bits of the values that match, out of `every`; 0 if all match.
fn bits<T: Copy>(choice: &AllowOrDenyList<T>, bit: impl Fn(T) -> u32, every: u32) -> u32 {
    let values = choice.values.iter().fold(0, |all, &value| all | bit(value));
    if choice.except {
        every & !values
    } else {
        values
    }
}

fn ports(to: &mut types::flowtop_port_choice, choice: &AllowOrDenyList<PortRange>) -> Result<()> {
    to.except = choice.except.into();
    to.nr = fill(&mut to.ports, &choice.values, |range| {
        types::flowtop_ports {
            first: range.first,
            last: range.last,
        }
    })
    .context("ports")?;
    Ok(())
}

fn nets(to: &mut types::flowtop_net_choice, choice: &AllowOrDenyList<Net>) -> Result<()> {
    to.except = choice.except.into();
    to.nr = fill(&mut to.nets, &choice.values, net).context("networks")?;
    Ok(())
}

fn net(net: &Net) -> types::flowtop_net {
    let words = |bytes: [u8; 16]| {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_ne_bytes(*bytes);
        }
        words
    };
    match net.addr {
        IpAddr::V4(addr) => types::flowtop_net {
            family: AF_INET,
            addr: [u32::from_ne_bytes(addr.octets()), 0, 0, 0],
            mask: words(net.mask()),
        },
        IpAddr::V6(addr) => types::flowtop_net {
            family: AF_INET6,
            addr: words(addr.octets()),
            mask: words(net.mask()),
        },
    }
}

/// Writes a list and returns its length.
fn fill<T, F>(list: &mut [T], values: &[F], raw: impl Fn(&F) -> T) -> Result<u32> {
    let room = list.len();
    let head = list.get_mut(..values.len());
    let head = head.with_context(|| format!("the kernel's list holds at most {room}"))?;
    for (to, value) in head.iter_mut().zip(values) {
        *to = raw(value);
    }
    Ok(u32::try_from(values.len())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_words_in_network_order() {
        let v4 = net(&Net::of("10.1.2.3".parse().unwrap(), 20));
        assert_eq!(v4.addr[0].to_ne_bytes(), [10, 1, 0, 0]);
        assert_eq!(v4.mask[0].to_ne_bytes(), [255, 255, 240, 0]);
        let v6 = net(&Net::of("2001:db8::1".parse().unwrap(), 33));
        assert_eq!(v6.addr[0].to_ne_bytes(), [0x20, 1, 0xd, 0xb8]);
        assert_eq!(v6.mask[1].to_ne_bytes(), [0x80, 0, 0, 0]);
        assert_eq!(net(&Net::of("::".parse().unwrap(), 0)).mask, [0; 4]);
        assert_eq!(
            net(&Net::of("::1".parse().unwrap(), 128)).mask,
            [u32::MAX; 4]
        );
    }

    #[test]
    fn a_list_longer_than_its_room_is_refused() {
        let mut list = [0; 4];
        assert_eq!(fill(&mut list, &[3, 4], |&id| id).unwrap(), 2);
        assert_eq!(list, [3, 4, 0, 0]);
        assert!(fill(&mut list, &[1; 5], |&id: &u32| id).is_err());
    }
}
