/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The only code that counts: identify the socket, find or insert its slot in
 * the active buffer, add. Every function here is inlined into programs that
 * differ in nothing but how they were called.
 */
#ifndef FLOWTOP_ACCOUNT_BPF_H
#define FLOWTOP_ACCOUNT_BPF_H

static __always_inline bool is_tcp(__u16 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP;
}

/* ------------------------------------------------------------- which flow */

/* What of a socket makes a key, in the pieces that the kernel compares itself
 * (c63661848581, v3.13). */
struct sock_head {
	__u64 addrpair; /* remote, local */
	__u32 portpair; /* remote in network order, local in host order */
	__u64 net;
};

/* The first bytes of struct sock_common as they lie on 64 bits; checked against
 * the kernel's BTF at load. */
struct sock_bytes {
	__u64 addrpair;
	__u32 hash;
	__u32 portpair;
	__u64 others[4];
	__u64 net;
};

#define LIES_AT(field, of)                                        \
	(bpf_core_field_offset(struct sock, __sk_common.field) == \
	 __builtin_offsetof(struct sock_bytes, of))

static __always_inline void read_head(struct sock_head *head,
				      const struct sock *sk, const bool direct)
{
	/* One read of 56 bytes costs what each single one does. */
	if (!direct && LIES_AT(skc_addrpair, addrpair) &&
	    LIES_AT(skc_portpair, portpair) && LIES_AT(skc_net, net)) {
		struct sock_bytes bytes;

		bpf_probe_read_kernel(&bytes, sizeof(bytes), sk);
		head->addrpair = bytes.addrpair;
		head->portpair = bytes.portpair;
		head->net = bytes.net;
		return;
	}
	head->addrpair = READ(direct, sk, __sk_common.skc_addrpair);
	head->portpair = READ(direct, sk, __sk_common.skc_portpair);
	head->net = 0;
	if (bpf_core_field_exists(sk->__sk_common.skc_net.net))
		head->net = (__u64)READ(direct, sk, __sk_common.skc_net.net);
}

static __always_inline void read_v6(struct flowtop_key6 *key,
				    const struct sock *sk, const bool direct)
{
	const __u64 *remote, *local;

	if (!direct) {
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

/* Who moves bytes: the thread where those are told apart, else the process. */
static __always_inline __u32 current_id(void)
{
	return by_thread ? current_tid() : current_tgid();
}

/* What keys of both families share; false for what is not counted. */
static __always_inline bool fill_id(struct flowtop_id *id,
				    const struct sock_head *head,
				    const struct sock *sk, bool udp,
				    const bool direct)
{
	id->net = head->net;
	id->who =
		current_id() << FLOWTOP_KEY_SHIFT | (udp ? FLOWTOP_KEY_UDP : 0);
	__builtin_memcpy(&id->remote_port, &head->portpair,
			 sizeof(head->portpair));
	/* inet_put_port() clears skc_num when a socket closes, with data
	 * perhaps still unread; inet_sport keeps the port. */
	if (!id->local_port)
		id->local_port = bpf_ntohs(
			READ_AS(const struct inet_sock, sk, inet_sport));
	/* A raw socket of protocol TCP or UDP has the protocol for its port
	 * (inet_create()), and hears what other sockets move. */
	return id->local_port != (udp ? IPPROTO_UDP : IPPROTO_TCP) ||
	       READ(direct, sk, sk_type) != SOCK_RAW;
}

/* Who a datagram came from or went to, whatever its socket is connected to. */
static __always_inline void take_peer6(struct flowtop_key6 *key,
				       const struct call *peer)
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

/* What one call moved. */
struct moved {
	const struct sock *sk;
	int dir;
	__u32 bytes;
	__u64 packets; /* UDP: as in flowtop_slot.extra; TCP: 0 */
};

static __always_inline void add_to(struct flowtop_stats *stats,
				   const struct moved *moved)
{
	if (moved->dir == TX) {
		__sync_fetch_and_add(&stats->tx_bytes, moved->bytes);
		__sync_fetch_and_add(&stats->tx_msgs, 1);
	} else {
		__sync_fetch_and_add(&stats->rx_bytes, moved->bytes);
		__sync_fetch_and_add(&stats->rx_msgs, 1);
	}
}

static __always_inline void add_untracked(const struct moved *moved)
{
	__u32 slot = bpf_get_smp_processor_id() & (FLOWTOP_UNTRACKED_SLOTS - 1);

	add_to(&untracked[slot].stats, moved);
}

/*
 * Whether a process may take one more slot. The more slots it holds, the more
 * must be free: one process leaves a quarter of the map to the others, and each
 * that comes later finds some (dynamic thresholds of shared-memory switches,
 * Choudhury and Hahne 1998). The counts may be late by one a CPU.
 */
static __always_inline bool has_share(const struct flowtop_owner *owner,
				      __u32 taken, __u32 family)
{
	if (taken >= max_flows)
		return false;
	return !owner || owner->flows[family] <
				 (__u64)(max_flows - taken) * FLOWTOP_SHARE;
}

/* The entry of flows without a slot; NULL if there is no room. */
static __noinline struct flowtop_slot *overflow(const bool b, __u32 who)
{
	void *entries = b ? (void *)&overflow_b : (void *)&overflow_a;
	struct flowtop_slot fresh = { .tgid = current_tgid() };
	struct flowtop_slot *slot = bpf_map_lookup_elem(entries, &who);

	if (slot)
		return slot;
	bpf_map_update_elem(entries, &who, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(entries, &who);
}

/*
 * A new flow's slot, or where that has no room its process's entry for such
 * flows; NULL if there is neither. Not inlined: it runs once a flow and
 * interval, and at every event of a flow without a slot.
 */
static __noinline struct flowtop_slot *insert(void *flows, const bool b,
					      const struct flowtop_id *id,
					      const struct sock *sk)
{
	__u32 tgid = current_tgid(), who = id->who >> FLOWTOP_KEY_SHIFT;
	__u32 kind = id->who & (FLOWTOP_KEY_UDP | FLOWTOP_KEY_IPV6);
	__u32 family = kind & FLOWTOP_KEY_IPV6;
	/* The share is the process's, however many threads it has. */
	struct flowtop_owner *owner = remember_owner(b, tgid);
	__u32 *taken = &held.flows[b][family];
	const void *key = id; /* which it begins */
	struct flowtop_slot *slot;

	if (has_share(owner, *(volatile __u32 *)taken, family)) {
		struct flowtop_slot fresh = {
			.netns = read_netns(sk),
			.tgid = tgid,
		};

		if (by_thread && who != tgid)
			remember_owner(b, who);
		if (!(kind & FLOWTOP_KEY_UDP))
			fresh.extra = (__u64)sk;
		/* Nothing moved and NOEXIST, then a look-up: whoever loses the
		 * race of two inserts still adds to the winner's slot. */
		if (!bpf_map_update_elem(flows, key, &fresh, BPF_NOEXIST)) {
			__sync_fetch_and_add(taken, 1);
			if (owner)
				__sync_fetch_and_add(&owner->flows[family], 1);
		}
		slot = bpf_map_lookup_elem(flows, key);
		if (slot)
			return slot;
	}
	return overflow(b, FLOWTOP_KEY_OVERFLOW | tgid << FLOWTOP_KEY_SHIFT |
				   kind);
}

static __always_inline void add(void *flows, const bool b,
				const struct flowtop_id *id,
				const struct moved *moved)
{
	struct flowtop_slot *slot = bpf_map_lookup_elem(flows, id);

	if (!slot) {
		slot = insert(flows, b, id, moved->sk);
		if (!slot) {
			add_untracked(moved);
			return;
		}
	}
	add_to(&slot->stats, moved);
	if (moved->packets)
		__sync_fetch_and_add(&slot->extra, moved->packets);
}

static __always_inline void add4(const struct flowtop_key4 *key,
				 const struct moved *moved)
{
	if (filters_flows && !wanted_flow4(key, moved->sk))
		return;
	if (active)
		add(&flows4_b, true, &key->id, moved);
	else
		add(&flows4_a, false, &key->id, moved);
}

static __always_inline void add6(const struct flowtop_key6 *key,
				 const struct moved *moved)
{
	if (filters_flows && !wanted_flow6(key, moved->sk))
		return;
	if (active)
		add(&flows6_b, true, &key->id, moved);
	else
		add(&flows6_a, false, &key->id, moved);
}

/* A key whose family is not known yet; what both begin with lies together. */
union flowtop_key {
	struct flowtop_id id;
	struct flowtop_key4 v4;
	struct flowtop_key6 v6;
};

/*
 * `moved->bytes` went through a socket of IPv6. One that talks IPv4 is an IPv4
 * flow: otherwise one peer shows as two. Its own address is then mapped too,
 * or unbound.
 */
static __always_inline void account6(union flowtop_key *key,
				     const struct call *peer,
				     const struct moved *moved,
				     const bool direct)
{
	bool local, remote;

	read_v6(&key->v6, moved->sk, direct);
	if (peer && peer->family)
		take_peer6(&key->v6, peer);
	local = is_v4_mapped(key->v6.local_addr);
	remote = is_v4_mapped(key->v6.remote_addr);
	if (local || remote) {
		__be32 local4 = local ? key->v6.local_addr[3] : 0;
		__be32 remote4 = remote ? key->v6.remote_addr[3] : 0;

		key->v4.local_addr = local4;
		key->v4.remote_addr = remote4;
		add4(&key->v4, moved);
		return;
	}
	key->id.who |= FLOWTOP_KEY_IPV6;
	add6(&key->v6, moved);
}

/*
 * `ret` bytes moved through `sk` by the current thread, in so many datagrams
 * if it is UDP. `ret` is what the kernel returned to the caller; errors and
 * zero are nobody's bytes. `peer`, where given and of a family, is who the
 * datagram came from or went to.
 */
static __always_inline void account(const struct sock *sk, __u16 family,
				    __u16 protocol, int dir, int ret,
				    const struct call *peer, __u32 packets,
				    const bool direct)
{
	bool udp = protocol == IPPROTO_UDP;
	struct moved moved = { .sk = sk, .dir = dir, .bytes = ret };
	union flowtop_key key;
	struct sock_head head;

	if (ret <= 0 || !(udp || is_tcp(protocol)))
		return;
	if (!wanted_call(udp))
		return;
	if (udp)
		moved.packets = dir == TX ? packets : (__u64)packets << 32;
	read_head(&head, sk, direct);
	if (!fill_id(&key.id, &head, sk, udp, direct))
		return;
	if (family == AF_INET6) {
		account6(&key, peer, &moved, direct);
		return;
	}
	if (family != AF_INET)
		return;
	__builtin_memcpy(&key.v4.remote_addr, &head.addrpair,
			 sizeof(head.addrpair));
	if (peer && peer->family == AF_INET) {
		key.id.remote_port = peer->port;
		key.v4.remote_addr = peer->addr[0];
	}
	add4(&key.v4, &moved);
}

#endif
