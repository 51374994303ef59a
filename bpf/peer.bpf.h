/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Peers of datagrams. The peer of a connected socket is in the socket;
 * otherwise it is in the message, in a corked datagram begun earlier, or in the
 * headers of the received packet. */
#ifndef FLOWTOP_PEER_BPF_H
#define FLOWTOP_PEER_BPF_H

/* Returns whether an address is link-local, and so ambiguous without its link
 * (RFC 4291, 2.5.6). */
static __always_inline bool is_link_local(const __be32 addr[4])
{
	return (addr[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

static __always_inline void as_v4(__be32 addr[4], __be32 v4)
{
	addr[0] = v4;
	addr[1] = addr[2] = addr[3] = 0;
}

#define SOL_UDP 17
#define UDP_SEGMENT 103
#define MAX_CMSGS 4

/* Reads the destination of a message as udp_sendmsg() and udpv6_sendmsg() do:
 * AF_UNSPEC is IPv4 to the former and no address to the latter. msg_name is
 * kernel memory by then (move_addr_to_kernel()). */
static __always_inline void read_name(struct peer *peer, const void *name,
				      __u16 sk_family)
{
	struct sockaddr_in6 sin6 = {};
	struct sockaddr_in *sin = (struct sockaddr_in *)&sin6;

	/* struct sockaddr_in is a prefix of every family's address. */
	bpf_probe_read_kernel(&sin6, sizeof(*sin), name);
	if (sin6.sin6_family == AF_INET6) {
		bpf_probe_read_kernel(&sin6, sizeof(sin6), name);
		peer->family = AF_INET6;
		peer->ifindex = sin6.sin6_scope_id;
		__builtin_memcpy(peer->addr, sin6.sin6_addr,
				 sizeof(peer->addr));
	} else if (sin6.sin6_family == AF_INET ||
		   (!sin6.sin6_family && sk_family == AF_INET)) {
		peer->family = AF_INET;
		as_v4(peer->addr, sin->sin_addr);
	}
	peer->port = sin6.sin6_port;
}

/*
 * Reads the destination of a datagram whose send began with the address `name`.
 * A load balancer attached to the cgroup (BPF_CGROUP_UDP4_SENDMSG) rewrites the
 * address in place after udp_sendmsg() was entered. It is therefore read after
 * that has returned, so that a conversation has one peer in both directions.
 * The memory at `name` is valid until sock_sendmsg() returns.
 */
static __always_inline void read_rewritten(struct peer *peer, __u16 sk_family)
{
	if (peer->name)
		read_name(peer, (void *)peer->name, sk_family);
}

/* Reads the sender of a received datagram from its headers, which stay in the
 * skb until skb_consume_udp() drops it. */
static __always_inline void read_skb_sender(struct peer *peer,
					    const struct sk_buff *skb,
					    const bool trusted)
{
	unsigned char *head = READ_FIELD(trusted, skb, head);
	unsigned char *network =
		head + READ_FIELD(trusted, skb, network_header);
	unsigned char *transport =
		head + READ_FIELD(trusted, skb, transport_header);

	bpf_probe_read_kernel(&peer->port, sizeof(peer->port), transport);
	if (READ_FIELD(trusted, skb, protocol) == bpf_htons(ETH_P_IP)) {
		peer->family = AF_INET;
		bpf_probe_read_kernel(
			peer->addr, sizeof(__be32),
			network + __builtin_offsetof(struct iphdr, saddr));
	} else {
		peer->family = AF_INET6;
		bpf_probe_read_kernel(
			peer->addr, sizeof(peer->addr),
			network + __builtin_offsetof(struct ipv6hdr, saddr));
		/* The first field of skb->cb is inet6_skb_parm.iif, which
		 * inet6_iif() reads and a caller receives as sin6_scope_id. */
		if (is_link_local(peer->addr))
			bpf_probe_read_kernel(&peer->ifindex,
					      sizeof(peer->ifindex), &skb->cb);
	}
}

/*
 * Reads the destination of the datagram that a socket is corking (MSG_MORE,
 * UDP_CORK). All its parts go there, whatever address they name. `pending` is
 * udp_sock.pending, the family that the datagram began with, or 0 if the part
 * just sent pushed it out. `cork` then still holds the destination, of the
 * family whose field for the source port equals the socket's port.
 */
static __always_inline void read_cork(struct peer *peer, const struct sock *sk,
				      int pending)
{
	const struct udp_sock *up = (const struct udp_sock *)sk;
	__be16 sport =
		READ_FIELD_AS(const struct udp_sock, sk, inet.inet_sport);
	bool v4 = pending == AF_INET, v6 = pending == AF_INET6;

	if (!pending) {
		v4 = BPF_CORE_READ(up, inet.cork.fl.u.ip4.uli.ports.sport) ==
		     sport;
		v6 = BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6 &&
		     BPF_CORE_READ(up, inet.cork.fl.u.ip6.uli.ports.sport) ==
			     sport;
	}
	if (v4 == v6)
		return; /* neither or ambiguous: the peer stays unknown */
	if (v4) {
		peer->family = AF_INET;
		peer->port =
			BPF_CORE_READ(up, inet.cork.fl.u.ip4.uli.ports.dport);
		as_v4(peer->addr, BPF_CORE_READ(up, inet.cork.fl.u.ip4.daddr));
	} else {
		peer->family = AF_INET6;
		peer->port =
			BPF_CORE_READ(up, inet.cork.fl.u.ip6.uli.ports.dport);
		BPF_CORE_READ_INTO(&peer->addr, up, inet.cork.fl.u.ip6.daddr);
	}
}

static __always_inline int udp_pending(const struct sock *sk)
{
	return READ_FIELD_AS(const struct udp_sock, sk, pending);
}

/* ---------------------------------------------------------- how many packets
 */

/*
 * Returns the size of the segments that a message is split into, as
 * udp_sendmsg() determines it: UDP_SEGMENT in the control messages, otherwise
 * the socket's; 0: none. The control messages are kernel memory by then
 * (____sys_sendmsg()).
 */
static __always_inline __u16 read_gso_size(const struct sock *sk,
					   const struct msghdr *msg,
					   const bool trusted)
{
	size_t length = READ_FIELD(trusted, msg, msg_controllen);
	void *control;

	if (length) {
		control = READ_FIELD(trusted, msg, msg_control);
		for (int i = 0; i < MAX_CMSGS; i++) {
			struct {
				struct cmsghdr header;
				__u16 gso_size;
			} cmsg = {};
			size_t size;

			if (length < sizeof(cmsg.header))
				break;
			bpf_probe_read_kernel(&cmsg, sizeof(cmsg), control);
			if (cmsg.header.cmsg_level == SOL_UDP &&
			    cmsg.header.cmsg_type == UDP_SEGMENT)
				return cmsg.gso_size;
			size = (cmsg.header.cmsg_len + 7) & ~7UL;
			if (size < sizeof(cmsg.header) || size >= length)
				break;
			control += size;
			length -= size;
		}
	}
	return READ_FIELD_AS(const struct udp_sock, sk, gso_size);
}

/* Returns the number of datagrams that a call sent. A corked datagram counts in
 * the call that began it. */
static __always_inline __u32 packets_sent(const struct peer *peer, int bytes)
{
	if (peer->continues)
		return 0;
	if (!peer->gso_size || bytes <= 0)
		return 1;
	return ((__u32)bytes + peer->gso_size - 1) / peer->gso_size;
}

/* Returns the number of datagrams in a received skb: more than one if UDP_GRO
 * joined them. */
static __always_inline __u32 packets_received(const struct sk_buff *skb,
					      const bool trusted)
{
	unsigned char *end =
		READ_FIELD(trusted, skb, head) + READ_FIELD(trusted, skb, end);

	return READ_FIELD_AS(struct skb_shared_info, end, gso_segs) ?: 1;
}

/*
 * Reads the destination of a send and its segment size, at its entry. For a
 * v4-mapped peer udpv6_sendmsg() calls udp_sendmsg() with an address on its own
 * stack, which is gone at the return: that address is read at once, and a load
 * balancer's rewrite of it is missed.
 */
static __always_inline void read_destination(struct peer *peer,
					     const struct sock *sk,
					     const struct msghdr *msg,
					     bool is_v4, const bool trusted)
{
	__u16 family = READ_FIELD(trusted, sk, __sk_common.skc_family);
	int pending = udp_pending(sk);
	void *name;

	if (pending) {
		read_cork(peer, sk, pending);
		peer->continues = 1;
		return;
	}
	name = READ_FIELD(trusted, msg, msg_name);
	if (is_v4 && family == AF_INET6) {
		if (name)
			read_name(peer, name, family);
	} else {
		peer->name = (__u64)name;
	}
	peer->gso_size = read_gso_size(sk, msg, trusted);
}

#endif
