/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What one program of a call leaves with the thread for the next one. No other
 * thread touches it, so plain loads and stores will do.
 */
#ifndef FLOWTOP_CALL_BPF_H
#define FLOWTOP_CALL_BPF_H

static __always_inline struct call *cell_of(__u32 tid)
{
	__u32 index = tid & (FLOWTOP_CELLS - 1);

	return bpf_map_lookup_elem(&cells, &index);
}

static __always_inline __u32 cell_key(__u32 tid)
{
	return FLOWTOP_CELL_TAKEN | (tid & (FLOWTOP_CELLS - 1));
}

/* The thread's own; NULL if it has none yet. */
static __always_inline struct call *call_of(__u32 tid)
{
	struct call *call = cell_of(tid);

	if (call && call->tid == tid)
		return call;
	return bpf_map_lookup_elem(&calls, &tid);
}

/* Gives the thread its cell, or if that is another's an entry of its own. The
 * insert decides between two that want one cell. */
static __noinline int enter_thread(__u32 tid)
{
	struct call fresh = { .tid = tid }, *cell = cell_of(tid);
	__u32 key = cell_key(tid);

	if (!cell)
		return 0;
	if (!bpf_map_update_elem(&calls, &key, &fresh, BPF_NOEXIST))
		cell->tid = tid;
	else
		bpf_map_update_elem(&calls, &tid, &fresh, BPF_NOEXIST);
	return 0;
}

/* A thread that ends leaves nothing behind. If this is skipped, the next one
 * of its number has what it had. */
SEC("raw_tp/sched_process_exit")
int end_thread(void *ctx)
{
	__u32 tid = current_tid(), key = tid;
	struct call *cell = cell_of(tid);

	if (cell && cell->tid == tid) {
		cell->tid = 0;
		key = cell_key(tid);
	}
	bpf_map_delete_elem(&calls, &key);
	return 0;
}

/* Opens a call of the thread, whatever became of an earlier one; NULL, counted
 * as missed, if there is no room. Of the peer only the family is cleared: the
 * rest means nothing without. */
static __always_inline struct call *open_call(__u32 tid, __u64 sk)
{
	struct call *call = call_of(tid);

	if (!call) {
		enter_thread(tid);
		call = call_of(tid);
	}
	if (!call) {
		__sync_fetch_and_add(&missed_calls, 1);
		return NULL;
	}
	call->sk = sk;
	call->gso_size = 0;
	call->family = 0;
	call->continues = 0;
	call->under_way = 1;
	return call;
}

/* The thread's call if one is under way, else NULL. */
static __always_inline struct call *current_call(void)
{
	struct call *call = call_of(current_tid());

	return call && call->under_way ? call : NULL;
}

/* The same, and it is under way no more; what it holds stays until the next is
 * opened. */
static __always_inline struct call *close_call(void)
{
	struct call *call = current_call();

	if (call)
		call->under_way = 0;
	return call;
}

#endif
