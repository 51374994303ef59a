/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Which processes descend from the roots that a filter names (`tree PID`). A
 * process inherits its parent's bits before it runs for the first time
 * (kernel_clone() wakes it after sched_process_fork), so its first byte has
 * them, and it keeps them when its parent ends. Without such a filter none of
 * this is loaded.
 */
#ifndef FLOWTOP_TREE_BPF_H
#define FLOWTOP_TREE_BPF_H

#define MAX_PID_NS_LEVEL 32 /* include/linux/pid_namespace.h */

/*
 * The number of a thread in the pid namespace that the filter's numbers are of;
 * 0: it has none there. A thread has one in its own pid namespace and in each
 * above that, so the search goes up from its own.
 */
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

/* The number that the current process has in `trees`. */
static __always_inline __u32 current_process(void)
{
	struct task_struct *task;

	if (!tasks_pidns)
		return current_tgid();
	task = (void *)bpf_get_current_task();
	return number_in_pidns(BPF_CORE_READ(task, group_leader));
}

/* The roots that the current process descends from, or is. */
static __always_inline __u32 current_trees(void)
{
	__u32 number = current_process();
	__u32 *roots = bpf_map_lookup_elem(&trees, &number);

	return roots ? *roots : 0;
}

/*
 * A number of another process's may have been used before, where its end was
 * not seen: so a child of nobody's is taken out. What finds `trees` full is
 * counted as missed.
 */
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

	/* A thread is its process's. */
	if (BPF_CORE_READ(child, pid) != tgid)
		return 0;
	inherit_trees(tasks_pidns ? number_in_pidns(child) : tgid);
	return 0;
}

/* Where tasks can be preempted in raw tracepoints, which then skip the forks of
 * others. It knows the child by its number alone: threads are entered too. */
SEC("tp/sched/sched_process_fork")
int tp_fork(struct trace_event_raw_sched_process_fork *ctx)
{
	inherit_trees(ctx->child_pid);
	return 0;
}

/* A process leaves with its last thread (do_exit() counts it out before
 * sched_process_exit), and a thread that tp_fork() has entered with itself. */
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
