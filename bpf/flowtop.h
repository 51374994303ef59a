/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the maps hold, shared with the Rust side through the object's BTF.
 * No implicit padding anywhere: padding in a key would make two keys of one
 * flow.
 */
#ifndef FLOWTOP_H
#define FLOWTOP_H

#define FLOWTOP_COMM_LEN 16
#define FLOWTOP_MAX_FILTERS 64
/* CPUs share an untracked slot beyond this; the adds are atomic. */
#define FLOWTOP_UNTRACKED_SLOTS 64

/* flowtop_key.tgid_flags: tgid << 2 | UDP | IPv6. A tgid has at most 22 bits
 * (PID_MAX_LIMIT, include/linux/threads.h). */
#define FLOWTOP_KEY_IPV6 1
#define FLOWTOP_KEY_UDP 2
#define FLOWTOP_KEY_TGID_SHIFT 2

struct flowtop_key {
	__u32 tgid_flags;
	__u16 local_port;     /* host order */
	__u16 remote_port;    /* host order */
	__be32 local_addr[4]; /* IPv4 in [0], the rest 0 */
	__be32 remote_addr[4];
};

struct flowtop_stats {
	__u64 tx_bytes;
	__u64 rx_bytes;
	__u64 tx_msgs;
	__u64 rx_msgs;
};

/* What is known of a process, taken when it first moves bytes in an interval */
struct flowtop_owner {
	char comm[FLOWTOP_COMM_LEN]; /* of the group leader */
};

/* One drained flow: its counters summed over all CPUs, and its owner */
struct flowtop_record {
	struct flowtop_key key;
	struct flowtop_stats stats;
	struct flowtop_owner owner;
};

_Static_assert(sizeof(struct flowtop_key) == 40, "key has no padding");
_Static_assert(sizeof(struct flowtop_stats) == 32, "stats have no padding");
_Static_assert(sizeof(struct flowtop_record) == 88, "record has no padding");
_Static_assert(sizeof(struct flowtop_record) % 8 == 0,
	       "an mmapable array's elements stand 8 bytes apart");

#endif
