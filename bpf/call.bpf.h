/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What one program of a call leaves with the thread for the next one. No other
 * thread touches it, so plain loads and stores will do.
 */
#ifndef FLOWTOP_CALL_BPF_H
#define FLOWTOP_CALL_BPF_H

static __always_inline struct call_ctx *cell_of(__u32 tid)
{
	return &thread_cells[tid & (FLOWTOP_CELLS - 1)];
}

static __always_inline __u32 cell_key(__u32 tid)
{
	return FLOWTOP_CELL_TAKEN | (tid & (FLOWTOP_CELLS - 1));
}

/* Returns the call of a thread whose cell is another thread's; NULL if it has
 * none yet. Not inlined, as few threads come here. */
static __noinline struct call_ctx *call_beside(__u32 tid)
{
	return bpf_map_lookup_elem(&thread_calls, &tid);
}

/* Returns the thread's call, open or not; NULL if it has none yet. */
static __always_inline struct call_ctx *call_of(__u32 tid)
{
	struct call_ctx *call = cell_of(tid);

	if (call->tid == tid)
		return call;
	return call_beside(tid);
}

/* Gives the thread its cell, or if that is another's an entry of its own. The
 * insert decides between two that want one cell. */
static __always_inline void enter_thread(__u32 tid)
{
	struct call_ctx fresh = { .tid = tid }, *cell = cell_of(tid);
	__u32 key = cell_key(tid);

	if (!bpf_map_update_elem(&thread_calls, &key, &fresh, BPF_NOEXIST))
		cell->tid = tid;
	else
		bpf_map_update_elem(&thread_calls, &tid, &fresh, BPF_NOEXIST);
}

/* The key of a thread's call that is number `depth` from outside. */
static __always_inline __u32 outer_key(__u32 tid, __u32 depth)
{
	return depth << OUTER_SHIFT | tid;
}

/* Few threads have had one call inside another, fewer still two. */
static __always_inline void forget_outer(__u32 tid)
{
	for (__u32 depth = 1; depth < MAX_DEPTH; depth++) {
		__u32 key = outer_key(tid, depth);

		if (bpf_map_delete_elem(&outer_calls, &key))
			break;
	}
}

/* A thread that ends leaves nothing behind. If this is skipped, the next one
 * of its number has what it had. */
SEC("raw_tp/sched_process_exit")
int end_thread(void *ctx)
{
	__u32 tid = current_tid(), key = tid;
	struct call_ctx *cell = cell_of(tid);

	if (cell->tid == tid) {
		cell->tid = 0;
		cell->state = 0;
		key = cell_key(tid);
	}
	bpf_map_delete_elem(&thread_calls, &key);
	forget_outer(tid);
	if (nr_trees)
		leave_trees(tid);
	return 0;
}

/* Finds the call of a thread that has no cell, or enters the thread; NULL,
 * counted as missed, if there is no room. */
static __noinline struct call_ctx *call_or_new(__u32 tid)
{
	struct call_ctx *call = bpf_map_lookup_elem(&thread_calls, &tid);

	if (call)
		return call;
	enter_thread(tid);
	call = cell_of(tid);
	if (call->tid == tid)
		return call;
	call = bpf_map_lookup_elem(&thread_calls, &tid);
	if (!call)
		__sync_fetch_and_add(&missed_calls, 1);
	return call;
}

static __always_inline struct call_ctx *own_call(void)
{
	__u32 tid = current_tid();
	struct call_ctx *call = cell_of(tid);

	if (call->tid == tid)
		return call;
	return call_or_new(tid);
}

/* The state of a call that is the only one of its thread, and takes what it
 * returns. */
static __always_inline __u32 sole_call(__u8 opener)
{
	return CALL_STATE(1, opener, 0);
}

/* Forgets what an earlier call knew of a peer: of its address only that it is
 * one. Words are stored, as clang splits a span of small fields by their
 * alignment. */
static __always_inline void forget_peer(struct peer *peer)
{
	peer->name = 0;
	peer->known = 0;
	peer->link = 0;
}

/* Opens a call that the tracepoint or another trampoline ends, whatever became
 * of an earlier one; NULL, counted as missed, if there is no room. */
static __always_inline struct call_ctx *open_call(__u64 sk)
{
	struct call_ctx *call = own_call();

	if (!call)
		return NULL;
	call->state = sole_call(OPENED_BY_PEER);
	call->sk = sk;
	forget_peer(&call->peer);
	return call;
}

/* Gives the thread's place to the outer call, and the outer call's place to the
 * one that was in it, which the caller may still read. */
static __noinline struct call_ctx *swap_calls(struct call_ctx *call)
{
	__u32 key = outer_key(call->tid, call->depth - 1);
	struct call_ctx *outer = bpf_map_lookup_elem(&outer_calls, &key);
	struct call_ctx inner = *call;

	if (!outer) {
		call->state = 0;
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
static __noinline int enter_inside(struct call_ctx *call, __u8 opener, __u64 sk,
				   __u64 sp)
{
	for (int i = 0; i < MAX_DEPTH && call->depth && sp >= call->sp; i++) {
		if (call->depth > 1)
			swap_calls(call);
		else
			call->state = 0;
	}
	if (!call->depth) {
		call->state = sole_call(opener);
		return 1;
	}
	if (call->sk != sk) {
		__u32 key = outer_key(call->tid, call->depth);

		if (call->depth >= MAX_DEPTH ||
		    bpf_map_update_elem(&outer_calls, &key, call, BPF_ANY)) {
			call->uncarried++;
			__sync_fetch_and_add(&missed_calls, 1);
			return 0;
		}
		call->depth++;
	}
	call->state = CALL_STATE(call->depth, opener, 0);
	return 1;
}

/* Opens a call at the entry of a function that a call of another socket may be
 * around: the outer call goes on when this one is closed. `ctx` is read late:
 * the stack pointer would else be spilled. */
static __always_inline struct call_ctx *enter_call(struct pt_regs *ctx,
						   __u8 opener, __u64 sk)
{
	struct call_ctx *call = own_call();

	if (!call)
		return NULL;
	if (!call->depth)
		call->state = sole_call(opener);
	else if (!enter_inside(call, opener, sk, PT_REGS_SP(ctx)))
		return NULL;
	call->sk = sk;
	call->sp = PT_REGS_SP(ctx);
	forget_peer(&call->peer);
	return call;
}

/* Returns the thread's call if one is under way, else NULL. */
static __always_inline struct call_ctx *current_call(void)
{
	struct call_ctx *call = call_of(current_tid());

	return call && call->depth ? call : NULL;
}

/* Closes a call that is not the only one, that only peeks, or that another
 * function opened; NULL if nothing is to be counted at its return. */
static __noinline struct call_ctx *close_other(struct call_ctx *call,
					       __u8 opener)
{
	if (call->uncarried) {
		call->uncarried--;
		return NULL;
	}
	if (!call->depth || call->opener != opener)
		return NULL;
	if (call->depth > 1)
		call = swap_calls(call);
	else
		call->depth = 0;
	return call && !call->peeks ? call : NULL;
}

static __always_inline struct call_ctx *close(struct call_ctx *call,
					      __u8 opener)
{
	if (call->state != sole_call(opener))
		return close_other(call, opener);
	call->state = 0;
	return call;
}

/*
 * Closes the thread's call at the return of what opened it; NULL if that is not
 * the one under way, or if what it returns is not taken. What the call holds
 * stays until the next one is opened.
 */
static __always_inline struct call_ctx *close_call(__u8 opener)
{
	struct call_ctx *call = call_of(current_tid());

	return call ? close(call, opener) : NULL;
}

/* Closes the thread's call if it is one of a datagram of this socket, and
 * returns it, else NULL. */
static __always_inline struct call_ctx *close_datagram(const void *sk)
{
	struct call_ctx *call = call_of(current_tid());

	return call && call->sk == (__u64)sk ? close(call, OPENED_BY_PEER)
					     : NULL;
}

#endif
