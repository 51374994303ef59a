/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The only code that counts: identify the socket, find or insert its slot in
 * the active buffer, add. Every function here is inlined into programs that
 * differ in nothing but how they were called.
 *
 * `direct` says that the caller's pointers are typed by the kernel's BTF
 * (fentry, fexit) and may be followed by plain loads; elsewhere they are
 * addresses, read by bpf_probe_read_kernel(). It is a constant wherever it is
 * passed, so one of the two ways is all that is left.
 */
#ifndef FLOWTOP_ACCOUNT_BPF_H
#define FLOWTOP_ACCOUNT_BPF_H

static __always_inline bool is_tcp(__u16 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP;
}

/* ------------------------------------------------------------- which flow */

/* The first bytes of struct sock_common, as laid out since v3.13 (c63661848581
 * gave skc_portpair its place) on 64 bits; checked against the kernel's BTF at
 * load. */
struct sock_head {
	__be32 daddr;
	__be32 rcv_saddr;
	__u32 hash;
	__be16 dport;
	__u16 num;
	__u16 family;
	__u16 state;
	__u32 bound_dev_if;
	__u64 bind_node[2];
	__u64 prot;
	__u64 net;
};

#define HEAD_IS_AT(field, offset) \
	(bpf_core_field_offset(struct sock, __sk_common.field) == (offset))

static __always_inline void read_head(struct sock_head *head,
				      const struct sock *sk, const bool direct)
{
	/* One read of 56 bytes costs what each single one does. */
	if (!direct && HEAD_IS_AT(skc_daddr, 0) &&
	    HEAD_IS_AT(skc_rcv_saddr, 4) && HEAD_IS_AT(skc_dport, 12) &&
	    HEAD_IS_AT(skc_num, 14) && HEAD_IS_AT(skc_family, 16) &&
	    HEAD_IS_AT(skc_net, 48)) {
		bpf_probe_read_kernel(head, sizeof(*head), sk);
		return;
	}
	head->daddr = READ(direct, sk, __sk_common.skc_daddr);
	head->rcv_saddr = READ(direct, sk, __sk_common.skc_rcv_saddr);
	head->dport = READ(direct, sk, __sk_common.skc_dport);
	head->num = READ(direct, sk, __sk_common.skc_num);
	head->family = READ(direct, sk, __sk_common.skc_family);
	head->net = 0;
	if (!direct && bpf_core_field_exists(sk->__sk_common.skc_net.net))
		head->net = (__u64)BPF_CORE_READ(sk, __sk_common.skc_net.net);
}

static __always_inline void read_v6(struct flowtop_key6 *key,
				    const struct sock *sk, const bool direct)
{
	if (!direct) {
		BPF_CORE_READ_INTO(&key->remote_addr, sk,
				   __sk_common.skc_v6_daddr);
		BPF_CORE_READ_INTO(&key->local_addr, sk,
				   __sk_common.skc_v6_rcv_saddr);
		return;
	}
#pragma unroll
	for (int i = 0; i < 4; i++) {
		key->remote_addr[i] =
			sk->__sk_common.skc_v6_daddr.in6_u.u6_addr32[i];
		key->local_addr[i] =
			sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[i];
	}
}

static __always_inline bool is_v4_mapped(const __be32 addr[4])
{
	return !addr[0] && !addr[1] && addr[2] == bpf_htonl(0xffff);
}

/*
 * Tells network namespaces apart: by number where that is two plain loads,
 * else by the address of struct net, which came with the head. Those stand 64
 * bytes apart or more, so two are equal here only 256 GiB apart, which matters
 * only to a process with one and the same flow in both.
 */
static __always_inline __u32 net_id(const struct sock_head *head,
				    const struct sock *sk, const bool direct)
{
	if (direct && bpf_core_field_exists(sk->__sk_common.skc_net.net))
		return sk->__sk_common.skc_net.net->ns.inum;
	return head->net >> 6;
}

/* What the keys of both families share; false for what is not counted. */
static __always_inline bool fill_id(struct flowtop_id *id,
				    const struct sock_head *head,
				    const struct sock *sk, __u64 pid_tgid,
				    bool udp, const bool direct)
{
	id->tgid_flags = pid_tgid >> 32 << FLOWTOP_KEY_TGID_SHIFT |
			 (udp ? FLOWTOP_KEY_UDP : 0);
	id->tid = by_thread ? (__u32)pid_tgid : 0;
	id->net = net_id(head, sk, direct);
	id->local_port = head->num;
	id->remote_port = bpf_ntohs(head->dport);
	/* inet_put_port() clears skc_num when a socket closes, with data
	 * perhaps still unread; inet_sport keeps the port. */
	if (!head->num) {
		const struct inet_sock *inet = (const struct inet_sock *)sk;

		id->local_port = bpf_ntohs(BPF_CORE_READ(inet, inet_sport));
	}
	/* A raw socket of protocol TCP or UDP has the protocol for its port
	 * (inet_create()), and hears what other sockets move. */
	return head->num != (udp ? IPPROTO_UDP : IPPROTO_TCP) ||
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

static __always_inline void add_untracked(const struct moved *moved)
{
	__u32 slot = bpf_get_smp_processor_id() & (FLOWTOP_UNTRACKED_SLOTS - 1);
	struct flowtop_stats *stats = &untracked[slot].stats;

	if (moved->dir == TX) {
		__sync_fetch_and_add(&stats->tx_bytes, moved->bytes);
		__sync_fetch_and_add(&stats->tx_msgs, 1);
	} else {
		__sync_fetch_and_add(&stats->rx_bytes, moved->bytes);
		__sync_fetch_and_add(&stats->rx_msgs, 1);
	}
}

/* A new flow's slot; NULL if there is no room. */
static __always_inline struct flowtop_slot *
insert(void *flows, void *owners, void *cgroups, const void *key,
       const struct flowtop_id *id, const struct moved *moved)
{
	struct flowtop_slot zero = {}, *slot;

	/* Zeros and NOEXIST, then a look-up: whoever loses the race of two
	 * inserts still adds to the winner's slot. Full is E2BIG, and then
	 * there is no slot to find. */
	bpf_map_update_elem(flows, key, &zero, BPF_NOEXIST);
	slot = bpf_map_lookup_elem(flows, key);
	if (!slot)
		return NULL;
	slot->netns = read_netns(moved->sk);
	if (!(id->tgid_flags & FLOWTOP_KEY_UDP))
		slot->extra = (__u64)moved->sk;
	remember_owner(owners, cgroups, id);
	return slot;
}

static __always_inline void add(void *flows, void *owners, void *cgroups,
				const void *key, const struct flowtop_id *id,
				const struct moved *moved)
{
	struct flowtop_slot *slot = bpf_map_lookup_elem(flows, key);

	if (!slot) {
		slot = insert(flows, owners, cgroups, key, id, moved);
		if (!slot) {
			add_untracked(moved);
			return;
		}
	}
	if (moved->dir == TX) {
		slot->stats.tx_bytes += moved->bytes;
		slot->stats.tx_msgs++;
	} else {
		slot->stats.rx_bytes += moved->bytes;
		slot->stats.rx_msgs++;
	}
	if (id->tgid_flags & FLOWTOP_KEY_UDP)
		slot->extra += moved->packets;
}

static __always_inline void add4(const struct flowtop_key4 *key,
				 const struct moved *moved)
{
	if (filters_flows && !wanted_flow4(key, moved->sk))
		return;
	if (active)
		add(&flows4_b, &owners_b, &cgroups_b, key, &key->id, moved);
	else
		add(&flows4_a, &owners_a, &cgroups_a, key, &key->id, moved);
}

static __always_inline void add6(const struct flowtop_key6 *key,
				 const struct moved *moved)
{
	if (filters_flows && !wanted_flow6(key, moved->sk))
		return;
	if (active)
		add(&flows6_b, &owners_b, &cgroups_b, key, &key->id, moved);
	else
		add(&flows6_a, &owners_a, &cgroups_a, key, &key->id, moved);
}

/*
 * `moved->bytes` went through a socket of IPv6. One that talks IPv4 is an IPv4
 * flow: otherwise one peer shows as two. Its own address is then mapped too,
 * or unbound.
 */
static __always_inline void account6(const struct flowtop_id *id,
				     const struct call *peer,
				     const struct moved *moved,
				     const bool direct)
{
	struct flowtop_key6 key = { .id = *id };
	bool local, remote;

	read_v6(&key, moved->sk, direct);
	if (peer && peer->family)
		take_peer6(&key, peer);
	local = is_v4_mapped(key.local_addr);
	remote = is_v4_mapped(key.remote_addr);
	if (local || remote) {
		struct flowtop_key4 key4 = { .id = key.id };

		key4.local_addr = local ? key.local_addr[3] : 0;
		key4.remote_addr = remote ? key.remote_addr[3] : 0;
		add4(&key4, moved);
		return;
	}
	key.id.tgid_flags |= FLOWTOP_KEY_IPV6;
	add6(&key, moved);
}

/*
 * `ret` bytes moved through `sk` by the current thread, in so many datagrams
 * if it is UDP. `ret` is what the kernel returned to the caller; errors and
 * zero are nobody's bytes. `peer`, where given and of a family, is who the
 * datagram came from or went to.
 */
static __always_inline void account(const struct sock *sk, __u16 protocol,
				    int dir, int ret, const struct call *peer,
				    __u32 packets, const bool direct)
{
	bool udp = protocol == IPPROTO_UDP;
	struct moved moved = { .sk = sk, .dir = dir, .bytes = ret };
	struct flowtop_key4 key = {};
	struct sock_head head;
	__u64 pid_tgid;

	if (ret <= 0 || !(udp || is_tcp(protocol)))
		return;
	if (!wanted_protocol(udp) || !wanted_task())
		return;
	pid_tgid = bpf_get_current_pid_tgid();
	if (udp)
		moved.packets = dir == TX ? packets : (__u64)packets << 32;
	read_head(&head, sk, direct);
	if (!fill_id(&key.id, &head, sk, pid_tgid, udp, direct))
		return;
	if (head.family == AF_INET6) {
		account6(&key.id, peer, &moved, direct);
		return;
	}
	if (head.family != AF_INET)
		return;
	key.local_addr = head.rcv_saddr;
	key.remote_addr = head.daddr;
	if (peer && peer->family == AF_INET) {
		key.id.remote_port = peer->port;
		key.remote_addr = peer->addr[0];
	}
	add4(&key, &moved);
}

/* ------------------------------------------- from entry to return, by tid */

static __always_inline void stash(const struct call *call)
{
	__u32 tid = bpf_get_current_pid_tgid();

	if (bpf_map_update_elem(&calls, &tid, call, BPF_ANY))
		__sync_fetch_and_add(&missed_calls, 1);
}

/* Takes the thread's call; false if there is none. */
static __always_inline bool unstash(struct call *call)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct call *stashed = bpf_map_lookup_elem(&calls, &tid);

	if (!stashed)
		return false;
	*call = *stashed;
	bpf_map_delete_elem(&calls, &tid);
	return true;
}

#endif
