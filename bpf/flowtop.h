/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Contents of the maps, shared with Rust through the object's BTF. No struct
 * has implicit padding: padding in a key would make two keys of one flow. */
#ifndef FLOWTOP_H
#define FLOWTOP_H

#define FLOWTOP_COMM_LEN 16
/* A process holds at most this many times the slots that are still free in a
 * flow map. */
#define FLOWTOP_SHARE 3
/* Bits of the filter's `families` */
enum flowtop_family_bits {
	FLOWTOP_FAMILY_IPV4 = 1,
	FLOWTOP_FAMILY_IPV6 = 2,
	FLOWTOP_FAMILY_NONE = 4, /* packet sockets */
};

/* Maximum number of entries in each list of a filter */
enum flowtop_filter_bounds {
	FLOWTOP_MAX_TASKS = 64,
	FLOWTOP_MAX_UIDS = 16,
	FLOWTOP_MAX_NETNS = 8,
	FLOWTOP_MAX_PORTS = 16,
	FLOWTOP_MAX_NETS = 8,
	FLOWTOP_MAX_TREES = 16,
};

enum flowtop_sizes {
	/* Entries for bytes of flows without a slot, in each buffer: 8192
	 * buckets take the drain 0.1 ms. */
	FLOWTOP_OVERFLOW_ENTRIES = 8192,
	/* Rows per CPU, family and buffer; a power of two */
	FLOWTOP_ROWS = 128,
	/* Sockets that one run of inspect_records or sample_records reads */
	FLOWTOP_SAMPLES = 128,
	/* Maximum bytes of a DNS answer that are read: what one datagram should
	 * have (DNS flag day 2020) */
	FLOWTOP_ANSWER_BYTES = 1232,
};

/* Number of untracked slots. With more CPUs, several share a slot; the adds are
 * atomic. */
#define FLOWTOP_UNTRACKED_SLOTS 64

/* Number of cells: threads whose calls are carried at once without a look-up; a
 * power of two */
#define FLOWTOP_CELLS 16384
#define FLOWTOP_CELL_TAKEN 0x80000000 /* not a tid, which has 22 bits */

/* Kind of a flow's socket. MPTCP counts as TCP. FLOWTOP_RAW is every socket of
 * IP without a kind of its own. src/model/flow.rs has the same order. */
enum flowtop_protocol {
	FLOWTOP_TCP,
	FLOWTOP_UDP,
	FLOWTOP_ICMP,
	FLOWTOP_ICMP6,
	FLOWTOP_RAW,
	FLOWTOP_SCTP,
	FLOWTOP_UDPLITE,
	FLOWTOP_DCCP,
	FLOWTOP_PACKET,
};

/* flowtop_id.owner_kind: tgid << 5 | protocol << 1 | IPv6, with the TID in
 * place of the TGID if flows are split by thread. Both have at most 22 bits
 * (PID_MAX_LIMIT, include/linux/threads.h). */
enum flowtop_key_bits {
	FLOWTOP_KEY_IPV6 = 1,
	FLOWTOP_KEY_PROTOCOL_SHIFT = 1,
	FLOWTOP_KEY_PROTOCOL_MASK = 15,
	FLOWTOP_KEY_SHIFT = 5,
	FLOWTOP_KEY_KIND = 31,		   /* the protocol and the family */
	FLOWTOP_KEY_OVERFLOW = 0x80000000, /* flows without a slot */
};

#define KEY_PROTOCOL(protocol) ((protocol) << FLOWTOP_KEY_PROTOCOL_SHIFT)
#define PROTOCOL_OF(owner_kind) \
	((owner_kind) >> FLOWTOP_KEY_PROTOCOL_SHIFT & FLOWTOP_KEY_PROTOCOL_MASK)

/*
 * flowtop_slot.owner: the TGID or TID, and above it an index among the owners
 * that had this number in the interval: a number can be used again, and a
 * process can execute another program or change its user. Owners beyond the
 * last index share its entry.
 */
#define FLOWTOP_OWNER_SHIFT 22
#define FLOWTOP_MAX_OWNERS 8

/* Head of the keys of both families */
struct flowtop_id {
	/* Address of struct net with the interface folded in; compared, never
	 * followed */
	__u64 net;
	__u32 owner_kind;
	__be16 remote_port; /* network order, as in skc_portpair */
	/* Host order. FLOWTOP_ICMP: the identifier, 0 for raw sockets.
	 * FLOWTOP_RAW: number of the IP protocol. FLOWTOP_PACKET: EtherType. */
	__u16 local_port;
};

struct flowtop_key4 {
	struct flowtop_id id;
	__be32 remote_addr; /* as in skc_addrpair */
	__be32 local_addr;
};

struct flowtop_key6 {
	struct flowtop_id id;
	__be32 remote_addr[4]; /* IPv4 in [0], the rest 0 (in records) */
	__be32 local_addr[4];
};

struct flowtop_stats {
	__u64 tx_bytes;
	__u64 rx_bytes;
	__u64 tx_msgs;
	__u64 rx_msgs;
};

/* Value of a flow in the flow maps */
struct flowtop_slot {
	struct flowtop_stats stats;
	/* TCP: address of the socket; else packets sent. No union: the drain of
	 * kernels before 5.13 reads it in Rust, where that is unsafe. */
	__u64 sk_or_tx_packets;
	__u64 rx_packets;
	__u32 netns; /* inode number */
	__u32 tgid;
	__u32 owner;
	__u32 ifindex; /* of the socket or its peer; 0: none */
};

/* Sums of a flow on one CPU, in addition to those of its slot. On a cache line
 * of its own. */
struct flowtop_row4 {
	struct flowtop_key4 key; /* owner_kind 0: free */
	struct flowtop_stats stats;
	__u64 pad;
};

struct flowtop_row6 {
	struct flowtop_key6 key;
	struct flowtop_stats stats;
	__u64 pad[6];
};

struct flowtop_row_buffer {
	struct flowtop_row4 v4[FLOWTOP_ROWS];
	struct flowtop_row6 v6[FLOWTOP_ROWS];
	/* Rows of IPv4 and IPv6 in use */
	__u32 taken[2];
	__u64 pad[7];
};

/* The rows of one CPU, in two buffers like the maps */
struct flowtop_rows {
	struct flowtop_row_buffer buffers[2];
};

enum flowtop_owner_flags {
	FLOWTOP_OWNER_KERNEL = 1, /* PF_KTHREAD */
	/* This bit and those above: one for each root that the process descends
	 * from */
	FLOWTOP_OWNER_TREES_SHIFT = 16,
};

/* Identity of an owner, read at its first call in an interval */
struct flowtop_owner {
	char comm[FLOWTOP_COMM_LEN];   /* of the group leader */
	char thread[FLOWTOP_COMM_LEN]; /* if flows are split by thread */
	__u64 start_ns;		       /* of the process, CLOCK_BOOTTIME */
	__u64 cgroup;		       /* number of its kernfs node; 0: none */
	__u32 uid;
	__u32 flags;
	/* Slots that the process takes in the flow maps of IPv4 and IPv6; 0 in
	 * the entry of a thread that is no group leader */
	__u32 flows[2];
};

/* Names from a cgroup up to, not including, the root. A name has at most 255
 * bytes and its zero (NAME_MAX, include/uapi/linux/limits.h), so a name that
 * begins within the first BYTES - NAME is complete. */
#define FLOWTOP_CGROUP_DEPTH 16
#define FLOWTOP_CGROUP_NAME 256
#define FLOWTOP_CGROUP_BYTES 1280

struct flowtop_cgroup {
	/* Names in sequence, each with its zero; an empty one ends them. Split
	 * into arrays of 32 bytes, the longest with Default in Rust. */
	char names[FLOWTOP_CGROUP_BYTES / 256][8][32];
	__u64 cut; /* 1: names further up did not fit */
};

/* State of a TCP connection, read from its socket. Cumulative fields count from
 * its beginning and wrap. */
struct flowtop_tcp {
	__u64 bytes_acked;
	__u64 bytes_received;
	__u32 unread; /* bytes received and not yet read */
	__u32 srtt_us;
	__u32 cwnd;	   /* segments */
	__u32 unacked;	   /* bytes */
	__u32 notsent;	   /* bytes */
	__u32 snd_wnd;	   /* bytes */
	__u32 rcv_wnd;	   /* bytes */
	__u32 retransmits; /* segments, cumulative, like segs_in and segs_out */
	__u32 segs_in;
	__u32 segs_out;
	__u32 jiffies; /* time of the sample */
	__u32 busy;    /* jiffies with data in flight, cumulative */
	__u32 rwnd_limited;
	__u32 sndbuf_limited;
	__u32 rcv_nxt; /* matches bytes_received unless RX_TORN is set */
	__u32 snd_una; /* matches bytes_acked unless TX_TORN is set */
	__u32 state;   /* enum tcp_state, read after `unread` */
	__u32 marks;   /* FLOWTOP_TCP_* */
};

/* Bits of flowtop_tcp.marks; only inspect_records sets those from ULP on */
enum flowtop_tcp_marks {
	FLOWTOP_TCP_READ = 1, /* the socket exists and was read */
	/* Segments arrived during each attempt to read the socket */
	FLOWTOP_TCP_RX_TORN = 2,
	FLOWTOP_TCP_TX_TORN = 4,      /* acknowledgements arrived */
	FLOWTOP_TCP_ULP = 8,	      /* an upper layer protocol (kTLS) */
	FLOWTOP_TCP_OTHER_PROTO = 16, /* functions replaced (sockmap) */
	FLOWTOP_TCP_REPAIR = 32,      /* TCP_REPAIR is on */
	FLOWTOP_TCP_URGENT = 64,      /* urgent data was received */
	FLOWTOP_TCP_BUSY = 128, /* a call holds the socket, or waits to send */
};

/* Header of a DNS answer's bytes */
struct flowtop_answer {
	__u64 start_ns; /* of the process, as in flowtop_owner */
	__u32 tgid;
	__u32 uid;
	__u32 netns;	  /* inode number */
	__u32 length;	  /* of the answer; the entry may be longer */
	__u16 local_port; /* host order */
	/* 1: the socket is connected to the server, so only the server can send
	 */
	__u16 connected;
	__u32 pad;
};

/* A member of each type, so that the object's BTF contains the types and Rust
 * their values. */
struct flowtop_constants {
	struct flowtop_answer answer;
	enum flowtop_family_bits family_bits;
	enum flowtop_filter_bounds filter_bounds;
	enum flowtop_sizes sizes;
	enum flowtop_key_bits key_bits;
	enum flowtop_owner_flags owner_flags;
	enum flowtop_tcp_marks tcp_marks;
	enum flowtop_protocol protocol;
};

/* One drained flow, summed over all CPUs */
struct flowtop_record {
	struct flowtop_key6 key;
	struct flowtop_stats stats;
	__u64 sk;	  /* TCP: address of the socket */
	__u64 tx_packets; /* 0 for TCP, like rx_packets */
	__u64 rx_packets;
	__u32 netns;
	__u32 tgid;
	__u32 owner;
	__u32 ifindex;
	struct flowtop_tcp tcp; /* valid if FLOWTOP_TCP_READ is set */
};

struct flowtop_owner_record {
	__u32 id; /* as flowtop_slot.owner */
	__u32 pad;
	struct flowtop_owner owner;
};

struct flowtop_cgroup_record {
	__u64 id;
	struct flowtop_cgroup cgroup;
};

/* Range of ports, both ends included, host order */
struct flowtop_ports {
	__u16 first;
	__u16 last;
};

/* A network of one family: an address is in it if its bits under `mask` are
 * those of `addr`. IPv4 in [0]. */
struct flowtop_net {
	__u32 family; /* AF_INET or AF_INET6 */
	__be32 addr[4];
	__be32 mask[4];
};

/* Allow-list of ports, or with `except` a deny-list; `nr` 0 matches everything
 */
struct flowtop_port_choice {
	__u32 nr;
	__u32 except;
	struct flowtop_ports ports[FLOWTOP_MAX_PORTS];
};

struct flowtop_net_choice {
	__u32 nr;
	__u32 except;
	struct flowtop_net nets[FLOWTOP_MAX_NETS];
};

_Static_assert(sizeof(struct flowtop_key4) == 24, "key has no padding");
_Static_assert(sizeof(struct flowtop_key6) == 48, "key has no padding");
_Static_assert(sizeof(struct flowtop_slot) == 64, "slot has no padding");
_Static_assert(sizeof(struct flowtop_row4) == 64, "row has a cache line");
_Static_assert(sizeof(struct flowtop_row6) == 128, "row has two cache lines");
_Static_assert(sizeof(struct flowtop_rows) % 64 == 0, "CPUs share no line");
_Static_assert(sizeof(struct flowtop_owner) == 64, "owner has no padding");
_Static_assert(sizeof(struct flowtop_answer) == 32, "answer has no padding");
_Static_assert(sizeof(struct flowtop_tcp) == 88, "sample has no padding");
_Static_assert(sizeof(struct flowtop_record) == 208, "record has no padding");
_Static_assert(sizeof(struct flowtop_record) % 8 == 0 &&
		       sizeof(struct flowtop_owner_record) % 8 == 0 &&
		       sizeof(struct flowtop_cgroup_record) % 8 == 0,
	       "an mmapable array's elements stand 8 bytes apart");

#endif
