/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Who is at the other end of a datagram. A connected socket knows; for the
 * rest it stands in the message, in a corked datagram that was begun earlier,
 * or in the headers of what was received.
 */
#ifndef FLOWTOP_PEER_BPF_H
#define FLOWTOP_PEER_BPF_H

/*
 * The destination in a message, as udp_sendmsg() and udpv6_sendmsg() read it:
 * AF_UNSPEC is IPv4 to the first and no address to the second. msg_name is
 * kernel memory by then (move_addr_to_kernel()). No name: the family stays 0.
 */
static __always_inline void read_msg_name(struct call *peer,
					  const struct msghdr *msg,
					  __u16 sk_family, const bool direct)
{
	void *name = READ(direct, msg, msg_name);
	struct sockaddr_in6 sin6 = {};
	struct sockaddr_in *sin = (struct sockaddr_in *)&sin6;

	if (!name)
		return;
	/* sockaddr_in is a prefix of what is there whatever the family. */
	bpf_probe_read_kernel(&sin6, sizeof(*sin), name);
	if (sin6.sin6_family == AF_INET6) {
		bpf_probe_read_kernel(&sin6, sizeof(sin6), name);
		peer->family = AF_INET6;
		__builtin_memcpy(peer->addr, sin6.sin6_addr,
				 sizeof(peer->addr));
	} else if (sin6.sin6_family == AF_INET ||
		   (!sin6.sin6_family && sk_family == AF_INET)) {
		peer->family = AF_INET;
		as_v4(peer->addr, sin->sin_addr);
	}
	peer->port = bpf_ntohs(sin6.sin6_port);
}

/* The sender of a received datagram, from its headers, which stay in the skb
 * until skb_consume_udp() drops it. */
static __always_inline void
read_skb_sender(struct call *peer, const struct sk_buff *skb, const bool direct)
{
	unsigned char *head = READ(direct, skb, head);
	unsigned char *network = head + READ(direct, skb, network_header);
	unsigned char *transport = head + READ(direct, skb, transport_header);
	__be16 port = 0;

	bpf_probe_read_kernel(&port, sizeof(port), transport);
	peer->port = bpf_ntohs(port);
	if (READ(direct, skb, protocol) == bpf_htons(ETH_P_IP)) {
		peer->family = AF_INET;
		bpf_probe_read_kernel(
			peer->addr, sizeof(__be32),
			network + __builtin_offsetof(struct iphdr, saddr));
	} else {
		peer->family = AF_INET6;
		bpf_probe_read_kernel(
			peer->addr, sizeof(peer->addr),
			network + __builtin_offsetof(struct ipv6hdr, saddr));
	}
}

/*
 * The destination of the datagram a socket is corking (MSG_MORE, UDP_CORK).
 * All its parts go there, whatever address they name or do not name.
 * `pending` is udp_sock.pending, the family it was begun with; 0 when the
 * part that was sent pushed it out: then what is left in `cork` is of the
 * family whose place for the source port holds the socket's own.
 */
static __always_inline void read_cork(struct call *peer, const struct sock *sk,
				      int pending)
{
	const struct inet_sock *inet = (const struct inet_sock *)sk;
	__be16 sport = BPF_CORE_READ(inet, inet_sport);
	bool v4 = pending == AF_INET, v6 = pending == AF_INET6;

	if (!pending) {
		v4 = BPF_CORE_READ(inet, cork.fl.u.ip4.uli.ports.sport) ==
		     sport;
		v6 = BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6 &&
		     BPF_CORE_READ(inet, cork.fl.u.ip6.uli.ports.sport) ==
			     sport;
	}
	if (v4 == v6)
		return; /* neither, or no telling: the peer stays unknown */
	if (v4) {
		peer->family = AF_INET;
		peer->port = bpf_ntohs(
			BPF_CORE_READ(inet, cork.fl.u.ip4.uli.ports.dport));
		as_v4(peer->addr, BPF_CORE_READ(inet, cork.fl.u.ip4.daddr));
	} else {
		peer->family = AF_INET6;
		peer->port = bpf_ntohs(
			BPF_CORE_READ(inet, cork.fl.u.ip6.uli.ports.dport));
		BPF_CORE_READ_INTO(&peer->addr, inet, cork.fl.u.ip6.daddr);
	}
}

static __always_inline int udp_pending(const struct sock *sk)
{
	return BPF_CORE_READ((const struct udp_sock *)sk, pending);
}

/* Where a send goes, at its entry. */
static __always_inline void read_destination(struct call *peer,
					     const struct sock *sk,
					     const struct msghdr *msg)
{
	int pending = udp_pending(sk);

	if (pending)
		read_cork(peer, sk, pending);
	else
		read_msg_name(peer, msg,
			      BPF_CORE_READ(sk, __sk_common.skc_family), false);
}

#endif
