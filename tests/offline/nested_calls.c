// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Runs bpf/call.bpf.h as a plain program: threads whose calls are inside each
 * other, with returns that are missed and a map that is full.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdbool.h>

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef int __s32;
typedef __u16 __be16;
typedef __u32 __be32;

#define SEC(name)
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name
#define __array(name, value) typeof(value) *name[]
#define BPF_ANY 0
#define BPF_NOEXIST 1
enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY,
	BPF_MAP_TYPE_ARRAY_OF_MAPS,
	BPF_MAP_TYPE_RINGBUF
};
enum { BPF_F_MMAPABLE = 1 << 10 };

struct pt_regs {
	__u64 sp;
};
#define PT_REGS_SP(ctx) ((ctx)->sp)

#include "flowtop.h"
#include "maps.bpf.h"

/* Both maps of calls are one list here: its entries say which map they are of. */
static struct {
	void *map;
	__u32 key;
	struct call_ctx value;
} entries[64];
static int room = 64;

static struct call_ctx *find(void *map, __u32 key)
{
	for (int i = 0; i < 64; i++)
		if (entries[i].map == map && entries[i].key == key)
			return &entries[i].value;
	return NULL;
}

static void *bpf_map_lookup_elem(void *map, const void *key)
{
	return find(map, *(const __u32 *)key);
}

static long bpf_map_update_elem(void *map, const void *key, const void *value,
				__u64 flags)
{
	struct call_ctx *found = find(map, *(const __u32 *)key);

	if (found && flags == BPF_NOEXIST)
		return -17;
	for (int i = 0; !found && i < room; i++) {
		if (!entries[i].map) {
			entries[i].map = map;
			entries[i].key = *(const __u32 *)key;
			found = &entries[i].value;
		}
	}
	if (!found)
		return -7;
	memcpy(found, value, sizeof(*found));
	return 0;
}

static long bpf_map_delete_elem(void *map, const void *key)
{
	for (int i = 0; i < 64; i++) {
		if (entries[i].map == map &&
		    entries[i].key == *(const __u32 *)key) {
			entries[i].map = NULL;
			return 0;
		}
	}
	return -2;
}

static __u32 tid;

static __u32 current_tid(void)
{
	return tid;
}

static void leave_trees(__u32 left)
{
}

#include "call.bpf.h"

#define CHECK(condition)                                               \
	do {                                                           \
		if (!(condition)) {                                    \
			printf("%s:%d: %s\n", __func__, __LINE__, #condition); \
			exit(1);                                       \
		}                                                      \
	} while (0)

#define SOCKET(n) (0xffff000000000000 + (n))
#define STACK 1000

/* The call number `depth` from outside, whose frame is the lower the deeper. */
static bool enter(__u64 depth)
{
	struct pt_regs regs = { .sp = STACK - 10 * depth };

	return enter_call(&regs, OPENED_BY_SOCKET, SOCKET(depth)) != NULL;
}

/* Socket of the call that returns; 0: its bytes are not counted. */
static __u64 leave(void)
{
	struct call_ctx *call = close_call(OPENED_BY_SOCKET);

	return call ? call->sk : 0;
}

static void begin(__u32 thread)
{
	tid = thread;
	missed_calls = 0;
}

static void calls_as_deep_as_there_can_be_are_all_counted(void)
{
	begin(7);
	for (int round = 0; round < 3; round++) {
		for (__u64 depth = 1; depth <= MAX_DEPTH; depth++)
			CHECK(enter(depth));
		for (__u64 depth = MAX_DEPTH; depth >= 1; depth--)
			CHECK(leave() == SOCKET(depth));
		/* One after the other inside of a third one. */
		CHECK(enter(1));
		for (int i = 0; i < 3; i++) {
			CHECK(enter(2));
			CHECK(leave() == SOCKET(2));
		}
		CHECK(leave() == SOCKET(1));
	}
	CHECK(leave() == 0);
	CHECK(missed_calls == 0);
}

static void a_deeper_call_is_missed_and_costs_no_other_its_bytes(void)
{
	begin(8);
	for (__u64 depth = 1; depth <= MAX_DEPTH + 2; depth++)
		CHECK(enter(depth) == (depth <= MAX_DEPTH));
	CHECK(missed_calls == 2);
	CHECK(leave() == 0);
	CHECK(leave() == 0);
	for (__u64 depth = MAX_DEPTH; depth >= 1; depth--)
		CHECK(leave() == SOCKET(depth));
	CHECK(missed_calls == 2);
}

static void a_call_without_room_is_missed_and_costs_no_other_its_bytes(void)
{
	begin(9);
	CHECK(enter(1));
	room = 0;
	CHECK(!enter(2));
	CHECK(missed_calls == 1);
	CHECK(leave() == 0);
	CHECK(leave() == SOCKET(1));
	room = 64;
}

static void a_missed_return_costs_no_later_call_its_bytes(void)
{
	begin(10);
	for (__u64 missed = 1; missed <= MAX_DEPTH + 1; missed++) {
		/* So many calls return, and nobody sees it. */
		for (__u64 depth = 1; depth <= missed; depth++)
			enter(depth);
		CHECK(enter(1));
		CHECK(enter(2));
		CHECK(leave() == SOCKET(2));
		CHECK(leave() == SOCKET(1));
		CHECK(leave() == 0);
	}
}

static void a_peek_counts_nothing_after_a_missed_return(void)
{
	struct pt_regs regs = { .sp = STACK };
	struct call_ctx *call;

	begin(11);
	CHECK(enter(0));
	call = enter_call(&regs, OPENED_BY_SOCKET, SOCKET(1));
	CHECK(call);
	call->peeks = 1;
	CHECK(leave() == 0);
	CHECK(leave() == 0);
}

static void a_thread_leaves_nothing_behind(void)
{
	/* The second finds the cell of the first. */
	__u32 threads[] = { 12, 12 + FLOWTOP_CELLS };

	memset(entries, 0, sizeof(entries));
	for (int i = 0; i < 2; i++) {
		begin(threads[i]);
		for (__u64 depth = 1; depth <= MAX_DEPTH; depth++)
			CHECK(enter(depth));
	}
	for (int i = 0; i < 2; i++) {
		begin(threads[i]);
		end_thread(NULL);
	}
	for (int i = 0; i < 64; i++)
		CHECK(!entries[i].map);
	begin(12);
	CHECK(leave() == 0);
}

int main(void)
{
	calls_as_deep_as_there_can_be_are_all_counted();
	a_deeper_call_is_missed_and_costs_no_other_its_bytes();
	a_call_without_room_is_missed_and_costs_no_other_its_bytes();
	a_missed_return_costs_no_later_call_its_bytes();
	a_peek_counts_nothing_after_a_missed_return();
	a_thread_leaves_nothing_behind();
	return 0;
}
