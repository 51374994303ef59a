/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Maps, counters and read-only configuration: each with its writer, its reader,
 * and the reason for its type and size. */
#ifndef FLOWTOP_MAPS_BPF_H
#define FLOWTOP_MAPS_BPF_H

/*
 * The double buffer of flows. Programs add to the active buffer; user space
 * flips, waits for running programs, then drains the other buffer.
 *
 * HASH, shared by all CPUs, with atomic adds: memory and the costs of a new
 * flow and of the drain do not grow with the number of CPUs, as with
 * PERCPU_HASH. The rows in front of the maps avoid contention between CPUs that
 * share a flow or a cache line. Preallocated (never BPF_F_NO_PREALLOC): an
 * insert in a socket call must not allocate. Never LRU: it evicts silently, and
 * evicted bytes are lost. Each family has its own maps, because hashing and
 * comparing the key is the most expensive part of an event: 24 bytes, or 48 for
 * IPv6. Size: --max-flows each; see map_bytes() in src/kernel/map_memory.rs for
 * the memory.
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
 * Rows in front of the flow maps (rows.bpf.h): an entry per possible CPU,
 * written by that CPU alone. An array, not a per-CPU map: user space maps it
 * and reads and clears plain memory, and every kernel inlines the look-up of an
 * array's element.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32); /* CPU */
	__type(value, struct flowtop_rows);
} rows SEC(".maps");

/*
 * Owners of flows: one entry per process, or per thread if flows are split by
 * thread. Double-buffered like the flows, so that an entry is never older than
 * its interval. Written once per process and interval, hence shared, not per
 * CPU. A process that finds the map full is still counted under its TGID; user
 * space then reads its name from /proc.
 */
struct owner_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32); /* as flowtop_slot.owner */
	__type(value, struct flowtop_owner);
} owners_a SEC(".maps"), owners_b SEC(".maps");

/* Bytes of flows without a slot of their own, summed by process, protocol and
 * family, so that they keep their process. Double-buffered and preallocated
 * like the flows. A process has at most two entries per protocol. */
struct overflow_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FLOWTOP_OVERFLOW_ENTRIES);
	__type(key, __u32); /* flowtop_id.owner_kind with the TGID and
			       FLOWTOP_KEY_OVERFLOW */
	__type(value, struct flowtop_slot);
} overflow_a SEC(".maps"), overflow_b SEC(".maps");

/* Names of the owners' cgroups, double-buffered like the owners. They are saved
 * here because a cgroup can be removed before user space looks its number up.
 */
struct cgroup_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64); /* number of the kernfs node */
	__type(value, struct flowtop_cgroup);
} cgroups_a SEC(".maps"), cgroups_b SEC(".maps");

/*
 * The grace period of the fentry backend. User space updates the outer map
 * after a flip: the kernel returns from that update only when every program
 * that may have read the old flag has ended (maybe_wait_bpf_programs(),
 * 1ae80cf31938, v4.18). No program reads the slot, and the inner map has the
 * smallest possible size. src/kernel/buffers.rs has the grace periods of the
 * other backends.
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

/* Records that the drain moved out of the retired buffer. User space maps the
 * array and reads plain memory: a bpf() look-up would make kprobe and
 * tracepoint programs on its CPU skip events (bpf_prog_active). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct flowtop_record);
} records SEC(".maps");

/* Sockets for inspect_records to read: user space writes `key` and `sk`, the
 * program fills in the rest. */
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
 * DNS answers: each entry is a struct flowtop_answer and the answer's bytes. A
 * ring buffer (v5.8): entries vary in length, and reserving one cannot give two
 * programs the same entry, for which an index into an array would need atomics
 * of v5.12. User space reads the ring once an interval, so no entry wakes it.
 * Where answers are read, the size is ANSWER_BYTES in src/kernel/answers.rs.
 */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} answers SEC(".maps");

/* Peer and packets of one datagram. */
struct peer {
	union {
		/* Address of the sockaddr that the datagram is sent to; 0: the
		 * destination is in `addr` */
		__u64 name;
		/* OPENED_BY_ZEROCOPY: address of the call's struct
		 * tcp_zerocopy_receive */
		__u64 zerocopy;
	};
	__be32 addr[4]; /* destination or sender */
	union {
		struct {
			__be16 port;
			/* Bytes per segment of a send; 0: not segmented */
			__u16 gso_size;
			/* Datagrams received; 0: unknown */
			__u16 segments;
			/* Family of `addr`; 0: the peer is the one that the
			 * socket is connected to */
			__u8 family;
			/* Part of a corked datagram begun by an earlier call */
			__u8 continues;
		};
		__u64 known; /* the fields above, to clear them by one store */
	};
	union {
		__u32 ifindex; /* of the peer's link; 0: none */
		__u64 link;
	};
};

/*
 * State of one socket call, carried from a function's entry to its return, or
 * to the tracepoint. Valid for `sk` only: a stale call is never taken for
 * another socket's. Has a cache line of its own, as threads have consecutive
 * TIDs.
 */
struct call_ctx {
	__u64 sk; /* address of the struct sock */
	__u64 sp; /* stack pointer at the entry, set by enter_call() */
	struct peer peer;
	union {
		struct {
			__u8 depth;  /* nested calls that are open; 0: closed */
			__u8 opener; /* OPENED_BY_* */
			__u8 peeks;  /* the bytes returned are not counted */
			/* Nested calls that were not carried: their returns
			 * close nothing */
			__u8 uncarried;
		};
		__u32 state; /* CALL_STATE() */
	};
	__u32 tid; /* thread of the call */
};

/* Fields of call_ctx.state with `uncarried` 0, as one word, to compare and
 * store them at once; every supported architecture is little-endian. */
#define CALL_STATE(depth, opener, peeks) \
	((depth) | (opener) << 8 | (peeks) << 16)

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "CALL_STATE() has the first field in the lowest byte");

_Static_assert(sizeof(struct call_ctx) == 64, "a call has a cache line");

#define OPENED_BY_SOCKET 0 /* sendmsg, recvmsg */
/* Opened by the hook of a datagram's peer; the tracepoint closes it. */
#define OPENED_BY_PEER 1
#define OPENED_BY_SPLICE 2
#define OPENED_BY_ZEROCOPY 3
#define OPENED_BY_SENDPAGE 4
#define OPENED_BY_UDP_SENDPAGE 5

/*
 * Maximum number of nested calls of one thread that are carried: as many as can
 * occur. Inside a call, only memory management leads to another call: a page
 * fault at the caller's buffer, or reclaim for an allocation. The outermost
 * call may do both, and enter a file system (__GFP_FS). What a file system
 * sends (cifs: GFP_NOFS, from kernel memory, which does not fault) may reclaim
 * by block I/O alone, such as swap. What a block device sends (nbd, iSCSI,
 * NVMe/TCP: GFP_NOIO or GFP_ATOMIC, from kernel memory) leads to no further
 * call. Signal handlers and the task work of io_uring run after the call has
 * returned, and no BPF program can move a socket's bytes. A deeper call is
 * counted as missed.
 */
#define MAX_DEPTH 3

/*
 * Cells for the calls under way; a thread's TID selects its cell. A variable
 * rather than a map, so that an event calculates an address instead of looking
 * one up. Not per CPU: threads move between CPUs in the middle of a call. Not
 * BPF_MAP_TYPE_TASK_STORAGE: that came with v5.11, is looked up by a call that
 * no kernel inlines, and allocates in a socket call. Static: libbpf maps global
 * variables into user space, where 1 MiB would count as resident.
 */
static struct call_ctx thread_cells[FLOWTOP_CELLS] SEC(".bss.cells");

/*
 * Which cells are taken, and the calls of threads whose cell another thread
 * holds. A thread is entered at its first call and removed when it ends, so
 * that calls do not change the map, and only a thread itself accesses its
 * entry.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, __u32); /* tid, or FLOWTOP_CELL_TAKEN | number of a cell */
	__type(value, struct call_ctx);
} thread_calls SEC(".maps");

/* Outer calls: open calls with another call open inside them. */
#define OUTER_SHIFT 22 /* above a tid (PID_MAX_LIMIT) */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32); /* depth from outside << OUTER_SHIFT | tid */
	__type(value, struct call_ctx);
} outer_calls SEC(".maps");

/*
 * Processes that descend from a root of the filter, each with the bits of its
 * roots. Programs add a process at its fork and remove it at its exit; user
 * space adds those that exist at the start. Where a filter has trees, the size
 * is MAX_PROCESSES in src/kernel/trees.rs.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32); /* tgid, in `tasks_pidns` */
	__type(value, __u32);
} trees SEC(".maps");

/* Every variable in .bss begins a cache line: in whatever order clang lays them
 * out, none that is written often shares a line with `active`. */
#define CACHE_LINE __attribute__((aligned(64)))

/* The active buffer: 0 = a, 1 = b. User space writes, every event reads it. */
volatile __u32 active CACHE_LINE;

/* Contents of each buffer. Programs write it; user space clears it after a
 * drain, and skips maps that hold nothing. */
struct held_entries {
	/* Slots taken in the flow maps of IPv4 and IPv6 */
	__u32 flows[2][2];
	/* Not 0: `owners` and `cgroups`, or `overflow`, have entries */
	__u32 owners[2];
	__u32 overflow[2];
	__u32 pad[8];
} held CACHE_LINE;

/* Bytes and messages of flows that found no room in `overflow` either.
 * Cumulative since load; user space takes differences, so a double buffer is
 * not needed. */
struct untracked_slot {
	struct flowtop_stats stats;
	__u64 pad[4]; /* one cache line a slot */
} untracked[FLOWTOP_UNTRACKED_SLOTS] CACHE_LINE;

/* Calls that were not carried, because `thread_calls` was full or the nesting
 * too deep, and processes that found `trees` full. Cumulative. */
__u64 missed_calls CACHE_LINE;

/* DNS answers dropped because `answers` was full. Cumulative. */
__u64 lost_answers CACHE_LINE;

/* Not used by programs: see struct flowtop_constants. */
const volatile struct flowtop_constants constants;

/* The filter, read-only: the verifier knows the values and removes the code
 * they rule out, so a filter that is not set costs nothing.
 * src/filter/kernel_filter.rs explains the fields. */
const volatile __u32 protocols; /* bits 1 << flowtop_protocol; 0: all */
/* Bits FLOWTOP_FAMILY_*; 0: all */
const volatile __u32 families;
const volatile __u32 nr_tgids;
const volatile __u32 nr_tids;
const volatile __u32 tgids[FLOWTOP_MAX_TASKS];
const volatile __u32 tids[FLOWTOP_MAX_TASKS];
const volatile __u32 tasks_except;
/* Inode of the PID namespace of the filter's PIDs and TIDs; 0: the initial one.
 */
const volatile __u32 tasks_pidns;
/* Number of tree roots; 0: descendants are not tracked. */
const volatile __u32 nr_trees;
/* Bits of roots; the current process must descend from one of them. 0: all
 * processes match */
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
/* Whether the filter has protocols, tasks, trees or users: one test instead of
 * four where it has none. */
const volatile bool filters_calls;
/* Whether the filter has families, namespaces, ports or networks. */
const volatile bool filters_flows;

/* Slots of each flow map: --max-flows. */
const volatile __u32 max_flows;

/* Flows are split by thread. */
const volatile bool split_threads;

/* None of filters_calls, filters_flows and split_threads is set. */
const volatile bool is_plain;

/* Initial values of a slot and an owner. */
const struct flowtop_slot no_slot = {};
const struct flowtop_owner no_owner = {};

/* Initial value of a cgroup's entry. */
const struct flowtop_cgroup no_cgroup = {};

/* Programs use rows. If false, the verifier removes their code. */
const volatile bool has_rows;

/* Programs submit DNS answers. */
const volatile bool reads_answers;

/* This kernel has bpf_rdonly_cast(): see CALL_TRUSTED(). */
const volatile bool has_rdonly_cast;

/* kprobe backend: a call is opened at its function's entry, and hooks of
 * datagrams fill in the peer. Other backends: the hook that knows the peer
 * opens the call. */
const volatile bool opens_at_entry;

#endif
