/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The kernel types flowtop reads, and of them only the fields it reads. Every
 * access is CO-RE relocated by name when the program is loaded, so offsets and
 * order here mean nothing; names and widths do. See README.md beside this file
 * for how it was written and is checked.
 */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
typedef __u16 __sum16;
typedef unsigned long size_t;
typedef _Bool bool;

enum {
	false = 0,
	true = 1,
};

/* include/uapi/linux/bpf.h: what bpf_helpers.h and flowtop name */
enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum bpf_func_id {
	BPF_FUNC_get_current_task_btf = 158,
	BPF_FUNC_task_pt_regs = 175,
};

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
};

enum {
	BPF_F_MMAPABLE = 1 << 10,
};

enum {
	BPF_RB_NO_WAKEUP = 1,
};

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

/*
 * Registers at a probe. Not CO-RE by need (the context's layout is the
 * architecture's ABI) but harmless.
 */
#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8;
	unsigned long ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
#elif defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
	__u64 regs[31];
	__u64 sp;
	__u64 pc;
	__u64 pstate;
};

struct pt_regs {
	__u64 regs[31];
	__u64 sp;
	__u64 pc;
	__u64 pstate;
	int syscallno;
};
#else
#error "flowtop's vmlinux.h has registers of x86_64 and aarch64 only"
#endif

struct in6_addr {
	union {
		__u8 u6_addr8[16];
		__be16 u6_addr16[8];
		__be32 u6_addr32[4];
	} in6_u;
};

/* include/linux/ns_common.h, include/net/net_namespace.h */
struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

/* include/net/sock.h. The kernel nests the pairs in unions with their halves:
 * daddr and rcv_saddr, dport and num. */
struct sock_common {
	__u64 skc_addrpair;
	__u32 skc_portpair;
	__be16 skc_dport;
	unsigned short skc_family;
	int skc_bound_dev_if;
	unsigned char skc_state;
	struct proto *skc_prot;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

typedef struct {
	int owned;
} socket_lock_t;

struct sock {
	struct sock_common __sk_common;
	socket_lock_t sk_lock;
	int sk_write_pending;
	struct proto *sk_prot_creator;
	__u16 sk_protocol;
	__u16 sk_type;
};

/* include/net/inet_connection_sock.h */
struct inet_connection_sock {
	const struct tcp_ulp_ops *icsk_ulp_ops;
};

/* include/net/flow.h: where a corked datagram goes */
struct flowi_ports {
	__be16 dport;
	__be16 sport;
};

union flowi_uli {
	struct flowi_ports ports;
};

struct flowi4 {
	__be32 daddr;
	union flowi_uli uli;
};

struct flowi6 {
	struct in6_addr daddr;
	union flowi_uli uli;
};

struct flowi {
	union {
		struct flowi4 ip4;
		struct flowi6 ip6;
	} u;
};

/* include/net/inet_sock.h */
struct inet_cork_full {
	struct flowi fl;
};

struct inet_sock {
	__be16 inet_sport;
	struct inet_cork_full cork;
};

/* net/packet/internal.h */
struct packet_sock {
	int ifindex;
	__be16 num; /* EtherType */
};

/* include/linux/udp.h */
struct udp_sock {
	struct inet_sock inet;
	int pending;
	__u16 gso_size;
};

/* include/linux/tcp.h */
struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u64 bytes_acked;
	__u64 bytes_received;
	__u32 rcv_nxt;
	__u32 copied_seq;
	__u32 srtt_us; /* << 3 */
	__u32 snd_cwnd;
	__u32 snd_una;
	__u32 snd_nxt;
	__u32 write_seq;
	__u32 urg_seq;
	__u8 repair : 1;
	__u32 snd_wnd;
	__u32 rcv_wnd;
	__u32 total_retrans;
	__u32 segs_in;
	__u32 segs_out;
	__u32 chrono_start;
	__u32 chrono_stat[3];
	__u8 chrono_type : 2;
};

/* include/linux/net.h */
struct socket {
	struct sock *sk;
};

/* include/linux/socket.h */
struct msghdr {
	void *msg_name;
	int msg_namelen;
	void *msg_control;
	size_t msg_controllen;
};

/* include/linux/skbuff.h */
struct sk_buff {
	char cb[48]; /* struct inet6_skb_parm, in IPv6 */
	unsigned int end; /* offset from head: skb_end_pointer() on 64 bits */
	unsigned char *head;
	__be16 protocol;
	__u16 transport_header;
	__u16 network_header;
};

struct skb_shared_info {
	unsigned short gso_segs;
};

/* include/uapi/linux/tcp.h; copybuf_len came with 18fb76ed53865, v5.11 */
struct tcp_zerocopy_receive {
	__u32 length;
	__s32 copybuf_len;
};

/* include/linux/pid_namespace.h, include/linux/pid.h */
struct pid_namespace {
	struct ns_common ns;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1]; /* level + 1 of them */
};

/* include/linux/types.h, include/linux/sched/signal.h */
typedef struct {
	int counter;
} atomic_t;

struct signal_struct {
	atomic_t live; /* threads that have not begun to end */
};

/* include/linux/sched.h */
struct task_struct {
	int pid;
	int tgid;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	struct signal_struct *signal;
	char comm[16];
	unsigned int flags;
	__u64 start_boottime;
	struct css_set *cgroups;
	void *stack;
};

/* include/linux/kernfs.h. `parent` became `__parent` with 633488947ef6,
 * v6.15. */
struct kernfs_node {
	struct kernfs_node *parent;
	struct kernfs_node *__parent;
	const char *name;
	__u64 id;
};

/* include/linux/cgroup-defs.h, include/linux/cgroup_subsys.h */
struct cgroup_root;

enum cgroup_subsys_id {
	pids_cgrp_id = 1,
};

struct cgroup {
	struct kernfs_node *kn;
	struct cgroup_root *root;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
};

struct css_set {
	struct cgroup_subsys_state *subsys[1];
	struct cgroup *dfl_cgrp;
};

/* include/linux/filter.h: what is behind struct bpf_sock_addr */
struct sockaddr;

struct bpf_sock_addr_kern {
	struct sockaddr *uaddr;
};

/* include/trace/events/sched.h */
struct trace_event_raw_sched_process_fork {
	int child_pid;
};

/* include/trace/events/sock.h, sock_msg_length: 40e0b0908142, v6.3 */
struct trace_event_raw_sock_msg_length {
	void *sk;
	__u16 family;
	__u16 protocol;
	int ret;
	int flags;
};

#pragma clang attribute pop

/*
 * Only named by pointer: arguments of the hooked functions, and types that
 * libbpf's helper declarations mention.
 */
struct page;
struct proto;
struct tcp_ulp_ops;
struct pipe_inode_info;
struct bpf_map;

/* Wire and user ABI: fixed layouts, never relocated. */
struct iphdr {
	__u8 before_saddr[12];
	__be32 saddr;
	__be32 daddr;
};

struct ipv6hdr {
	__u8 before_saddr[8];
	__be32 saddr[4];
	__be32 daddr[4];
};

struct cmsghdr {
	size_t cmsg_len;
	int cmsg_level;
	int cmsg_type;
};

struct sockaddr_in {
	__u16 sin_family;
	__be16 sin_port;
	__be32 sin_addr;
};

struct sockaddr_in6 {
	__u16 sin6_family;
	__be16 sin6_port;
	__be32 sin6_flowinfo;
	__be32 sin6_addr[4];
	__u32 sin6_scope_id;
};

/* include/uapi/linux/bpf.h: the context of cgroup/sendmsg4 and its like. The
 * verifier rewrites these offsets itself, so all fields stand. */
struct bpf_sock_addr {
	__u32 user_family;
	__u32 user_ip4;
	__u32 user_ip6[4];
	__u32 user_port;
	__u32 family;
	__u32 type;
	__u32 protocol;
	__u32 msg_src_ip4;
	__u32 msg_src_ip6[4];
	__u64 sk;
};

#endif
