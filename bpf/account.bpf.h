/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Accounting, shared by all backends: identifies the socket, finds or inserts
 * the flow's slot in the active buffer, adds the bytes. Every function is
 * inlined into the programs unless it is marked __noinline. */
#ifndef FLOWTOP_ACCOUNT_BPF_H
#define FLOWTOP_ACCOUNT_BPF_H

static __always_inline bool is_tcp(__u16 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP;
}

/* ------------------------------------------------------------- which flow */

/* A key of either family, for code that does not know the family yet. Both
 * families' keys begin with a struct flowtop_id. */
union flowtop_key {
	struct flowtop_id id;
	struct flowtop_key4 v4;
	struct flowtop_key6 v6;
};

/* Layout of the first 56 bytes of struct sock_common on 64-bit kernels.
 * OFFSET_IS() checks it against the kernel's BTF at load. */
struct sock_bytes {
	__u64 addrpair; /* remote, local */
	__u32 hash;
	__u32 portpair; /* remote in network order, local in host order */
	__u32 family;
	__u32 bound; /* ifindex of SO_BINDTODEVICE, or of a peer's link */
	__u64 others[3];
	__u64 net;
};

#define OFFSET_IS(field, of)                                      \
	(bpf_core_field_offset(struct sock, __sk_common.field) == \
	 __builtin_offsetof(struct sock_bytes, of))

/*
 * Returns the network namespace of a key with an interface folded in. Two
 * sockets of one process with equal ends, bound to different interfaces (two
 * VRFs, or peers on two links), are two flows. The interface's index is XORed
 * into bits of a struct net's address that distinguish no namespaces: the 16
 * bits above those that differ between kernel addresses, and the lowest 6
 * (struct net is aligned to a cache line). Indices can collide only beyond
 * 2^22.
 */
static __always_inline __u64 bound_to(const struct sock *sk, __u32 ifindex)
{
	/* Read as a number: the verifier allows no arithmetic such as XOR on a
	 * pointer. */
	__u64 net = (__u64)BPF_CORE_READ(sk, __sk_common.skc_net.net);

	return net ^ (__u64)ifindex << 48 ^ (ifindex >> 16 & 63);
}

/* The fields of a socket that make its key, in the words that the kernel's own
 * socket look-up compares (c63661848581, v3.13). */
struct sock_head {
	__u64 addrpair; /* remote, local */
	__u64 net;
	__u32 portpair; /* remote in network order, local in host order */
	__u32 bound;	/* as in sock_bytes */
};

/* False on kernels without CONFIG_NET_NS. */
static __always_inline bool has_netns(void)
{
	return __builtin_expect(
		bpf_core_field_exists(struct sock, __sk_common.skc_net.net), 1);
}

static __always_inline struct sock_head read_head(const struct sock *sk,
						  const bool trusted)
{
	struct sock_head head;

	/* One read of 56 bytes costs as much as a read of one field. */
	if (!trusted && OFFSET_IS(skc_addrpair, addrpair) &&
	    OFFSET_IS(skc_portpair, portpair) &&
	    OFFSET_IS(skc_bound_dev_if, bound) && OFFSET_IS(skc_net, net)) {
		struct sock_bytes bytes;

		bpf_probe_read_kernel(&bytes, sizeof(bytes), sk);
		head.addrpair = bytes.addrpair;
		head.portpair = bytes.portpair;
		head.bound = bytes.bound;
		head.net = bytes.net;
		return head;
	}
	head.addrpair = READ_FIELD(trusted, sk, __sk_common.skc_addrpair);
	head.portpair = READ_FIELD(trusted, sk, __sk_common.skc_portpair);
	head.bound = READ_FIELD(trusted, sk, __sk_common.skc_bound_dev_if);
	if (has_netns()) {
		head.net =
			(__u64)READ_FIELD(trusted, sk, __sk_common.skc_net.net);
	} else {
		head.net = 0;
		/* Keeps clang from turning the branch into a select: the
		 * verifier removes the dead branch. */
		barrier_var(head.net);
	}
	return head;
}

static __always_inline void put_head(struct flowtop_key4 *key,
				     const struct sock_head *head)
{
	key->id.net = head->net;
	__builtin_memcpy(&key->id.remote_port, &head->portpair,
			 sizeof(head->portpair));
	__builtin_memcpy(&key->remote_addr, &head->addrpair,
			 sizeof(head->addrpair));
}

static __always_inline void read_v6(struct flowtop_key6 *key,
				    const struct sock *sk, const bool trusted)
{
	const __u64 *remote, *local;

	if (!trusted) {
		BPF_CORE_READ_INTO(&key->remote_addr, sk,
				   __sk_common.skc_v6_daddr);
		BPF_CORE_READ_INTO(&key->local_addr, sk,
				   __sk_common.skc_v6_rcv_saddr);
		return;
	}
	remote = (void *)sk->__sk_common.skc_v6_daddr.in6_u.u6_addr32;
	local = (void *)sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32;
	((__u64 *)key->remote_addr)[0] = remote[0];
	((__u64 *)key->remote_addr)[1] = remote[1];
	((__u64 *)key->local_addr)[0] = local[0];
	((__u64 *)key->local_addr)[1] = local[1];
}

static __always_inline bool is_v4_mapped(const __be32 addr[4])
{
	return !addr[0] && !addr[1] && addr[2] == bpf_htonl(0xffff);
}

/* Returns the TID if flows are split by thread, otherwise the TGID. */
static __always_inline __u32 current_id(void)
{
	return split_threads ? current_tid() : current_tgid();
}

/* Returns flowtop_id.owner_kind of the current task and a protocol, without the
 * family. `plain` is a constant: is_plain. */
static __always_inline __u32 owner_kind(__u32 protocol, const bool plain)
{
	__u32 id = plain ? current_tgid() : current_id();

	return id << FLOWTOP_KEY_SHIFT | KEY_PROTOCOL(protocol);
}

/* Fills in the local port of a closed socket; returns false for a raw socket.
 * The local port is written into the word that holds the remote port, so that
 * clang keeps both in one register. */
static __always_inline bool complete_ports(struct sock_head *head,
					   const struct sock *sk,
					   __u32 protocol, const bool trusted)
{
	__u32 port = head->portpair >> 16;

	/* Nearly always true: only 0 and the numbers of TCP and UDP are checked
	 * below. */
	if (__builtin_expect(port > IPPROTO_UDP, 1))
		return true;
	/* inet_put_port() clears skc_num when a socket closes, with data
	 * perhaps still unread; inet_sport keeps the port. Every socket of IP
	 * begins with a struct inet_sock, as that of UDP does. */
	if (!port && protocol != FLOWTOP_PACKET) {
		port = bpf_ntohs(READ_FIELD_AS(const struct udp_sock, sk,
					       inet.inet_sport));
		head->portpair |= port << 16;
	}
	/* inet_create() gives a raw socket of protocol TCP or UDP the
	 * protocol's number as its port. Such a socket receives copies of other
	 * sockets' packets. */
	return port != (protocol == FLOWTOP_UDP ? IPPROTO_UDP : IPPROTO_TCP) ||
	       READ_FIELD(trusted, sk, sk_type) != SOCK_RAW;
}

/* Sets the key's remote end to the datagram's peer, whatever peer the socket is
 * connected to. */
static __always_inline void take_peer6(struct flowtop_key6 *key,
				       const struct peer *peer)
{
	key->id.remote_port = peer->port;
	if (peer->family == AF_INET) {
		key->remote_addr[0] = key->remote_addr[1] = 0;
		key->remote_addr[2] = bpf_htonl(0xffff);
		key->remote_addr[3] = peer->addr[0];
	} else {
		__builtin_memcpy(key->remote_addr, peer->addr,
				 sizeof(key->remote_addr));
	}
}

/* --------------------------------------------------------------- the sum */

/* Bytes that one socket call moved. */
struct transfer {
	const struct sock *sk;
	int dir;
	__u64 bytes;   /* as wide as the counters */
	__u32 packets; /* TCP: 0; the socket counts segments */
	__u32 ifindex; /* as in flowtop_slot */
};

/* Folds an interface into the key of a flow. */
static __always_inline void bind_key(struct flowtop_id *id,
				     struct transfer *transfer, __u32 ifindex)
{
	transfer->ifindex = ifindex;
	id->net = bound_to(transfer->sk, ifindex);
}

static __always_inline void add_to(struct flowtop_stats *stats,
				   const struct transfer *transfer)
{
	if (transfer->dir == TX) {
		__sync_fetch_and_add(&stats->tx_bytes, transfer->bytes);
		__sync_fetch_and_add(&stats->tx_msgs, 1);
	} else {
		__sync_fetch_and_add(&stats->rx_bytes, transfer->bytes);
		__sync_fetch_and_add(&stats->rx_msgs, 1);
	}
}

#include "dns.bpf.h"
#include "rows.bpf.h"

static __always_inline void add_to_slot(struct flowtop_slot *slot,
					const struct transfer *transfer)
{
	add_to(&slot->stats, transfer);
	if (transfer->packets)
		__sync_fetch_and_add(transfer->dir == TX
					     ? &slot->sk_or_tx_packets
					     : &slot->rx_packets,
				     transfer->packets);
}

static __always_inline void add_untracked(const struct transfer *transfer)
{
	__u32 slot = bpf_get_smp_processor_id() & (FLOWTOP_UNTRACKED_SLOTS - 1);

	add_to(&untracked[slot].stats, transfer);
}

/*
 * Returns whether a process may take one more slot of a flow map. The more
 * slots the process holds, the more must be free (dynamic thresholds of
 * shared-memory switches, Choudhury and Hahne 1998): one process leaves a
 * quarter of the map to the others, and each process that comes later finds
 * free slots. Each CPU may exceed the bound by one slot.
 */
static __always_inline bool has_share(const struct flowtop_owner *owner,
				      __u32 taken, __u32 family)
{
	if (taken >= max_flows)
		return false;
	return !owner || owner->flows[family] <
				 (__u64)(max_flows - taken) * FLOWTOP_SHARE;
}

/* Reserves a slot of the flow map for a process; returns 0 if the process has
 * used up its share. Global, like add_overflow(): the verifier checks a global
 * function once and not at every call (v5.6; scalars only before v5.12). */
__noinline int take_share(__u32 b, __u32 family, __u32 owner_id)
{
	struct flowtop_owner *owner =
		bpf_map_lookup_elem(owners_of(b), &owner_id);
	__u32 *taken = &held.flows[b & 1][family & 1];

	if (!has_share(owner, *(volatile __u32 *)taken, family & 1))
		return 0;
	__sync_fetch_and_add(taken, 1);
	if (owner)
		__sync_fetch_and_add(&owner->flows[family & 1], 1);
	return 1;
}

/* Releases a slot that take_share() reserved. */
__noinline int give_share_back(__u32 b, __u32 family, __u32 owner_id)
{
	struct flowtop_owner *owner =
		bpf_map_lookup_elem(owners_of(b), &owner_id);

	__sync_fetch_and_add(&held.flows[b & 1][family & 1], -1);
	if (owner)
		__sync_fetch_and_add(&owner->flows[family & 1], -1);
	return 0;
}

static __always_inline void *overflow_of(const bool b)
{
	return b ? (void *)&overflow_b : (void *)&overflow_a;
}

static __always_inline __u32 overflow_key(__u32 tgid, __u32 owner_kind)
{
	return FLOWTOP_KEY_OVERFLOW | tgid << FLOWTOP_KEY_SHIFT |
	       (owner_kind & FLOWTOP_KEY_KIND);
}

/* Returns the overflow entry of the current process, which sums its flows
 * without a slot; NULL if there is none. Not inlined: called for few events. */
static __noinline struct flowtop_slot *find_overflow(const bool b,
						     __u32 owner_kind)
{
	__u32 key = overflow_key(current_tgid(), owner_kind);

	return bpf_map_lookup_elem(overflow_of(b), &key);
}

/* Adds to the overflow entry of the current process, or to the untracked
 * counters if the overflow map is full. */
__noinline int add_overflow(__u32 b, __u32 owner_kind, int dir, __u32 bytes,
			    __u32 packets)
{
	__u32 tgid = current_tgid(), key = overflow_key(tgid, owner_kind);
	void *entries = overflow_of(b);
	struct transfer transfer = {
		.dir = dir,
		.bytes = bytes,
		.packets = packets,
	};
	struct flowtop_slot *slot = bpf_map_lookup_elem(entries, &key);

	if (!slot) {
		held.overflow[b & 1] = 1;
		bpf_map_update_elem(entries, &key, (void *)&no_slot,
				    BPF_NOEXIST);
		slot = bpf_map_lookup_elem(entries, &key);
		if (!slot) {
			add_untracked(&transfer);
			return 0;
		}
		slot->tgid = slot->owner = tgid;
	}
	add_to_slot(slot, &transfer);
	return 0;
}

/* Inserts a slot for a new flow and returns it; NULL if another CPU has
 * inserted it, or if the map is full. Not inlined: runs once per flow and
 * interval. */
static __noinline struct flowtop_slot *insert(void *flows,
					      const struct flowtop_id *id,
					      const struct sock *sk,
					      __u32 ifindex, __u32 owner)
{
	struct flowtop_slot *slot;

	if (bpf_map_update_elem(flows, id, (void *)&no_slot, BPF_NOEXIST))
		return NULL;
	slot = bpf_map_lookup_elem(flows, id);
	if (!slot)
		return NULL;
	slot->netns = read_netns(sk);
	slot->tgid = current_tgid();
	slot->owner = owner;
	slot->ifindex = ifindex;
	if (PROTOCOL_OF(id->owner_kind) == FLOWTOP_TCP)
		slot->sk_or_tx_packets = (__u64)sk;
	return slot;
}

/*
 * Returns a slot for a flow that had none; NULL if the map is full or the
 * process has used up its share. Runs once per flow and interval, and at every
 * event of a flow without a slot. Inlined, so that its stack does not add to
 * those of the functions it calls.
 */
static __always_inline struct flowtop_slot *
first_event(void *flows, const bool b, const struct flowtop_id *id,
	    const struct transfer *transfer)
{
	__u32 family = id->owner_kind & FLOWTOP_KEY_IPV6;
	__u32 task = id->owner_kind >> FLOWTOP_KEY_SHIFT;
	/* The threads of a process have one share together. */
	__u32 tgid = current_tgid(), process = note_owner(b, tgid);
	__u32 owner = process;
	struct flowtop_slot *slot;

	if (!take_share(b, family, process))
		return NULL;
	if (split_threads && task != tgid)
		owner = note_owner(b, task);
	slot = insert(flows, id, transfer->sk, transfer->ifindex, owner);
	if (slot)
		return slot;
	give_share_back(b, family, process);
	/* The loser of a race between two inserts adds to the winner's slot. */
	return bpf_map_lookup_elem(flows, id);
}

/* Adds to the flow's slot, after inserting one if the flow has none. Returns
 * whether the flow had a slot: a flow may take a row from its second event on.
 */
static __always_inline bool add(void *flows, const bool b,
				const struct flowtop_id *id,
				struct transfer *transfer)
{
	bool found = true;
	struct flowtop_slot *slot = bpf_map_lookup_elem(flows, id);

	if (!slot) {
		found = false;
		/* A process that was refused a slot gets none before the next
		 * flip: within an interval its share only shrinks. */
		if (held.overflow[b])
			slot = find_overflow(b, id->owner_kind);
		if (!slot)
			slot = first_event(flows, b, id, transfer);
	}
	if (slot)
		add_to_slot(slot, transfer);
	else
		add_overflow(b, id->owner_kind, transfer->dir, transfer->bytes,
			     transfer->packets);
	return found;
}

/*
 * Adds to the flow's row or slot. `uses_rows` is a constant: if it is false,
 * clang drops the code of rows. `plain` is a constant: is_plain. `of` is copied
 * to `key`, in the caller's memory, only before a map look-up: a flow with a
 * row is found by registers alone.
 */
static __always_inline void add4(const struct flowtop_key4 *of,
				 struct flowtop_key4 *key,
				 struct transfer *transfer,
				 const bool uses_rows, const bool plain)
{
	/* Read once, so that row and slot belong to one buffer. */
	__u32 b = active;
	struct flowtop_row4 *row = NULL;
	bool found;

	if (!plain && filters_flows) {
		*key = *of;
		if (!allow_flow4(key, transfer->sk))
			return;
	}
	if (uses_rows && has_rows && fits_row(of->id.owner_kind, transfer)) {
		row = row4_here(b, of);
		if (row && is_row4(row, of)) {
			add_to_row(&row->stats, transfer);
			return;
		}
	}
	*key = *of;
	if (b)
		found = add(&flows4_b, true, &key->id, transfer);
	else
		found = add(&flows4_a, false, &key->id, transfer);
	if (uses_rows && row && found && !row->key.id.owner_kind)
		take_row4(b, row, key);
}

static __always_inline void add6(const struct flowtop_key6 *key,
				 struct transfer *transfer,
				 const bool uses_rows, const bool plain)
{
	__u32 b = active;
	struct flowtop_row6 *row = NULL;
	bool found;

	if (!plain && filters_flows && !allow_flow6(key, transfer->sk))
		return;
	if (uses_rows && has_rows && fits_row(key->id.owner_kind, transfer)) {
		row = row6_here(b, key);
		if (row && is_row6(row, key)) {
			add_to_row(&row->stats, transfer);
			return;
		}
	}
	if (b)
		found = add(&flows6_b, true, &key->id, transfer);
	else
		found = add(&flows6_a, false, &key->id, transfer);
	if (uses_rows && row && found && !row->key.id.owner_kind)
		take_row6(b, row, key);
}

/*
 * Completes the key of an IPv6 socket; returns false, with a key of IPv4, if
 * the socket talks IPv4 (v4-mapped addresses). Otherwise one peer would be
 * shown as two. The local address of such a socket is v4-mapped too, or
 * unspecified.
 */
static __always_inline bool is_flow6(union flowtop_key *key,
				     const struct peer *peer,
				     struct transfer *transfer,
				     const bool trusted)
{
	bool local, remote;

	read_v6(&key->v6, transfer->sk, trusted);
	if (peer && peer->family) {
		take_peer6(&key->v6, peer);
		/* A socket that is bound to the link has its interface in the
		 * key already. */
		if (!transfer->ifindex && is_link_local(key->v6.remote_addr))
			bind_key(&key->id, transfer, peer->ifindex);
	}
	local = is_v4_mapped(key->v6.local_addr);
	remote = is_v4_mapped(key->v6.remote_addr);
	if (local || remote) {
		__be32 local4 = local ? key->v6.local_addr[3] : 0;
		__be32 remote4 = remote ? key->v6.remote_addr[3] : 0;

		key->v4.local_addr = local4;
		key->v4.remote_addr = remote4;
		return false;
	}
	key->id.owner_kind |= FLOWTOP_KEY_IPV6;
	return true;
}

/* Global, so that the verifier knows no result: it follows the code after a
 * call once and not for each protocol. */
__noinline __u32 protocol_of(__u32 protocol, __u32 type)
{
	if (protocol == IPPROTO_ICMP)
		return FLOWTOP_ICMP;
	if (protocol == IPPROTO_ICMPV6)
		return FLOWTOP_ICMP6;
	if (type == SOCK_RAW)
		return FLOWTOP_RAW;
	if (protocol == IPPROTO_SCTP)
		return FLOWTOP_SCTP;
	if (protocol == IPPROTO_UDPLITE)
		return FLOWTOP_UDPLITE;
	if (protocol == IPPROTO_DCCP)
		return FLOWTOP_DCCP;
	return FLOWTOP_RAW;
}

/* Reads the head of a packet socket. It has no addresses, but an EtherType and
 * an interface (0: all interfaces). */
static __always_inline void read_packet(struct sock_head *head,
					const struct packet_sock *packet)
{
	head->addrpair = head->portpair = head->bound = 0;
	if (bpf_core_field_exists(packet->ifindex)) {
		head->portpair = bpf_ntohs(BPF_CORE_READ(packet, num)) << 16;
		head->bound = BPF_CORE_READ(packet, ifindex);
	}
}

/*
 * Counts `ret` bytes that moved through a socket of the IP protocol `number`,
 * neither TCP nor UDP, or through a packet socket. Sockets of other families
 * are not counted. A separate function, which keeps the programs of TCP and UDP
 * small; global, so that the verifier checks it once. Without rows, which would
 * double the verifier's work for events that are few. Unlikely branches store
 * constants: the verifier follows them last, and finds their ways known.
 */
__noinline int account_other(__u64 addr, __u32 family, __u32 number, int dir,
			     int ret)
{
	const struct sock *sk = (void *)addr;
	__u16 type = BPF_CORE_READ(sk, sk_type);
	struct transfer transfer = {
		.sk = sk,
		.dir = dir,
		.bytes = (__u32)ret,
		.packets = 1,
	};
	__u32 protocol = FLOWTOP_PACKET;
	struct sock_head head;
	union flowtop_key key;

	if (family == AF_INET || family == AF_INET6)
		protocol = protocol_of(number, type);
	else if (family != AF_PACKET)
		return 0;
	if (ret <= 0 || !allow_call(protocol))
		return 0;
	head = read_head(sk, false);
	if (__builtin_expect(protocol == FLOWTOP_PACKET, 0))
		read_packet(&head, (void *)sk);
	complete_ports(&head, sk, protocol, false);
	put_head(&key.v4, &head);
	if (head.bound)
		bind_key(&key.id, &transfer, head.bound);
	key.id.owner_kind = owner_kind(protocol, false);
	if (__builtin_expect(protocol == FLOWTOP_ICMP ||
				     protocol == FLOWTOP_ICMP6 ||
				     protocol == FLOWTOP_RAW,
			     0))
		key.id.remote_port = 0; /* no port of such sockets */
	if (__builtin_expect(protocol != FLOWTOP_PACKET && type == SOCK_RAW, 0))
		key.id.local_port = protocol == FLOWTOP_RAW ? number : 0;
	if (family == AF_INET6 && is_flow6(&key, NULL, &transfer, false))
		add6(&key.v6, &transfer, false, false);
	else
		add4(&key.v4, &key.v4, &transfer, false, false);
	return 0;
}

/*
 * Counts `ret` bytes that the current thread moved through the TCP or UDP
 * socket `sk`, for UDP in `packets` datagrams. `ret` is the kernel's return
 * value to the caller; errors and zero count nothing. `peer`, unless NULL or
 * without a family, is the sender or receiver of the datagram. Returns false,
 * and counts nothing, if `sk` is a raw socket.
 */
static __always_inline bool account_ports(const struct sock *sk, __u16 family,
					  bool udp, int dir, int ret,
					  const struct peer *peer,
					  __u32 packets, const bool preempts,
					  const bool trusted, const bool plain)
{
	__u32 protocol = udp ? FLOWTOP_UDP : FLOWTOP_TCP;
	struct transfer transfer = { .sk = sk, .dir = dir };
	struct sock_head head;
	struct flowtop_key4 key;
	union flowtop_key memory;
	__u32 bytes = ret;

	if (ret <= 0)
		return true;
	barrier_var(bytes); /* one register, zero-extended in place */
	transfer.bytes = bytes;
	if (!plain && !allow_call(protocol)) {
		/* A DNS answer that the filter leaves out may name peers of
		 * flows that match. */
		if (udp && dir == RX) {
			__be16 port =
				READ_FIELD(trusted, sk, __sk_common.skc_dport);

			/* clang would read both ports by one instruction, which
			 * the verifier refuses for pointers of two kinds. */
			barrier_var(port);
			if (peer && peer->family)
				port = peer->port;
			see_datagram(&transfer, port);
		}
		return true;
	}
	if (udp)
		transfer.packets = packets;
	head = read_head(sk, trusted);
	if (!complete_ports(&head, sk, protocol, trusted))
		return false;
	put_head(&key, &head);
	if (head.bound)
		bind_key(&key.id, &transfer, head.bound);
	key.id.owner_kind = owner_kind(protocol, plain);
	if (family == AF_INET6) {
		memory.id = key.id;
		if (is_flow6(&memory, peer, &transfer, trusted)) {
			if (udp && dir == RX)
				see_datagram(&transfer, memory.id.remote_port);
			add6(&memory.v6, &transfer, !preempts, plain);
			return true;
		}
		/* The other fields are unchanged; clang keeps the ports in one
		 * word. */
		key.remote_addr = memory.v4.remote_addr;
		key.local_addr = memory.v4.local_addr;
		if (peer) {
			key.id.net = memory.id.net;
			key.id.remote_port = memory.id.remote_port;
		}
	} else if (family != AF_INET) {
		return true;
	} else if (peer && peer->family == AF_INET) {
		key.id.remote_port = peer->port;
		key.remote_addr = peer->addr[0];
	}
	if (udp && dir == RX)
		see_datagram(&transfer, key.id.remote_port);
	add4(&key, &memory.v4, &transfer, !preempts, plain);
	return true;
}

/*
 * Counts bytes of any socket whose `protocol` is IPPROTO_TCP or IPPROTO_UDP,
 * raw sockets included; parameters as for account_ports(), and `preempts`, a
 * constant: whether a task can be preempted inside the program. Such a program
 * has no rows. TCP tests is_plain in place of three values.
 */
static __always_inline void account(const struct sock *sk, __u16 family,
				    __u16 protocol, int dir, int ret,
				    const struct peer *peer, __u32 packets,
				    const bool preempts, const bool trusted)
{
	bool counted;

	if (protocol == IPPROTO_TCP && is_plain)
		counted = account_ports(sk, family, false, dir, ret, peer,
					packets, preempts, trusted, true);
	else
		counted = account_ports(sk, family, protocol == IPPROTO_UDP,
					dir, ret, peer, packets, preempts,
					trusted, false);
	if (!counted)
		account_other(address_of(sk), family, protocol, dir, ret);
}

#endif
