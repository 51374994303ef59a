/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the maps hold, shared with the Rust side through the object's BTF.
 * No implicit padding anywhere: padding in a key would make two keys of one
 * flow.
 */
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
	FLOWTOP_FAMILY_NONE = 4, /* a packet socket's */
};

/* Upper bounds of each list of a filter */
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
	/* Flows of one family that a CPU has rows for, in each buffer; a power
	 * of two */
	FLOWTOP_ROWS = 128,
	/* Sockets that one run of inspect_records or sample_records reads */
	FLOWTOP_SAMPLES = 128,
	/* Bytes of a name server's answer that are read at most: what one
	 * datagram should have (DNS flag day 2020) */
	FLOWTOP_ANSWER_BYTES = 1232,
};

/* CPUs share an untracked slot beyond this; the adds are atomic. */
#define FLOWTOP_UNTRACKED_SLOTS 64

/* Threads whose calls are carried at once without a look-up; a power of two */
#define FLOWTOP_CELLS 16384
#define FLOWTOP_CELL_TAKEN 0x80000000 /* no tid: those have 22 bits */

/*
 * What kind of socket a flow is of. MPTCP counts as TCP. FLOWTOP_RAW is every
 * socket of IP that has no kind of its own: src/model/flow.rs has the same
 * order.
 */
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

/* flowtop_id.owner_kind: tgid << 5 | protocol << 1 | IPv6, or the tid in place
 * of the tgid where threads are told apart. Both have at most 22 bits
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
 * flowtop_slot.owner: the tgid or tid, and in the bits above it which of the
 * owners that had this number in the interval: a number can be used again, and
 * a process can run another program or become another user. Beyond the last
 * they share one entry.
 */
#define FLOWTOP_OWNER_SHIFT 22
#define FLOWTOP_MAX_OWNERS 8

/* What keys of both families begin with */
struct flowtop_id {
	/* Address of struct net with the interface folded in; compared, never
	 * followed */
	__u64 net;
	__u32 owner_kind;
	__be16 remote_port; /* as in skc_portpair, for it is copied whole */
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

/* What a flow's key leads to */
struct flowtop_slot {
	struct flowtop_stats stats;
	/* TCP: address of the socket; else packets sent. No union: the drain of
	 * kernels before 5.13 reads it in Rust, where that is unsafe. */
	__u64 sk_or_tx_packets;
	__u64 rx_packets;
	__u32 netns; /* inode number */
	__u32 tgid;
	__u32 owner;
	__u32 ifindex; /* ifindex that the socket or its peer is bound to, or 0
			*/
};

/* A flow's sums on one CPU, in addition to those of its slot. On a cache line
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
	/* Rows taken of IPv4 and IPv6 */
	__u32 taken[2];
	__u64 pad[7];
};

/* The rows of one CPU, in two buffers like the maps */
struct flowtop_rows {
	struct flowtop_row_buffer buffers[2];
};

enum flowtop_owner_flags {
	FLOWTOP_OWNER_KERNEL = 1, /* PF_KTHREAD */
	/* From here on a bit for each root that the process descends from */
	FLOWTOP_OWNER_TREES_SHIFT = 16,
};

/* What is known of who moves bytes, taken at the first call in an interval */
struct flowtop_owner {
	char comm[FLOWTOP_COMM_LEN];   /* of the group leader */
	char thread[FLOWTOP_COMM_LEN]; /* where threads are told apart */
	__u64 start_ns;		       /* of the process, CLOCK_BOOTTIME */
	__u64 cgroup;		       /* number of its kernfs node; 0: none */
	__u32 uid;
	__u32 flags;
	/* Slots that the process took in the flow maps of IPv4 and IPv6; in the
	 * entry of a thread that is no group leader: 0 */
	__u32 flows[2];
};

/*
 * Names on the way from a cgroup up to, not including, the root. A name has at
 * most 255 bytes and its zero (NAME_MAX, include/uapi/linux/limits.h), so one
 * that begins within the first BYTES - NAME is whole.
 */
#define FLOWTOP_CGROUP_DEPTH 16
#define FLOWTOP_CGROUP_NAME 256
#define FLOWTOP_CGROUP_BYTES 1280

struct flowtop_cgroup {
	/* One after the other, each with its zero; an empty one ends them. In
	 * pieces of 32 bytes at most, for which Rust has Default. */
	char names[FLOWTOP_CGROUP_BYTES / 256][8][32];
	__u64 cut; /* 1: more names above have no room */
};

/* State of a TCP connection, as its socket has it. Cumulative ones count from
 * its beginning, and wrap. */
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
	__u32 retransmits; /* segments, cumulative, as the next two */
	__u32 segs_in;
	__u32 segs_out;
	__u32 jiffies; /* of the reading */
	__u32 busy;    /* jiffies with data under way, cumulative */
	__u32 rwnd_limited;
	__u32 sndbuf_limited;
	__u32 rcv_nxt; /* with bytes_received, but where RX_TORN is marked */
	__u32 snd_una; /* with bytes_acked, but where TX_TORN is marked */
	__u32 state;   /* enum tcp_state, not older than `unread` */
	__u32 marks;   /* FLOWTOP_TCP_* */
};

/* Bits of flowtop_tcp.marks; those from ULP on are read by inspect_records
 * alone */
enum flowtop_tcp_marks {
	FLOWTOP_TCP_READ = 1, /* the socket is there and has been read */
	/* Segments kept coming in while the socket was read */
	FLOWTOP_TCP_RX_TORN = 2,
	FLOWTOP_TCP_TX_TORN = 4,      /* acknowledgements did */
	FLOWTOP_TCP_ULP = 8,	      /* an upper layer protocol (kTLS) */
	FLOWTOP_TCP_OTHER_PROTO = 16, /* functions replaced (sockmap) */
	FLOWTOP_TCP_REPAIR = 32,      /* TCP_REPAIR is on */
	FLOWTOP_TCP_URGENT = 64,      /* urgent data was received */
	FLOWTOP_TCP_BUSY = 128,	      /* a call holds it, or waits to send */
};

/* What stands before the bytes of a name server's answer */
struct flowtop_answer {
	__u64 start_ns; /* of the process that received it, as in flowtop_owner
			 */
	__u32 tgid;
	__u32 uid;
	__u32 netns;  /* inode number */
	__u32 length; /* of the bytes that follow; the entry may be longer */
	__u16 local_port; /* host order */
	/* 1: the socket is connected to the server, so only that can send */
	__u16 connected;
	__u32 pad;
};

/* One of each, so that the object's BTF has these types, and Rust their
 * values. */
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
	__u64 tx_packets; /* not of TCP, as the next */
	__u64 rx_packets;
	__u32 netns;
	__u32 tgid;
	__u32 owner;
	__u32 ifindex;
	struct flowtop_tcp tcp; /* where sk is not 0 and READ_FIELD is marked */
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

/* Ports from the first to the last, both included, host order */
struct flowtop_ports {
	__u16 first;
	__u16 last;
};

/* A network of one family: an address is in it if its bits under the mask are
 * those of `addr`. IPv4 in [0]. */
struct flowtop_net {
	__u32 family; /* AF_INET or AF_INET6 */
	__be32 addr[4];
	__be32 mask[4];
};

/* One of the values, or with `except` none of them; without values, anything */
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
