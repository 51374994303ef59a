// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The programs: where flowtop looks. What is done with what is seen stands in
 * account.bpf.h, what it is kept in in maps.bpf.h. User space loads one
 * backend's programs and no others.
 *
 * Streams (TCP, MPTCP, kTLS, sockmap) are counted at inet(6)_sendmsg() and
 * inet(6)_recvmsg(), one level above tcp_sendmsg() and tcp_recvmsg(): the
 * protocols that replace those two in sk_prot (mptcp_sendmsg(),
 * tls_sw_sendmsg(), tcp_bpf_sendmsg()) pass here with the application's
 * bytes, once, and these signatures are the same from 5.10 to 7.2.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#include "flowtop.h"
#include "maps.bpf.h"
#include "kernel.bpf.h"
#include "owner.bpf.h"
#include "filter.bpf.h"
#include "account.bpf.h"
#include "peer.bpf.h"
#include "tcp.bpf.h"
#include "drain.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Peeked bytes will be read again; what the error queue returns was sent. */
static __always_inline bool consumes(int flags)
{
	return !(flags & (MSG_PEEK | MSG_ERRQUEUE));
}

/* ============================================================ tracepoint */
/*
 * sock_send_length and sock_recv_length (6e6eda44b939, v6.3) fire once a call
 * in sock_sendmsg() and sock_recvmsg(), with the returned length, for every
 * protocol. As perf-attached programs they run with preemption off on every
 * kernel, so none is skipped for another's sake.
 */

struct event {
	void *sk;
	__u16 family;
	__u16 protocol;
	int ret;
	int flags;
};

/*
 * Reads the record once, field by field, each load at its relocated offset:
 * clang would else keep an offset in a register and add it to the context,
 * which the verifier refuses.
 */
static __always_inline struct event
read_event(struct trace_event_raw_sock_msg_length *ctx)
{
	struct event event;

	event.family = ctx->family;
	barrier_var(ctx);
	event.protocol = ctx->protocol;
	barrier_var(ctx);
	event.ret = ctx->ret;
	barrier_var(ctx);
	event.flags = ctx->flags;
	barrier_var(ctx);
	event.sk = ctx->sk;
	return event;
}

static __always_inline bool is_inet(__u16 family)
{
	return family == AF_INET || family == AF_INET6;
}

SEC("tracepoint/sock/sock_send_length")
int tp_send(struct trace_event_raw_sock_msg_length *ctx)
{
	struct event event = read_event(ctx);
	struct sock *sk = event.sk;
	struct call call = {};

	if (!is_inet(event.family))
		return 0;
	if (event.protocol == IPPROTO_UDP) {
		/* Even from a call that failed: it must not outlive that. */
		unstash(&call);
		/* No address on an unconnected socket: a corked datagram. */
		if (!call.family && event.ret > 0 &&
		    !BPF_CORE_READ(sk, __sk_common.skc_dport))
			read_cork(&call, sk, udp_pending(sk));
	}
	account(sk, event.protocol, TX, event.ret, &call,
		packets_sent(&call, event.ret), false);
	return 0;
}

SEC("tracepoint/sock/sock_recv_length")
int tp_recv(struct trace_event_raw_sock_msg_length *ctx)
{
	struct event event = read_event(ctx);
	struct call call = {};

	if (!is_inet(event.family))
		return 0;
	if (event.protocol == IPPROTO_UDP) {
		if (udp_rx_by_skb)
			return 0;
		unstash(&call);
	}
	if (consumes(event.flags))
		account(event.sk, event.protocol, RX, event.ret, &call, 1,
			false);
	return 0;
}

/*
 * Who an unconnected UDP socket talks to, where there are no kprobes: the
 * cgroup hooks run in the call, before the tracepoint. They see a send with
 * an address on an unconnected socket, and a receive that asks for one.
 */
static __always_inline int stash_v4(struct bpf_sock_addr *ctx)
{
	struct call call = { .family = AF_INET };

	call.addr[0] = ctx->user_ip4;
	call.port = bpf_ntohs(ctx->user_port);
	stash(&call);
	return 1;
}

static __always_inline int stash_v6(struct bpf_sock_addr *ctx)
{
	struct call call = { .family = AF_INET6 };

	call.addr[0] = ctx->user_ip6[0];
	call.addr[1] = ctx->user_ip6[1];
	call.addr[2] = ctx->user_ip6[2];
	call.addr[3] = ctx->user_ip6[3];
	call.port = bpf_ntohs(ctx->user_port);
	stash(&call);
	return 1;
}

SEC("cgroup/sendmsg4")
int cg_sendmsg4(struct bpf_sock_addr *ctx)
{
	return stash_v4(ctx);
}

SEC("cgroup/sendmsg6")
int cg_sendmsg6(struct bpf_sock_addr *ctx)
{
	return stash_v6(ctx);
}

SEC("cgroup/recvmsg4")
int cg_recvmsg4(struct bpf_sock_addr *ctx)
{
	return stash_v4(ctx);
}

SEC("cgroup/recvmsg6")
int cg_recvmsg6(struct bpf_sock_addr *ctx)
{
	return stash_v6(ctx);
}

/* The same where there are kprobes; see kp_udp_rx for what is received. For a
 * v4-mapped peer udpv6_sendmsg() calls udp_sendmsg(), which stashes the same
 * peer once more. */
static __always_inline int stash_destination(struct sock *sk,
					     struct msghdr *msg)
{
	struct call call = {};

	read_destination(&call, sk, msg);
	if (call.family || call.continues || call.gso_size)
		stash(&call);
	return 0;
}

SEC("kprobe/udp_sendmsg")
int kp_udp_sendmsg(struct pt_regs *ctx)
{
	return stash_destination((void *)PT_REGS_PARM1(ctx),
				 (void *)PT_REGS_PARM2(ctx));
}

SEC("kprobe/udpv6_sendmsg")
int kp_udpv6_sendmsg(struct pt_regs *ctx)
{
	return stash_destination((void *)PT_REGS_PARM1(ctx),
				 (void *)PT_REGS_PARM2(ctx));
}

/* ================================================================ kprobe */
/*
 * A kprobe at entry stashes the socket under the thread, a return probe takes
 * it and the return value. User space gives each return probe 4096 instances:
 * with the default (10, or twice the CPUs) calls that block use them up and
 * returns are missed.
 */

static __always_inline int kp_enter(struct socket *sock, struct msghdr *msg,
				    bool send)
{
	struct call call = {};
	struct sock *sk;
	__u16 protocol;

	/* account() asks again, but what is not wanted is not to cost all that
	 * comes before. */
	if (!wanted_task())
		return 0;
	sk = BPF_CORE_READ(sock, sk);
	protocol = BPF_CORE_READ(sk, sk_protocol);
	call.sk = (__u64)sk;
	call.protocol = protocol;
	if (protocol == IPPROTO_UDP && send)
		read_destination(&call, sk, msg);
	else if (!is_tcp(protocol))
		return 0; /* kp_udp_rx counts what UDP receives */
	stash(&call);
	return 0;
}

static __always_inline int kp_return(int dir, int ret)
{
	struct call call = {};

	if (wanted_task() && unstash(&call))
		account((struct sock *)call.sk, call.protocol, dir, ret, &call,
			packets_sent(&call, ret), false);
	return 0;
}

SEC("kprobe/inet_sendmsg")
int kp_send(struct pt_regs *ctx)
{
	return kp_enter((void *)PT_REGS_PARM1(ctx), (void *)PT_REGS_PARM2(ctx),
			true);
}

SEC("kretprobe/inet_sendmsg")
int kr_send(struct pt_regs *ctx)
{
	return kp_return(TX, PT_REGS_RC(ctx));
}

SEC("kprobe/inet_recvmsg")
int kp_recv(struct pt_regs *ctx)
{
	if (!consumes(PT_REGS_PARM4(ctx)))
		return 0;
	return kp_enter((void *)PT_REGS_PARM1(ctx), (void *)PT_REGS_PARM2(ctx),
			false);
}

SEC("kretprobe/inet_recvmsg")
int kr_recv(struct pt_regs *ctx)
{
	return kp_return(RX, PT_REGS_RC(ctx));
}

/*
 * Every UDP receive ends here, in the receiver's context, with the length it
 * will return, negative when it only peeked (b2bf1e2659b1 and 65a8d6a4b2c7,
 * before v4.10).
 */
SEC("kprobe/skb_consume_udp")
int kp_udp_rx(struct pt_regs *ctx)
{
	struct sock *sk = (void *)PT_REGS_PARM1(ctx);
	struct call peer = {};

	struct sk_buff *skb = (void *)PT_REGS_PARM2(ctx);

	read_skb_sender(&peer, skb, false);
	account(sk, BPF_CORE_READ(sk, sk_protocol), RX, PT_REGS_PARM3(ctx),
		&peer, packets_received(skb, false), false);
	return 0;
}

/*
 * splice() out of a stream, kTLS included: the socket's readers move each
 * piece into the pipe by skb_splice_bits(), which returns what it moved.
 */
SEC("kprobe/skb_splice_bits")
int kp_splice(struct pt_regs *ctx)
{
	struct sock *sk = (void *)PT_REGS_PARM2(ctx);
	struct call call = { .sk = (__u64)sk };

	call.protocol = BPF_CORE_READ(sk, sk_protocol);
	if (is_tcp(call.protocol))
		stash(&call);
	return 0;
}

SEC("kretprobe/skb_splice_bits")
int kr_splice(struct pt_regs *ctx)
{
	return kp_return(RX, PT_REGS_RC(ctx));
}

/* getsockopt(TCP_ZEROCOPY_RECEIVE): bytes mapped, and bytes copied where the
 * kernel offers that (18fb76ed5386, v5.11; an error is negative). By kprobes
 * in every backend: the function is static and not in every kernel's BTF. */
static __always_inline int zerocopy_bytes(struct tcp_zerocopy_receive *zc)
{
	int bytes = BPF_CORE_READ(zc, length);

	if (bpf_core_field_exists(zc->copybuf_len)) {
		int copied = BPF_CORE_READ(zc, copybuf_len);

		if (copied > 0)
			bytes += copied;
	}
	return bytes;
}

SEC("kprobe/tcp_zerocopy_receive")
int kp_zerocopy(struct pt_regs *ctx)
{
	struct call call = { .sk = PT_REGS_PARM1(ctx) };
	__u64 zc = PT_REGS_PARM2(ctx);

	__builtin_memcpy(call.addr, &zc, sizeof(zc));
	stash(&call);
	return 0;
}

SEC("kretprobe/tcp_zerocopy_receive")
int kr_zerocopy(struct pt_regs *ctx)
{
	struct call call = {};
	__u64 zc;

	if (!unstash(&call) || PT_REGS_RC(ctx))
		return 0;
	__builtin_memcpy(&zc, call.addr, sizeof(zc));
	account((struct sock *)call.sk, IPPROTO_TCP, RX,
		zerocopy_bytes((void *)zc), NULL, 0, false);
	return 0;
}

/*
 * sendfile() and splice() into a socket before sendpage went away
 * (dc97391e6610, v6.5). MPTCP has none of its own: inet_sendpage() hands it to
 * inet_sendmsg(), which counts it.
 */
SEC("kprobe/inet_sendpage")
int kp_sendpage(struct pt_regs *ctx)
{
	struct socket *sock = (void *)PT_REGS_PARM1(ctx);
	struct sock *sk = BPF_CORE_READ(sock, sk);
	struct call call = { .sk = (__u64)sk, .protocol = IPPROTO_TCP };

	if (BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP)
		stash(&call);
	return 0;
}

SEC("kretprobe/inet_sendpage")
int kr_sendpage(struct pt_regs *ctx)
{
	return kp_return(TX, PT_REGS_RC(ctx));
}

/*
 * The same to UDP over IPv4. Where udp_sendpage() hands the page to
 * sock_no_sendpage(), the sendmsg of that takes this call's place and counts;
 * otherwise (ip_append_page(), or udp_sendmsg() itself in later 6.1 stable
 * kernels) the call is still here when it returns.
 */
SEC("kprobe/udp_sendpage")
int kp_udp_sendpage(struct pt_regs *ctx)
{
	struct call call = { .sk = PT_REGS_PARM1(ctx),
			     .protocol = IPPROTO_UDP };

	stash(&call);
	return 0;
}

SEC("kretprobe/udp_sendpage")
int kr_udp_sendpage(struct pt_regs *ctx)
{
	return kp_return(TX, PT_REGS_RC(ctx));
}

/* ================================================================ fentry */
/*
 * The same functions by trampolines, with typed pointers. From v5.12
 * (ca06f55b9002) a trampoline skips a program that is already running on its
 * CPU; where a task can be preempted inside it, that loses events, so user
 * space takes this backend by itself only where it cannot.
 */

static __always_inline int fx_stream(struct socket *sock, int dir, int ret)
{
	struct sock *sk;

	if (ret <= 0)
		return 0;
	sk = sock->sk;
	if (is_tcp(sk->sk_protocol)) /* UDP has hooks of its own below */
		account(sk, IPPROTO_TCP, dir, ret, NULL, 0, true);
	return 0;
}

SEC("fexit/inet_sendmsg")
int BPF_PROG(fx_send, struct socket *sock, struct msghdr *msg, size_t size,
	     int ret)
{
	return fx_stream(sock, TX, ret);
}

SEC("fexit/inet6_sendmsg")
int BPF_PROG(fx_send6, struct socket *sock, struct msghdr *msg, size_t size,
	     int ret)
{
	return fx_stream(sock, TX, ret);
}

SEC("fexit/inet_recvmsg")
int BPF_PROG(fx_recv, struct socket *sock, struct msghdr *msg, size_t size,
	     int flags, int ret)
{
	return consumes(flags) ? fx_stream(sock, RX, ret) : 0;
}

SEC("fexit/inet6_recvmsg")
int BPF_PROG(fx_recv6, struct socket *sock, struct msghdr *msg, size_t size,
	     int flags, int ret)
{
	return consumes(flags) ? fx_stream(sock, RX, ret) : 0;
}

/* A corked datagram's destination is known at entry only: the part that is
 * sent may push it out. */
static __always_inline int fe_cork(struct sock *sk)
{
	struct call cork = {};
	int pending = udp_pending(sk);

	if (!pending)
		return 0;
	read_cork(&cork, sk, pending);
	cork.continues = 1;
	stash(&cork);
	return 0;
}

SEC("fentry/udp_sendmsg")
int BPF_PROG(fe_udp_send, struct sock *sk)
{
	return fe_cork(sk);
}

SEC("fentry/udpv6_sendmsg")
int BPF_PROG(fe_udp_send6, struct sock *sk)
{
	return fe_cork(sk);
}

static __always_inline void fx_datagram(struct sock *sk, struct msghdr *msg,
					int ret, struct call *peer)
{
	if (!peer->family)
		read_msg_name(peer, msg, sk->__sk_common.skc_family, true);
	if (!peer->continues)
		peer->gso_size = read_gso_size(sk, msg, true);
	account(sk, sk->sk_protocol, TX, ret, peer, packets_sent(peer, ret),
		true);
}

/*
 * For a v4-mapped peer udpv6_sendmsg() calls udp_sendmsg() with an address on
 * its own stack. The inner call counts, while that address lives, and leaves
 * a call without a peer for the outer one to find.
 */
SEC("fexit/udp_sendmsg")
int BPF_PROG(fx_udp_send, struct sock *sk, struct msghdr *msg, size_t len,
	     int ret)
{
	struct call peer = {};

	unstash(&peer); /* even if the call failed: it must not outlive that */
	if (ret <= 0)
		return 0;
	fx_datagram(sk, msg, ret, &peer);
	if (sk->__sk_common.skc_family == AF_INET6) {
		struct call counted = { .sk = (__u64)sk };

		stash(&counted);
	}
	return 0;
}

SEC("fexit/udpv6_sendmsg")
int BPF_PROG(fx_udp_send6, struct sock *sk, struct msghdr *msg, size_t len,
	     int ret)
{
	struct call peer = {};

	if (unstash(&peer) && !peer.family)
		return 0; /* counted */
	fx_datagram(sk, msg, ret, &peer);
	return 0;
}

SEC("fentry/skb_consume_udp")
int BPF_PROG(fe_udp_rx, struct sock *sk, struct sk_buff *skb, int len)
{
	struct call peer = {};

	if (len <= 0)
		return 0;
	read_skb_sender(&peer, skb, true);
	account(sk, sk->sk_protocol, RX, len, &peer,
		packets_received(skb, true), true);
	return 0;
}

SEC("fexit/skb_splice_bits")
int BPF_PROG(fx_splice, struct sk_buff *skb, struct sock *sk,
	     unsigned int offset, struct pipe_inode_info *pipe,
	     unsigned int len, unsigned int flags, int ret)
{
	if (ret > 0 && sk)
		account(sk, sk->sk_protocol, RX, ret, NULL, 1, true);
	return 0;
}

SEC("fexit/inet_sendpage")
int BPF_PROG(fx_sendpage, struct socket *sock, struct page *page, int offset,
	     size_t size, int flags, int ret)
{
	struct sock *sk = sock->sk;

	if (sk->sk_protocol == IPPROTO_TCP)
		account(sk, IPPROTO_TCP, TX, ret, NULL, 0, true);
	return 0;
}

/*
 * To UDP over IPv4 the page goes by udp_sendmsg(), counted above, or by
 * ip_append_page(): only a call that appended is open when this one returns.
 */
SEC("fexit/ip_append_page")
int BPF_PROG(fx_append, struct sock *sk, void *fl4, struct page *page,
	     int offset, size_t size, int flags, int ret)
{
	struct call call = { .sk = (__u64)sk };

	if (!ret)
		stash(&call);
	return 0;
}

SEC("fexit/udp_sendpage")
int BPF_PROG(fx_udp_sendpage, struct sock *sk, struct page *page, int offset,
	     size_t size, int flags, int ret)
{
	struct call call;

	if (unstash(&call))
		account(sk, IPPROTO_UDP, TX, ret, NULL, 1, true);
	return 0;
}
