/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Socket calls under way, one record per thread: a program at the entry of a
 * call fills it in, a later program of that call reads it. Only the thread
 * itself accesses its record, so plain loads and stores suffice. */
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

/* Returns the call of a thread whose cell another thread holds; NULL if the
 * thread has none yet. Not inlined: called for few threads. */
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

/* Assigns a thread its cell, or an entry of its own if another thread holds the
 * cell. The insert decides between two threads that want one cell. */
static __always_inline void enter_thread(__u32 tid)
{
	struct call_ctx fresh = { .tid = tid }, *cell = cell_of(tid);
	__u32 key = cell_key(tid);

	if (!bpf_map_update_elem(&thread_calls, &key, &fresh, BPF_NOEXIST))
		cell->tid = tid;
	else
		bpf_map_update_elem(&thread_calls, &tid, &fresh, BPF_NOEXIST);
}

/* Returns the key of a thread's outer call at nesting level `depth`; 1 is the
 * outermost. */
static __always_inline __u32 outer_key(__u32 tid, __u32 depth)
{
	return depth << OUTER_SHIFT | tid;
}

/* Removes the outer calls of a thread. The loop ends at the first level without
 * one: few threads ever nest calls. */
static __always_inline void forget_outer(__u32 tid)
{
	for (__u32 depth = 1; depth < MAX_DEPTH; depth++) {
		__u32 key = outer_key(tid, depth);

		if (bpf_map_delete_elem(&outer_calls, &key))
			break;
	}
}

/* Removes the state of a thread that ends. If this program is skipped, the next
 * thread with this TID inherits that state. */
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

/* Returns the call of a thread without a cell, or enters the thread first;
 * returns NULL, counted as missed, if the map is full. */
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

/* Returns the state of a call that is not nested and consumes the bytes it
 * returns. */
static __always_inline __u32 sole_call(__u8 opener)
{
	return CALL_STATE(1, opener, 0);
}

/* Clears the peer of an earlier call. `addr` stays: it is read only if `family`
 * is set. Whole words are stored, as clang would split a range of small fields
 * by their alignment. */
static __always_inline void forget_peer(struct peer *peer)
{
	peer->name = 0;
	peer->known = 0;
	peer->link = 0;
}

/* Opens a call that the tracepoint or another trampoline closes, and drops any
 * earlier call of the thread; returns NULL, counted as missed, if the map is
 * full. */
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

/* Makes the outer call the thread's current call, and moves the inner call to
 * the outer call's map entry, where the caller may still read it. Returns that
 * entry, or NULL if there is none. */
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
 * Opens a call of `sk` while another call of the thread is open; returns 0 if
 * the new call cannot be carried. `sp` is the stack pointer at the new call's
 * entry. The stack grows down, so an open call whose stack pointer is not above
 * `sp` has ended and its return was missed. An open call of the same socket is
 * the same call, passed on to another function.
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

/* Opens a call at the entry of a function that may run inside a call of another
 * socket; the outer call continues when this one closes. `ctx` is read late, as
 * clang would otherwise spill the stack pointer. */
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

/* Returns the current thread's open call, or NULL. */
static __always_inline struct call_ctx *current_call(void)
{
	struct call_ctx *call = call_of(current_tid());

	return call && call->depth ? call : NULL;
}

/* Closes a call that is nested, only peeks, or was opened by another function;
 * returns NULL if its return value is not to be counted. */
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

/* Closes the thread's call at the return of the function that opened it.
 * Returns NULL if another function opened the current call, or if the call only
 * peeks. The fields of the closed call stay readable until the next call opens.
 */
static __always_inline struct call_ctx *close_call(__u8 opener)
{
	struct call_ctx *call = call_of(current_tid());

	return call ? close(call, opener) : NULL;
}

/* Closes and returns the thread's call if it belongs to a datagram of this
 * socket; otherwise returns NULL. */
static __always_inline struct call_ctx *close_datagram(const void *sk)
{
	struct call_ctx *call = call_of(current_tid());

	return call && call->sk == (__u64)sk ? close(call, OPENED_BY_PEER)
					     : NULL;
}

#endif
