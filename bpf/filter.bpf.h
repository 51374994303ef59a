/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The part of a filter that runs in the kernel, before anything is added.
 * KernelFilter::matches() in src/filter/kernel_filter.rs is its equivalent in
 * Rust. The filter is read-only data, so the verifier removes the code of
 * whatever is not set.
 */
#ifndef FLOWTOP_FILTER_BPF_H
#define FLOWTOP_FILTER_BPF_H

/*
 * Lists are compared without a branch per entry. The verifier follows both
 * sides of a branch, and before 6.3 from every call, so that full lists
 * exceeded its limit of a million instructions. A number whose highest bit is 1
 * means "not this entry"; the bitwise AND over all entries means "no entry".
 */
#define NONE (~0ULL)

static __always_inline __u64 unequal(__u32 bits)
{
	return -(__u64)bits;
}

static __always_inline __u64 outside(__u64 port, __u64 first, __u64 last)
{
	return (port - first) | (last - port);
}

static __always_inline bool is_none(__u64 none)
{
	return none >> 63;
}

static __always_inline bool listed(__u32 id, const volatile __u32 *list,
				   __u32 len, const __u32 most)
{
	__u64 none = NONE;

	for (int i = 0; i < most && i < len; i++)
		none &= unequal(list[i] ^ id);
	return !is_none(none);
}

/* Filters by the current task: PIDs, TIDs, trees, users. Reads nothing of the
 * socket. */
static __always_inline bool allow_task(void)
{
	if (!filters_calls)
		return true;
	if (nr_tgids || nr_tids) {
		__u64 pid_tgid = bpf_get_current_pid_tgid();
		__u32 tgid = pid_tgid >> 32, tid = pid_tgid;
		bool one;

		if (tasks_pidns) {
			struct task_struct *task;

			task = (void *)bpf_get_current_task();
			if (nr_tgids)
				tgid = number_in_pidns(
					BPF_CORE_READ(task, group_leader));
			if (nr_tids)
				tid = number_in_pidns(task);
		}
		one = listed(tgid, tgids, nr_tgids, FLOWTOP_MAX_TASKS) ||
		      listed(tid, tids, nr_tids, FLOWTOP_MAX_TASKS);

		if (one == !!tasks_except)
			return false;
	}
	if (trees_selected &&
	    !(current_trees() & trees_selected) == !trees_except)
		return false;
	if (nr_uids && listed((__u32)bpf_get_current_uid_gid(), uids, nr_uids,
			      FLOWTOP_MAX_UIDS) == !!uids_except)
		return false;
	return true;
}

/* Like allow_task(), plus the protocol filter. */
static __always_inline bool allow_call(__u32 protocol)
{
	if (!filters_calls)
		return true;
	if (protocols && !(protocols >> protocol & 1))
		return false;
	return allow_task();
}

/* Returns whether a choice of `nr` entries matches a value; `none` says that
 * the value is in no entry. */
static __always_inline bool passes(__u32 nr, __u32 except, bool none)
{
	return !nr || none == !!except;
}

static __always_inline bool
passes_ports(const volatile struct flowtop_port_choice *choice, __u16 one,
	     __u16 other)
{
	__u64 none = NONE;

	for (int i = 0; i < FLOWTOP_MAX_PORTS && i < choice->nr; i++) {
		__u16 first = choice->ports[i].first;
		__u16 last = choice->ports[i].last;

		none &= outside(one, first, last) & outside(other, first, last);
	}
	return passes(choice->nr, choice->except, is_none(none));
}

static __always_inline __u64
outside_net4(const volatile struct flowtop_net *net, __be32 addr)
{
	return unequal((addr & net->mask[0]) ^ net->addr[0]);
}

static __always_inline __u64
outside_net6(const volatile struct flowtop_net *net, const __be32 addr[4])
{
	return unequal(((addr[0] & net->mask[0]) ^ net->addr[0]) |
		       ((addr[1] & net->mask[1]) ^ net->addr[1]) |
		       ((addr[2] & net->mask[2]) ^ net->addr[2]) |
		       ((addr[3] & net->mask[3]) ^ net->addr[3]));
}

static __always_inline bool
passes_nets4(const volatile struct flowtop_net_choice *choice, __be32 one,
	     __be32 other)
{
	__u64 none = NONE;

	for (int i = 0; i < FLOWTOP_MAX_NETS && i < choice->nr; i++) {
		const volatile struct flowtop_net *net = &choice->nets[i];

		if (net->family == AF_INET)
			none &= outside_net4(net, one) &
				outside_net4(net, other);
	}
	return passes(choice->nr, choice->except, is_none(none));
}

static __always_inline bool
passes_nets6(const volatile struct flowtop_net_choice *choice,
	     const __be32 one[4], const __be32 other[4])
{
	__u64 none = NONE;

	for (int i = 0; i < FLOWTOP_MAX_NETS && i < choice->nr; i++) {
		const volatile struct flowtop_net *net = &choice->nets[i];

		if (net->family == AF_INET6)
			none &= outside_net6(net, one) &
				outside_net6(net, other);
	}
	return passes(choice->nr, choice->except, is_none(none));
}

/* Checks common to IPv4 and IPv6: netns, family, ports. */
static __always_inline bool allow_flow(const struct flowtop_id *id,
				       __u32 family, const struct sock *sk)
{
	__u16 local = id->local_port, remote = bpf_ntohs(id->remote_port);
	__u32 protocol = PROTOCOL_OF(id->owner_kind);

	if (protocol == FLOWTOP_PACKET)
		family = FLOWTOP_FAMILY_NONE;
	if (families && !(families & family))
		return false;
	/* local_port and remote_port hold no ports for these protocols. */
	if (protocol == FLOWTOP_PACKET || protocol == FLOWTOP_RAW)
		local = remote = 0;
	if (nr_netns && listed(read_netns(sk), netns, nr_netns,
			       FLOWTOP_MAX_NETNS) == !!netns_except)
		return false;
	return passes_ports(&local_ports, local, local) &&
	       passes_ports(&remote_ports, remote, remote) &&
	       passes_ports(&any_ports, local, remote);
}

/* Not inlined, so that one copy serves all programs. Called only if
 * `filters_flows` is set. */
static __noinline bool allow_flow4(const struct flowtop_key4 *key,
				   const struct sock *sk)
{
	__be32 local = key->local_addr, remote = key->remote_addr;

	return allow_flow(&key->id, FLOWTOP_FAMILY_IPV4, sk) &&
	       passes_nets4(&local_nets, local, local) &&
	       passes_nets4(&remote_nets, remote, remote) &&
	       passes_nets4(&any_nets, local, remote);
}

static __noinline bool allow_flow6(const struct flowtop_key6 *key,
				   const struct sock *sk)
{
	const __be32 *local = key->local_addr, *remote = key->remote_addr;

	return allow_flow(&key->id, FLOWTOP_FAMILY_IPV6, sk) &&
	       passes_nets6(&local_nets, local, local) &&
	       passes_nets6(&remote_nets, remote, remote) &&
	       passes_nets6(&any_nets, local, remote);
}

#endif
