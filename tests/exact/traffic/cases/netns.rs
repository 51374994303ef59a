//! Sockets in other network namespaces.

use anyhow::Result;

use crate::net::{enter, here};
use crate::proc;
use crate::sock::{Sock, V4, V6, tcp_pair, udp_pair};
use crate::sys;
use crate::transfer::pattern;

cases! {
    "TCP and UDP in a network namespace of their own" => netns_other,
    "a socket made in one namespace, used by a thread in another" => netns_foreign_socket,
    "two namespaces with the same addresses and ports in one process" => netns_same_addresses,
    "a child in another namespace talks while the parent does in its own" => netns_child,
}

fn some_traffic() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    c.send_all(&pattern(20_000))?;
    s.recv_exact(20_000)?;
    let (a, b) = udp_pair(V4)?;
    a.send(&pattern(500), 0)?;
    b.recv(&mut [0; 1000], 0)?;
    Ok(())
}

fn netns_other() -> Result<()> {
    sys::new_netns(0)?;
    some_traffic()?;
    let (c, s) = tcp_pair(V6)?;
    c.send_all(&pattern(7000))?;
    s.recv_exact(7000)
}

fn netns_foreign_socket() -> Result<()> {
    let home = here()?;
    sys::new_netns(0)?;
    let (c, s) = tcp_pair(V4)?;
    let (a, b) = udp_pair(V6)?;
    enter(&home)?;
    c.send_all(&pattern(11_000))?;
    s.recv_exact(11_000)?;
    a.send(&pattern(300), 0)?;
    b.recv(&mut [0; 1000], 0)?;
    Ok(())
}

fn netns_same_addresses() -> Result<()> {
    sys::new_netns(0)?;
    let first = here()?;
    let l = Sock::listener(V4)?;
    let to = l.local()?;
    let c = Sock::tcp(V4)?;
    c.bind("127.0.0.1:4321".parse()?)?;
    c.connect(to)?;
    let s = l.accept()?;
    sys::new_netns(0)?;
    let l2 = Sock::tcp(V4)?;
    l2.bind(to)?;
    l2.listen()?;
    let c2 = Sock::tcp(V4)?;
    c2.bind("127.0.0.1:4321".parse()?)?;
    c2.connect(to)?;
    let s2 = l2.accept()?;
    enter(&first)?;
    // The rows are told apart by their namespaces alone.
    c.send_all(&pattern(1000))?;
    c2.send_all(&pattern(20_000))?;
    s.recv_exact(1000)?;
    s2.recv_exact(20_000)
}

fn netns_child() -> Result<()> {
    let child = proc::spawn(|| {
        sys::new_netns(0)?;
        some_traffic()
    })?;
    some_traffic()?;
    child.join()
}
