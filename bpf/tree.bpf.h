/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Descendants of the roots that a filter names (`tree PID`). A process inherits
 * its parent's bits before it runs for the first time (kernel_clone() wakes it
 * after sched_process_fork), so its first byte has them, and it keeps them when
 * its parent ends. Loaded only for filters with trees.
 */
#ifndef FLOWTOP_TREE_BPF_H
#define FLOWTOP_TREE_BPF_H

#define MAX_PID_NS_LEVEL 32 /* include/linux/pid_namespace.h */

/* Returns the TID of a task in the PID namespace of the filter; 0 if it has
 * none there. A task has a TID in its own PID namespace and in each ancestor of
 * that, so the search goes up from its own. */
static __noinline __u32 number_in_pidns(const struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	const __u32 size = bpf_core_field_size(pid->numbers[0]);
	int level = BPF_CORE_READ(pid, level);

	for (int i = 0; i <= MAX_PID_NS_LEVEL && i <= level; i++) {
		void *at = (void *)pid + (level - i) * size;
		struct pid_namespace *ns = NULL;
		int number = 0;

		bpf_probe_read_kernel(
			&ns, sizeof(ns),
			at + bpf_core_field_offset(pid->numbers[0].ns));
		if (BPF_CORE_READ(ns, ns.inum) != tasks_pidns)
			continue;
		bpf_probe_read_kernel(
			&number, sizeof(number),
			at + bpf_core_field_offset(pid->numbers[0].nr));
		return number;
	}
	return 0;
}

/* Returns the key of the current process in `trees`. */
static __always_inline __u32 current_process(void)
{
	struct task_struct *task;

	if (!tasks_pidns)
		return current_tgid();
	task = (void *)bpf_get_current_task();
	return number_in_pidns(BPF_CORE_READ(task, group_leader));
}

/* Returns the bits of the roots that the current process descends from, or is.
 */
static __always_inline __u32 current_trees(void)
{
	__u32 number = current_process();
	__u32 *roots = bpf_map_lookup_elem(&trees, &number);

	return roots ? *roots : 0;
}

/* Gives a child process its parent's roots. A child of a parent without roots
 * is removed: an earlier process may have had its PID, and its exit was missed.
 * A child that finds `trees` full is counted as missed. */
static __always_inline void inherit_trees(__u32 child)
{
	__u32 roots = current_trees();

	if (!child)
		return;
	if (!roots)
		bpf_map_delete_elem(&trees, &child);
	else if (bpf_map_update_elem(&trees, &child, &roots, BPF_ANY))
		__sync_fetch_and_add(&missed_calls, 1);
}

SEC("raw_tp/sched_process_fork")
int rt_fork(__u64 *ctx)
{
	struct task_struct *child = (void *)ctx[1];
	__u32 tgid = BPF_CORE_READ(child, tgid);

	/* A thread belongs to its process's entry. */
	if (BPF_CORE_READ(child, pid) != tgid)
		return 0;
	inherit_trees(tasks_pidns ? number_in_pidns(child) : tgid);
	return 0;
}

/* Replaces rt_fork() where tasks can be preempted in raw tracepoints, which
 * then skip the forks of other tasks. The record has the child's TID alone, so
 * threads are added too. */
SEC("tp/sched/sched_process_fork")
int tp_fork(struct trace_event_raw_sched_process_fork *ctx)
{
	inherit_trees(ctx->child_pid);
	return 0;
}

/* Removes a process at the exit of its last thread (do_exit() counts the thread
 * out before sched_process_exit), and a thread that tp_fork() added at its own
 * exit. */
static __always_inline void leave_trees(__u32 tid)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u32 number = current_process();

	if (!BPF_CORE_READ(task, signal, live.counter))
		bpf_map_delete_elem(&trees, &number);
	if (!tasks_pidns && tid != number)
		bpf_map_delete_elem(&trees, &tid);
}

#endif
