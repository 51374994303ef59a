/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Maps, counters and read-only configuration: each with who writes it, who
 * reads it, and why it is of this type and size. */
#ifndef FLOWTOP_MAPS_BPF_H
#define FLOWTOP_MAPS_BPF_H

/*
 * The double buffer. Programs add to the active one; user space flips, waits
 * for running programs, then drains the other.
 *
 * HASH, shared by all CPUs, with atomic adds: memory, a new flow and the drain
 * do not grow with the number of CPUs, as those of PERCPU_HASH do. What CPUs
 * that share a flow or a cache line would cost each other, the rows in front of
 * it take away. Preallocated (never BPF_F_NO_PREALLOC): an insert in a socket
 * call must not allocate. Never LRU: it evicts silently, and what is evicted is
 * lost. One for each family, because hashing and comparing 48 bytes instead of
 * 24 is the dearest part of an event. Size: --max-flows each; see map_bytes()
 * in src/kernel/explain.rs for the memory.
 */
struct flow4_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flowtop_key4);
	__type(value, struct flowtop_slot);
} flows4_a SEC(".maps"), flows4_b SEC(".maps");

struct flow6_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flowtop_key6);
	__type(value, struct flowtop_slot);
} flows6_a SEC(".maps"), flows6_b SEC(".maps");

/*
 * The first level in front of those maps: an entry a CPU that is possible,
 * which that CPU alone writes; see rows.bpf.h. An array and no per-CPU map:
 * user space maps it and reads and clears plain memory, and the look-up of an
 * array's element is inlined by every kernel, with nothing to call.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32); /* CPU */
	__type(value, struct flowtop_rows);
} rows SEC(".maps");

/*
 * Who moves bytes: one entry a process, or a thread where those are told
 * apart. Buffered like the flows so that an entry is never older than its
 * interval. Written once per process and interval, hence shared, not per CPU.
 * A process that finds it full is still counted under its tgid; only what is
 * known of it is left to /proc.
 */
struct owner_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32); /* as flowtop_slot.owner */
	__type(value, struct flowtop_owner);
} owners_a SEC(".maps"), owners_b SEC(".maps");

/*
 * Bytes of flows without a slot of their own, summed by process, protocol and
 * family: so they keep their process. Buffered and preallocated like the flows.
 * A process has at most two entries for each protocol.
 */
struct overflow_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FLOWTOP_OVERFLOW_ENTRIES);
	__type(key, __u32); /* as flowtop_id.owner_kind, with the tgid and
			       OVERFLOW */
	__type(value, struct flowtop_slot);
} overflow_a SEC(".maps"), overflow_b SEC(".maps");

/* The names of their cgroups, in the same way. A cgroup can be gone before
 * anyone looks for it by its number. */
struct cgroup_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64); /* number of the kernfs node */
	__type(value, struct flowtop_cgroup);
} cgroups_a SEC(".maps"), cgroups_b SEC(".maps");

/*
 * The grace period of fentry. User space updates the slot after a flip: the
 * kernel returns from that only when every program that may have read the old
 * flag has ended (maybe_wait_bpf_programs(), 1ae80cf31938, v4.18). Nothing
 * reads the slot, and what it holds is as small as a map can be. The other
 * backends have a better way: see src/kernel/buffers.rs.
 */
struct grace_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} grace_slot SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct grace_map);
} grace SEC(".maps"); /* empty: filling it at load would wait as well */

/*
 * Where the drain writes what it took out of the retired buffer. Mapped by
 * user space, which so reads plain memory: a bpf() look-up would make kprobe
 * and tracepoint programs on its CPU skip events (bpf_prog_active).
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct flowtop_record);
} records SEC(".maps");

/* Sockets that user space wants to be read: only `key` and `sk` are written
 * there, the rest by inspect_records. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FLOWTOP_SAMPLES);
	__type(key, __u32);
	__type(value, struct flowtop_record);
} inspected SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct flowtop_owner_record);
} owner_records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct flowtop_cgroup_record);
} cgroup_records SEC(".maps");

/*
 * Answers of name servers: a struct flowtop_answer and its bytes each. A ring
 * buffer (v5.8), because an entry is as long as it has to be, and because none
 * is written twice at once, which an index in an array would need atomics of
 * v5.12 for. User space reads it once an interval, so no entry wakes anyone.
 * Its size where it is used: ANSWER_BYTES in src/kernel/answers.rs.
 */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} answers SEC(".maps");

/* What is known of a datagram beside its bytes. */
struct peer {
	union {
		/* Address of the name it is sent to; 0: that is in `addr` */
		__u64 name;
		/* OPENED_BY_ZEROCOPY: address of the call's own argument */
		__u64 zerocopy;
	};
	__be32 addr[4]; /* where it is sent to, or came from */
	union {
		struct {
			__be16 port;
			/* Bytes a segment that is sent; 0: not segmented */
			__u16 gso_size;
			/* Datagrams received; 0: not known */
			__u16 segments;
			/* Of `addr`; 0: the peer is the one that the socket is
			 * connected to */
			__u8 family;
			/* Part of a datagram that an earlier call began */
			__u8 continues;
		};
		__u64 known; /* all of these, to clear them by one store */
	};
	union {
		__u32 ifindex; /* of the peer's link; 0: none */
		__u64 link;
	};
};

/*
 * Carried from a function's entry to its return, or to the tracepoint. It is
 * valid for `sk` only: one that was left behind is never taken for another
 * socket's. On a cache line of its own, for threads have consecutive numbers.
 */
struct call_ctx {
	__u64 sk; /* address of the struct sock */
	__u64 sp; /* stack pointer at the entry, where it was entered */
	struct peer peer;
	union {
		struct {
			__u8 depth;  /* calls under way; 0: closed */
			__u8 opener; /* OPENED_BY_*: its return closes the call
				      */
			__u8 peeks;  /* what the call returns is not taken */
			/* Calls inside it that found no room: their returns
			 * close nothing */
			__u8 uncarried;
		};
		__u32 state; /* CALL_STATE() */
	};
	__u32 tid; /* whose it is */
};

/* The state of a call inside which no uncarried one is, as one word, to compare
 * and store the fields at once; every supported architecture is little-endian.
 */
#define CALL_STATE(depth, opener, peeks) \
	((depth) | (opener) << 8 | (peeks) << 16)

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "CALL_STATE() has the first field in the lowest byte");

_Static_assert(sizeof(struct call_ctx) == 64, "a call has a cache line");

#define OPENED_BY_SOCKET 0 /* sendmsg, recvmsg */
#define OPENED_BY_PEER \
	1 /* what knows a datagram's peer; the tracepoint ends it */
#define OPENED_BY_SPLICE 2
#define OPENED_BY_ZEROCOPY 3
#define OPENED_BY_SENDPAGE 4
#define OPENED_BY_UDP_SENDPAGE 5

/*
 * Calls of one thread that are carried at once, each inside the one before: as
 * many as there can be. Inside a call only memory leads to another one: a page
 * fault at the caller's buffer, or reclaim for an allocation. The outermost
 * call may do both, and enter a file system (__GFP_FS); what that sends
 * (cifs: GFP_NOFS, from kernel memory, which does not fault) may reclaim by
 * block I/O alone, such as swap; what a block device sends (nbd, iSCSI,
 * NVMe/TCP: GFP_NOIO or GFP_ATOMIC, from kernel memory) leads to none. Signal
 * handlers and the task work of io_uring run after the call has returned, and
 * no BPF program can move a socket's bytes. A deeper call is counted as missed.
 */
#define MAX_DEPTH 3

/*
 * Where a call is carried: in the cell that its thread's number leads to. A
 * variable rather than a map, so that an event calculates an address instead
 * of looking one up. Not per CPU: threads move between CPUs in the middle of a
 * call. Not BPF_MAP_TYPE_TASK_STORAGE: that came with v5.11, is looked up by a
 * call that no kernel inlines, and allocates in a socket call. Static: libbpf
 * maps what is not into user space, where 1 MiB would count as resident.
 */
static struct call_ctx
	thread_cells[FLOWTOP_CELLS] SEC(".bss.cells"); /* by tid */

/*
 * Who has which cell, and the calls of threads that found theirs taken. A
 * thread is entered at its first call and removed when it ends: so calls do not
 * change the map, and only a thread itself ever touches what is its own.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, __u32); /* tid, or FLOWTOP_CELL_TAKEN | number of a cell */
	__type(value, struct call_ctx);
} thread_calls SEC(".maps");

/* Calls inside of which another one is under way. */
#define OUTER_SHIFT 22 /* above a tid (PID_MAX_LIMIT) */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32); /* depth from outside << OUTER_SHIFT | tid */
	__type(value, struct call_ctx);
} outer_calls SEC(".maps");

/*
 * Processes that descend from a root of the filter, each with the bits of its
 * roots. Programs enter a process when it is made and remove it when it ends;
 * user space enters those that are there at the start. Its size where it is
 * used: MAX_PROCESSES in src/kernel/trees.rs.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32); /* tgid, in `tasks_pidns` */
	__type(value, __u32);
} trees SEC(".maps");

/* All that is in .bss begins a cache line, so that whatever the order in which
 * clang lays it out, nothing that is written often shares one with `active`.
 */
#define CACHE_LINE __attribute__((aligned(64)))

/* Which buffer is active: 0 = a, 1 = b. User space writes, every event reads.
 */
volatile __u32 active CACHE_LINE;

/*
 * What each buffer holds. Programs write, user space clears what it has
 * drained, and walks no map that nothing was put into.
 */
struct held_entries {
	/* Slots taken in the flow maps of IPv4 and IPv6 */
	__u32 flows[2][2];
	/* Not 0: owners and cgroups have an entry, overflow has one */
	__u32 owners[2];
	__u32 overflow[2];
	__u32 pad[8];
} held CACHE_LINE;

/* Bytes and messages of flows that found no room in `overflow` either.
 * Cumulative since load and read as differences, so it needs no flip. */
struct untracked_slot {
	struct flowtop_stats stats;
	__u64 pad[4]; /* one cache line a slot */
} untracked[FLOWTOP_UNTRACKED_SLOTS] CACHE_LINE;

/* Calls that could not be carried, because `thread_calls` was full or they were
 * too deep inside of each other. Cumulative. */
__u64 missed_calls CACHE_LINE;

/* Answers of name servers that found `answers` full. Cumulative. */
__u64 lost_answers CACHE_LINE;

/* Unused by programs. */
const volatile struct flowtop_constants constants;

/* Read-only: the verifier knows the values and drops what they rule out, so a
 * filter that is not set costs nothing. What they mean:
 * src/filter/kernel_filter.rs.
 */
const volatile __u32 protocols; /* 1 << flowtop_protocol each; 0: all */
/* FLOWTOP_FAMILY_* each; 0: all */
const volatile __u32 families;
const volatile __u32 nr_tgids;
const volatile __u32 nr_tids;
const volatile __u32 tgids[FLOWTOP_MAX_TASKS];
const volatile __u32 tids[FLOWTOP_MAX_TASKS];
const volatile __u32 tasks_except;
/* Inode of the pid namespace that the numbers of tasks are of; 0: the initial
 * one. */
const volatile __u32 tasks_pidns;
/* Roots of trees; 0: nobody looks for descendants. */
const volatile __u32 nr_trees;
/* Bits of roots, of which the caller must descend from one; 0: all pass */
const volatile __u32 trees_selected;
const volatile __u32 trees_except;
const volatile __u32 nr_uids;
const volatile __u32 uids[FLOWTOP_MAX_UIDS];
const volatile __u32 uids_except;
const volatile __u32 nr_netns;
const volatile __u32 netns[FLOWTOP_MAX_NETNS];
const volatile __u32 netns_except;
const volatile struct flowtop_port_choice local_ports;
const volatile struct flowtop_port_choice remote_ports;
const volatile struct flowtop_port_choice any_ports;
const volatile struct flowtop_net_choice local_nets;
const volatile struct flowtop_net_choice remote_nets;
const volatile struct flowtop_net_choice any_nets;
/* Whether protocol, tasks or users are among what is set: one test where they
 * are not, instead of four. */
const volatile bool filters_calls;
/* Whether family, namespaces, ports or networks are. */
const volatile bool filters_flows;

/* Slots of each flow map: --max-flows. */
const volatile __u32 max_flows;

/* Threads are told apart, and so are their flows. */
const volatile bool split_threads;

/* What a slot and an owner are made of before they are filled in. */
const struct flowtop_slot no_slot = {};
const struct flowtop_owner no_owner = {};

/* What a cgroup's entry is made of before its names are filled in. */
const struct flowtop_cgroup no_cgroup = {};

/* Rows may be used: where it is false the verifier drops what uses them. */
const volatile bool has_rows;

/* Answers of name servers are read. */
const volatile bool reads_answers;

/* This kernel has bpf_rdonly_cast(): see CALL_TRUSTED(). */
const volatile bool has_rdonly_cast;

/* kprobe: a call is opened at its entry, so that what is known of a datagram
 * is added to it. Otherwise whoever knows of one opens a call. */
const volatile bool opens_at_entry;

#endif
