/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Owners of flows: the identity of the current process, read in its own context
 * when a flow first moves bytes in an interval. No owner is looked up by its
 * PID later, when the PID may belong to another process. */
#ifndef FLOWTOP_OWNER_BPF_H
#define FLOWTOP_OWNER_BPF_H

#define PF_KTHREAD 0x00200000 /* include/linux/sched.h */

static __always_inline __u32 read_netns(const struct sock *sk)
{
	if (!bpf_core_field_exists(sk->__sk_common.skc_net.net))
		return 0;
	return BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

static __always_inline struct kernfs_node *parent_of(struct kernfs_node *kn)
{
	if (bpf_core_field_exists(kn->__parent))
		return BPF_CORE_READ(kn, __parent);
	return BPF_CORE_READ(kn, parent);
}

/*
 * Returns the cgroup that identifies a process best. On hosts where the pids
 * controller is a hierarchy of its own (v1, hybrid), that is the process's
 * cgroup there, where container engines put their containers. Otherwise, or if
 * the process is in the root there, it is the cgroup of v2.
 */
static __always_inline struct kernfs_node *
cgroup_of(const struct task_struct *task)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct cgroup *v2 = BPF_CORE_READ(set, dfl_cgrp);

	if (bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id)) {
		int pids = bpf_core_enum_value(enum cgroup_subsys_id,
					       pids_cgrp_id);
		struct cgroup_subsys_state *css = NULL;
		struct cgroup *v1;

		bpf_probe_read_kernel(&css, sizeof(css),
				      &set->subsys[0] + pids);
		v1 = BPF_CORE_READ(css, cgroup);
		if (v1 && BPF_CORE_READ(v1, root) != BPF_CORE_READ(v2, root)) {
			struct kernfs_node *kn = BPF_CORE_READ(v1, kn);

			if (parent_of(kn))
				return kn;
		}
	}
	return BPF_CORE_READ(v2, kn);
}

/* Inlined into note_owner(): the stacks of two functions would exceed 512 bytes
 * with those of their callers. */
static __always_inline int remember_cgroup(void *cgroups, __u64 id,
					   struct kernfs_node *kn)
{
	struct flowtop_cgroup *cgroup;
	struct kernfs_node *parent;
	__u64 used = 0, length;
	char *names;

	if (bpf_map_lookup_elem(cgroups, &id))
		return 0;
	/* Inserted as zeros first: the value is larger than the stack. Two CPUs
	 * that fill it in at once write equal bytes. */
	bpf_map_update_elem(cgroups, &id, (void *)&no_cgroup, BPF_NOEXIST);
	cgroup = bpf_map_lookup_elem(cgroups, &id);
	if (!cgroup)
		return 0;
	names = (char *)cgroup->names;
#pragma unroll
	for (int i = 0; i < FLOWTOP_CGROUP_DEPTH; i++) {
		parent = parent_of(kn);
		if (!parent)
			return 0;
		if (used > FLOWTOP_CGROUP_BYTES - FLOWTOP_CGROUP_NAME)
			break;
		length = bpf_probe_read_kernel_str(names + used,
						   FLOWTOP_CGROUP_NAME,
						   BPF_CORE_READ(kn, name));
		if (length > FLOWTOP_CGROUP_NAME) /* or an error */
			break;
		used += length;
		kn = parent;
	}
	cgroup->cut = parent_of(kn) != NULL;
	return 0;
}

/* Fields that distinguish owners that had one PID or TID in succession. */
struct identity {
	__u64 start_ns;
	__u64 comm[FLOWTOP_COMM_LEN / 8];
	__u32 uid;
};

/* Returns whether an entry belongs to `who`. An entry without a start time is
 * being filled in by a thread of this process on another CPU: no other process
 * has the number now. */
static __always_inline bool is_of(const struct flowtop_owner *owner,
				  const struct identity *who)
{
	const __u64 *comm = (const __u64 *)owner->comm;

	return !owner->start_ns ||
	       (owner->start_ns == who->start_ns && owner->uid == who->uid &&
		comm[0] == who->comm[0] && comm[1] == who->comm[1]);
}

static __always_inline void *owners_of(const bool b)
{
	return b ? (void *)&owners_b : (void *)&owners_a;
}

/*
 * Inserts the entry of a process or thread at its first call in the interval
 * and returns the entry's key: `number` (TGID or TID), with an index above it
 * if other owners had that number before in the interval. A reused number, a
 * process that executes another program and a process that changes its user
 * each get an entry of their own. Runs once per flow and interval. Global, so
 * that the verifier checks it once and not at every call (v5.6; scalars only
 * before v5.12).
 */
__noinline __u32 note_owner(__u32 b, __u32 number)
{
	void *owners = owners_of(b);
	struct task_struct *task, *leader;
	struct flowtop_owner *owner;
	struct identity who = {};
	struct kernfs_node *kn;
	__u32 id = number;

	task = (void *)bpf_get_current_task();
	/* The name of the group leader, not of a thread that renamed itself. */
	leader = BPF_CORE_READ(task, group_leader);
	bpf_core_read(&who.comm, sizeof(who.comm), &leader->comm);
	who.start_ns = BPF_CORE_READ(leader, start_boottime);
	who.uid = bpf_get_current_uid_gid();
	for (__u32 i = 0; i < FLOWTOP_MAX_OWNERS; i++) {
		id = number | i << FLOWTOP_OWNER_SHIFT;
		owner = bpf_map_lookup_elem(owners, &id);
		if (!owner)
			break;
		if (is_of(owner, &who) || i + 1 == FLOWTOP_MAX_OWNERS)
			return id;
	}
	held.owners[b & 1] = 1;
	bpf_map_update_elem(owners, &id, (void *)&no_owner, BPF_NOEXIST);
	owner = bpf_map_lookup_elem(owners, &id);
	if (!owner)
		return id;
	if (split_threads) {
		if (number == current_tgid())
			task = leader;
		BPF_CORE_READ_INTO(&owner->thread, task, comm);
	}
	__builtin_memcpy(owner->comm, who.comm, sizeof(owner->comm));
	owner->uid = who.uid;
	if (BPF_CORE_READ(task, flags) & PF_KTHREAD)
		owner->flags = FLOWTOP_OWNER_KERNEL;
	if (nr_trees)
		owner->flags |= current_trees() << FLOWTOP_OWNER_TREES_SHIFT;
	kn = cgroup_of(task);
	owner->cgroup = BPF_CORE_READ(kn, id);
	if (owner->cgroup)
		remember_cgroup(b ? (void *)&cgroups_b : (void *)&cgroups_a,
				owner->cgroup, kn);
	owner->start_ns = who.start_ns;
	return id;
}

#endif
