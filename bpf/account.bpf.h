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

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_MPTCP 262
#define MSG_PEEK 2
#define MSG_ERRQUEUE 0x2000
#define ETH_P_IP 0x0800
#define SOCK_RAW 3

#define NULL ((void *)0)

#define RX 0
#define TX 1

#define READ(direct, ptr, field) \
	((direct) ? (ptr)->field : BPF_CORE_READ(ptr, field))

/* ------------------------------------------------------------- who is it */

static __always_inline bool listed(__u32 id, const volatile __u32 *list,
				   __u32 len)
{
	for (int i = 0; i < FLOWTOP_MAX_FILTERS && i < len; i++) {
		if (list[i] == id)
			return true;
	}
	return false;
}

/* -p and -t together mean either. */
static __always_inline bool wanted(__u64 pid_tgid)
{
	if (!nr_tgids && !nr_tids)
		return true;
	return listed(pid_tgid >> 32, tgids, nr_tgids) ||
	       listed((__u32)pid_tgid, tids, nr_tids);
}

static __always_inline bool is_tcp(__u16 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP;
}

/* ------------------------------------------------------------- which flow */

/* The first bytes of struct sock_common, as laid out since v3.13 (c63661848581
 * gave skc_portpair its place); checked against the kernel's BTF at load. */
struct sock_head {
	__be32 daddr;
	__be32 rcv_saddr;
	__u32 hash;
	__be16 dport;
	__u16 num;
	__u16 family;
	__u16 state;
	__u32 bound_dev_if;
};

static __always_inline void read_head(struct sock_head *head,
				      const struct sock *sk, const bool direct)
{
	/* One 24-byte read costs what each single one does. */
	if (!direct &&
	    bpf_core_field_offset(struct sock, __sk_common.skc_daddr) == 0 &&
	    bpf_core_field_offset(struct sock, __sk_common.skc_rcv_saddr) ==
		    4 &&
	    bpf_core_field_offset(struct sock, __sk_common.skc_dport) == 12 &&
	    bpf_core_field_offset(struct sock, __sk_common.skc_num) == 14 &&
	    bpf_core_field_offset(struct sock, __sk_common.skc_family) == 16) {
		bpf_probe_read_kernel(head, sizeof(*head), sk);
		return;
	}
	head->daddr = READ(direct, sk, __sk_common.skc_daddr);
	head->rcv_saddr = READ(direct, sk, __sk_common.skc_rcv_saddr);
	head->dport = READ(direct, sk, __sk_common.skc_dport);
	head->num = READ(direct, sk, __sk_common.skc_num);
	head->family = READ(direct, sk, __sk_common.skc_family);
}

static __always_inline void read_v6(struct flowtop_key *key,
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

static __always_inline void as_v4(__be32 addr[4], __be32 v4)
{
	addr[0] = v4;
	addr[1] = addr[2] = addr[3] = 0;
}

/* An IPv6 socket that talks IPv4 is an IPv4 flow: otherwise one peer shows
 * as two. Its own address is then mapped too, or unbound. */
static __always_inline void unmap(struct flowtop_key *key)
{
	bool local = is_v4_mapped(key->local_addr);
	bool remote = is_v4_mapped(key->remote_addr);

	if (!local && !remote)
		return;
	key->tgid_flags &= ~FLOWTOP_KEY_IPV6;
	as_v4(key->local_addr, local ? key->local_addr[3] : 0);
	as_v4(key->remote_addr, remote ? key->remote_addr[3] : 0);
}

/*
 * Fills the key of a socket; false if it is neither TCP or UDP nor IP. `peer`,
 * where given and of a family, is who this datagram came from or went to,
 * whatever the socket itself is connected to.
 */
static __always_inline bool fill_key(struct flowtop_key *key,
				     const struct sock *sk, __u32 tgid,
				     bool udp, const struct call *peer,
				     const bool direct)
{
	struct sock_head head = {};

	read_head(&head, sk, direct);
	key->tgid_flags =
		tgid << FLOWTOP_KEY_TGID_SHIFT | (udp ? FLOWTOP_KEY_UDP : 0);
	key->local_port = head.num;
	key->remote_port = bpf_ntohs(head.dport);
	/* inet_put_port() clears skc_num when a socket closes, with data
	 * perhaps still unread; inet_sport keeps the port. */
	if (!head.num) {
		const struct inet_sock *inet = (const struct inet_sock *)sk;

		key->local_port = bpf_ntohs(BPF_CORE_READ(inet, inet_sport));
	}
	/* A raw socket of protocol TCP or UDP has the protocol for its port
	 * (inet_create()), and hears what other sockets move. */
	if (head.num == (udp ? IPPROTO_UDP : IPPROTO_TCP) &&
	    READ(direct, sk, sk_type) == SOCK_RAW)
		return false;
	if (head.family == AF_INET) {
		key->local_addr[0] = head.rcv_saddr;
		key->remote_addr[0] = head.daddr;
	} else if (head.family == AF_INET6) {
		key->tgid_flags |= FLOWTOP_KEY_IPV6;
		read_v6(key, sk, direct);
	} else {
		return false;
	}
	if (peer && peer->family) {
		key->remote_port = peer->port;
		if (peer->family == AF_INET) {
			if (head.family == AF_INET6) {
				as_v4(key->remote_addr, 0);
				key->remote_addr[2] = bpf_htonl(0xffff);
				key->remote_addr[3] = peer->addr[0];
			} else {
				key->remote_addr[0] = peer->addr[0];
			}
		} else {
			__builtin_memcpy(key->remote_addr, peer->addr,
					 sizeof(key->remote_addr));
		}
	}
	if (head.family == AF_INET6)
		unmap(key);
	return true;
}

/* --------------------------------------------------------------- the sum */

static __always_inline void remember_owner(void *owners, __u32 tgid)
{
	struct flowtop_owner owner = {};
	struct task_struct *task;

	if (bpf_map_lookup_elem(owners, &tgid))
		return;
	/* The process, not a thread that renamed itself. */
	task = (void *)bpf_get_current_task();
	BPF_CORE_READ_INTO(&owner.comm, task, group_leader, comm);
	bpf_map_update_elem(owners, &tgid, &owner, BPF_NOEXIST);
}

static __always_inline void add_untracked(int dir, __u32 bytes)
{
	__u32 slot = bpf_get_smp_processor_id() & (FLOWTOP_UNTRACKED_SLOTS - 1);
	struct flowtop_stats *stats = &untracked[slot].stats;

	if (dir == TX) {
		__sync_fetch_and_add(&stats->tx_bytes, bytes);
		__sync_fetch_and_add(&stats->tx_msgs, 1);
	} else {
		__sync_fetch_and_add(&stats->rx_bytes, bytes);
		__sync_fetch_and_add(&stats->rx_msgs, 1);
	}
}

static __always_inline void add(void *flows, void *owners,
				const struct flowtop_key *key, int dir,
				__u32 bytes)
{
	struct flowtop_stats *stats = bpf_map_lookup_elem(flows, key);

	if (!stats) {
		struct flowtop_stats zero = {};

		/* Zeros and NOEXIST, then a look-up: whoever loses the race
		 * of two inserts still adds to the winner's slot. Full is
		 * E2BIG, and then there is no slot to find. */
		bpf_map_update_elem(flows, key, &zero, BPF_NOEXIST);
		stats = bpf_map_lookup_elem(flows, key);
		if (!stats) {
			add_untracked(dir, bytes);
			return;
		}
		remember_owner(owners,
			       key->tgid_flags >> FLOWTOP_KEY_TGID_SHIFT);
	}
	if (dir == TX) {
		stats->tx_bytes += bytes;
		stats->tx_msgs++;
	} else {
		stats->rx_bytes += bytes;
		stats->rx_msgs++;
	}
}

/*
 * `ret` bytes moved through `sk` by the current thread. `ret` is what the
 * kernel returned to the caller; errors and zero are nobody's bytes.
 */
static __always_inline void account(const struct sock *sk, __u16 protocol,
				    int dir, int ret, const struct call *peer,
				    const bool direct)
{
	struct flowtop_key key = {};
	bool udp = protocol == IPPROTO_UDP;
	__u64 pid_tgid;

	if (ret <= 0 || !(udp || is_tcp(protocol)))
		return;
	pid_tgid = bpf_get_current_pid_tgid();
	if (!wanted(pid_tgid))
		return;
	if (!fill_key(&key, sk, pid_tgid >> 32, udp, peer, direct))
		return;
	if (active)
		add(&flows_b, &owners_b, &key, dir, ret);
	else
		add(&flows_a, &owners_a, &key, dir, ret);
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
