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
		cell->depth = 0;
		key = cell_key(tid);
	}
	bpf_map_delete_elem(&calls, &key);
	bpf_map_delete_elem(&outer_calls, &tid);
	return 0;
}

static __always_inline struct call *cell_or_entry(__u32 tid)
{
	struct call *call = call_of(tid);

	if (!call) {
		enter_thread(tid);
		call = call_of(tid);
		if (!call)
			__sync_fetch_and_add(&missed_calls, 1);
	}
	return call;
}

/* Makes the thread's place a new call. Of the peer only the family is cleared:
 * the rest means nothing without. */
static __always_inline void begin(struct call *call, __u8 opener, __u64 sk)
{
	call->sk = sk;
	call->opener = opener;
	call->peeks = 0;
	call->peer.name = 0;
	call->peer.gso_size = 0;
	call->peer.segments = 0;
	call->peer.family = 0;
	call->peer.continues = 0;
	call->peer.ifindex = 0;
}

/* Opens a call that the tracepoint or another trampoline ends, whatever became
 * of an earlier one; NULL, counted as missed, if there is no room. */
static __always_inline struct call *open_call(__u64 sk)
{
	struct call *call = cell_or_entry(current_tid());

	if (!call)
		return NULL;
	begin(call, OPENED_BY_PEER, sk);
	call->depth = 1;
	return call;
}

/* Gives the thread's place to the outer call, and the outer call's place to the
 * one that was in it, which the caller may still read. */
static __noinline struct call *swap_calls(struct call *call)
{
	__u32 tid = call->tid;
	struct call *outer = bpf_map_lookup_elem(&outer_calls, &tid);
	struct call inner = *call;

	if (!outer) {
		call->depth = 0;
		return NULL;
	}
	*call = *outer;
	*outer = inner;
	return outer;
}

/*
 * Makes room for a call of `sk` whose entry has the stack pointer `sp`, where
 * another one is under way; 0 if there is none, the call then is not carried.
 * The stack grows down: a call that is not above the new one has ended without
 * its return being seen. One of the same socket is the same one, handed on.
 */
static __noinline int enter_inside(struct call *call, __u64 sk, __u64 sp)
{
	__u32 tid = call->tid;

	for (int i = 0; i < MAX_DEPTH && call->depth && sp >= call->sp; i++) {
		if (call->depth > 1)
			swap_calls(call);
		else
			call->depth = 0;
	}
	if (!call->depth) {
		call->depth = 1;
		return 1;
	}
	if (call->sk == sk)
		return 1;
	if (call->depth >= MAX_DEPTH ||
	    bpf_map_update_elem(&outer_calls, &tid, call, BPF_ANY)) {
		call->depth++;
		__sync_fetch_and_add(&missed_calls, 1);
		return 0;
	}
	call->depth++;
	return 1;
}

/*
 * The same at the entry of a function that a call of another socket may be
 * around: that one goes on when this one is closed.
 */
static __always_inline struct call *enter_call(__u8 opener, __u64 sk, __u64 sp)
{
	struct call *call = cell_or_entry(current_tid());

	if (!call)
		return NULL;
	if (!call->depth)
		call->depth = 1;
	else if (!enter_inside(call, sk, sp))
		return NULL;
	begin(call, opener, sk);
	call->sp = sp;
	return call;
}

/* The thread's call if one is under way, else NULL. */
static __always_inline struct call *current_call(void)
{
	struct call *call = call_of(current_tid());

	return call && call->depth ? call : NULL;
}

/* Closes a call that is inside of another one. */
static __noinline struct call *close_inner(struct call *call)
{
	if (call->depth == MAX_DEPTH)
		return swap_calls(call);
	call->depth--; /* it is too deep to be carried */
	return NULL;
}

/*
 * Closes the thread's call at the return of what opened it; NULL if that is not
 * the one under way. What the call holds stays until the next one is opened.
 */
static __always_inline struct call *close_call(__u8 opener)
{
	struct call *call = current_call();

	if (!call)
		return NULL;
	if (call->depth > 1)
		return call->opener == opener || call->depth > MAX_DEPTH
			       ? close_inner(call)
			       : NULL;
	if (call->opener != opener)
		return NULL;
	call->depth = 0;
	return call;
}

/* The same of what is known of a datagram, if it is of this socket. */
static __always_inline struct call *close_datagram(const void *sk)
{
	struct call *call = current_call();

	return call && call->sk == (__u64)sk ? close_call(OPENED_BY_PEER)
					     : NULL;
}

#endif
