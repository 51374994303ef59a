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
#include "call.bpf.h"
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

static __always_inline int tp_stream(const struct event *event, int dir)
{
	if (casts)
		account(FOLLOW(struct sock, event->sk), event->family,
			event->protocol, dir, event->ret, NULL, 0, true);
	else
		account(event->sk, event->family, event->protocol, dir,
			event->ret, NULL, 0, false);
	return 0;
}

/* A datagram, whose peer an earlier program of the call may have left. */
static __always_inline void tp_datagram(const struct event *event,
					const struct sock *sk, int dir,
					const bool direct)
{
	struct call call = {}, *left = close_call();

	/* Closed even when it failed, or came to nothing. */
	if (event->ret <= 0)
		return;
	if (left)
		call = *left;
	/* No address on an unconnected socket: a corked datagram. */
	if (dir == TX && !call.family &&
	    !READ(direct, sk, __sk_common.skc_dport))
		read_cork(&call, sk, udp_pending(sk));
	account(sk, event->family, IPPROTO_UDP, dir, event->ret, &call,
		dir == TX ? packets_sent(&call, event->ret) : 1, direct);
}

/* Not inlined: so that streams have a program to themselves. */
static __noinline int tp_datagram_sent(const struct event *event)
{
	if (casts)
		tp_datagram(event, FOLLOW(struct sock, event->sk), TX, true);
	else
		tp_datagram(event, event->sk, TX, false);
	return 0;
}

static __noinline int tp_datagram_received(const struct event *event)
{
	if (casts)
		tp_datagram(event, FOLLOW(struct sock, event->sk), RX, true);
	else
		tp_datagram(event, event->sk, RX, false);
	return 0;
}

SEC("tracepoint/sock/sock_send_length")
int tp_send(struct trace_event_raw_sock_msg_length *ctx)
{
	struct event event = read_event(ctx);

	if (!is_inet(event.family))
		return 0;
	if (event.protocol == IPPROTO_UDP)
		return tp_datagram_sent(&event);
	return tp_stream(&event, TX);
}

SEC("tracepoint/sock/sock_recv_length")
int tp_recv(struct trace_event_raw_sock_msg_length *ctx)
{
	struct event event = read_event(ctx);

	if (!is_inet(event.family))
		return 0;
	if (event.protocol == IPPROTO_UDP && udp_rx_by_skb)
		return 0;
	if (!consumes(event.flags))
		event.ret = 0;
	if (event.protocol == IPPROTO_UDP)
		return tp_datagram_received(&event);
	return tp_stream(&event, RX);
}

/*
 * Who an unconnected UDP socket talks to, where there are no kprobes: the
 * cgroup hooks run in the call, before the tracepoint. They see a send with
 * an address on an unconnected socket, and a receive that asks for one.
 */
static __always_inline int leave_v4(struct bpf_sock_addr *ctx)
{
	struct call *call = open_call(bpf_get_current_pid_tgid(), 0);

	if (!call)
		return 1;
	call->family = AF_INET;
	call->addr[0] = ctx->user_ip4;
	call->port = ctx->user_port;
	return 1;
}

static __always_inline int leave_v6(struct bpf_sock_addr *ctx)
{
	struct call *call = open_call(bpf_get_current_pid_tgid(), 0);

	if (!call)
		return 1;
	call->family = AF_INET6;
	call->addr[0] = ctx->user_ip6[0];
	call->addr[1] = ctx->user_ip6[1];
	call->addr[2] = ctx->user_ip6[2];
	call->addr[3] = ctx->user_ip6[3];
	call->port = ctx->user_port;
	return 1;
}

SEC("cgroup/sendmsg4")
int cg_sendmsg4(struct bpf_sock_addr *ctx)
{
	return leave_v4(ctx);
}

SEC("cgroup/sendmsg6")
int cg_sendmsg6(struct bpf_sock_addr *ctx)
{
	return leave_v6(ctx);
}

SEC("cgroup/recvmsg4")
int cg_recvmsg4(struct bpf_sock_addr *ctx)
{
	return leave_v4(ctx);
}

SEC("cgroup/recvmsg6")
int cg_recvmsg6(struct bpf_sock_addr *ctx)
{
	return leave_v6(ctx);
}

/* ================================================================ kprobe */
/*
 * A kprobe at entry leaves what leads to the socket with the thread, a return
 * probe finds it and has the return value. User space gives each return probe
 * 4096 instances: with the default (10, or twice the CPUs) calls that block
 * use them up and returns are missed.
 */

static __always_inline int kp_enter(__u64 sk)
{
	/* account() asks again, but what is not wanted is not to cost all that
	 * comes before. */
	if (wanted_task())
		open_call(current_tid(), sk);
	return 0;
}

/* `bytes` of the call that ends moved through `sk`. */
static __always_inline void kp_count(const struct sock *sk,
				     const struct call *call, int dir,
				     int bytes, const bool direct)
{
	__u16 protocol = READ(direct, sk, sk_protocol);
	__u16 family = READ(direct, sk, __sk_common.skc_family);

	if (is_tcp(protocol))
		account(sk, family, IPPROTO_TCP, dir, bytes, NULL, 0, direct);
	else if (protocol == IPPROTO_UDP && dir == TX)
		account(sk, family, IPPROTO_UDP, dir, bytes, call,
			packets_sent(call, bytes), direct);
	/* What UDP receives is counted by kp_udp_rx. */
}

/* The end of a call that was opened with its socket's struct sock. */
static __always_inline int kp_return(int dir, int ret)
{
	struct call *call;

	if (!wanted_task())
		return 0;
	call = close_call();
	if (!call || ret <= 0)
		return 0;
	if (casts)
		kp_count(FOLLOW(struct sock, (void *)call->sk), call, dir, ret,
			 true);
	else
		kp_count((void *)call->sk, call, dir, ret, false);
	return 0;
}

/* The same with struct socket. */
static __always_inline int kp_return_socket(int dir, int ret)
{
	struct call *call;
	struct socket *sock;

	if (!wanted_task())
		return 0;
	call = close_call();
	if (!call || ret <= 0)
		return 0;
	sock = (void *)call->sk;
	if (casts)
		kp_count(FOLLOW(struct socket, sock)->sk, call, dir, ret, true);
	else
		kp_count(BPF_CORE_READ(sock, sk), call, dir, ret, false);
	return 0;
}

SEC("kprobe/inet_sendmsg")
int kp_send(struct pt_regs *ctx)
{
	return kp_enter(PT_REGS_PARM1(ctx));
}

SEC("kretprobe/inet_sendmsg")
int kr_send(struct pt_regs *ctx)
{
	return kp_return_socket(TX, PT_REGS_RC(ctx));
}

SEC("kprobe/inet_recvmsg")
int kp_recv(struct pt_regs *ctx)
{
	return consumes(PT_REGS_PARM4(ctx)) ? kp_enter(PT_REGS_PARM1(ctx)) : 0;
}

SEC("kretprobe/inet_recvmsg")
int kr_recv(struct pt_regs *ctx)
{
	return kp_return_socket(RX, PT_REGS_RC(ctx));
}

/*
 * Where a datagram goes, told by the one function that every send of UDP goes
 * through: to the return probe of inet_sendmsg(), which has opened the call,
 * or to the tracepoint, which has not. For a v4-mapped peer udpv6_sendmsg()
 * calls udp_sendmsg(), which tells the same peer once more.
 */
static __always_inline int kp_destination(struct pt_regs *ctx)
{
	struct sock *sk = (void *)PT_REGS_PARM1(ctx);
	struct msghdr *msg = (void *)PT_REGS_PARM2(ctx);
	struct call to = {}, *call;

	if (!wanted_task())
		return 0;
	if (casts)
		read_destination(&to, FOLLOW(struct sock, sk),
				 FOLLOW(struct msghdr, msg), true);
	else
		read_destination(&to, sk, msg, false);
	if (!to.family && !to.continues && !to.gso_size)
		return 0;
	call = udp_tx_by_return ? current_call() : open_call(current_tid(), 0);
	if (!call)
		return 0;
	__builtin_memcpy(call->addr, to.addr, sizeof(call->addr));
	call->port = to.port;
	call->gso_size = to.gso_size;
	call->family = to.family;
	call->continues = to.continues;
	return 0;
}

SEC("kprobe/udp_sendmsg")
int kp_udp_sendmsg(struct pt_regs *ctx)
{
	return kp_destination(ctx);
}

SEC("kprobe/udpv6_sendmsg")
int kp_udpv6_sendmsg(struct pt_regs *ctx)
{
	return kp_destination(ctx);
}

/*
 * Every UDP receive ends here, in the receiver's context, with the length it
 * will return, negative when it only peeked (b2bf1e2659b1 and 65a8d6a4b2c7,
 * before v4.10).
 */
static __always_inline int udp_received(const struct sock *sk,
					const struct sk_buff *skb, int len,
					const bool direct)
{
	struct call peer = {};

	if (len <= 0)
		return 0;
	read_skb_sender(&peer, skb, direct);
	account(sk, READ(direct, sk, __sk_common.skc_family),
		READ(direct, sk, sk_protocol), RX, len, &peer,
		packets_received(skb, direct), direct);
	return 0;
}

SEC("kprobe/skb_consume_udp")
int kp_udp_rx(struct pt_regs *ctx)
{
	struct sock *sk = (void *)PT_REGS_PARM1(ctx);
	struct sk_buff *skb = (void *)PT_REGS_PARM2(ctx);
	int len = PT_REGS_PARM3(ctx);

	if (casts)
		return udp_received(FOLLOW(struct sock, sk),
				    FOLLOW(struct sk_buff, skb), len, true);
	return udp_received(sk, skb, len, false);
}

/*
 * splice() out of a stream, kTLS included: the socket's readers move each
 * piece into the pipe by skb_splice_bits(), which returns what it moved.
 */
SEC("kprobe/skb_splice_bits")
int kp_splice(struct pt_regs *ctx)
{
	/* Not all that call it have a socket. */
	return PT_REGS_PARM2(ctx) ? kp_enter(PT_REGS_PARM2(ctx)) : 0;
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
	struct call *call = open_call(current_tid(), PT_REGS_PARM1(ctx));
	__u64 zc = PT_REGS_PARM2(ctx);

	if (call)
		__builtin_memcpy(call->addr, &zc, sizeof(zc));
	return 0;
}

SEC("kretprobe/tcp_zerocopy_receive")
int kr_zerocopy(struct pt_regs *ctx)
{
	struct call *call = close_call();
	struct sock *sk;
	__u64 zc;

	if (!call || PT_REGS_RC(ctx))
		return 0;
	sk = (void *)call->sk;
	__builtin_memcpy(&zc, call->addr, sizeof(zc));
	account(sk, BPF_CORE_READ(sk, __sk_common.skc_family), IPPROTO_TCP, RX,
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

	if (BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP)
		kp_enter((__u64)sk);
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
	return kp_enter(PT_REGS_PARM1(ctx));
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

static __always_inline int fx_stream(struct sock *sk, __u16 family, int dir,
				     int ret)
{
	if (ret > 0 && is_tcp(sk->sk_protocol)) /* UDP has hooks of its own */
		account(sk, family, IPPROTO_TCP, dir, ret, NULL, 0, true);
	return 0;
}

/* A socket of IPv6 can become one of IPv4 (IPV6_ADDRFORM), never the other way
 * round, and each is given the functions of its family. */
static __always_inline int fx_stream6(struct sock *sk, int dir, int ret)
{
	return fx_stream(sk, sk->__sk_common.skc_family, dir, ret);
}

SEC("fexit/inet_sendmsg")
int BPF_PROG(fx_send, struct socket *sock, struct msghdr *msg, size_t size,
	     int ret)
{
	return fx_stream(sock->sk, AF_INET, TX, ret);
}

SEC("fexit/inet6_sendmsg")
int BPF_PROG(fx_send6, struct socket *sock, struct msghdr *msg, size_t size,
	     int ret)
{
	return fx_stream6(sock->sk, TX, ret);
}

SEC("fexit/inet_recvmsg")
int BPF_PROG(fx_recv, struct socket *sock, struct msghdr *msg, size_t size,
	     int flags, int ret)
{
	return consumes(flags) ? fx_stream(sock->sk, AF_INET, RX, ret) : 0;
}

SEC("fexit/inet6_recvmsg")
int BPF_PROG(fx_recv6, struct socket *sock, struct msghdr *msg, size_t size,
	     int flags, int ret)
{
	return consumes(flags) ? fx_stream6(sock->sk, RX, ret) : 0;
}

/* A corked datagram's destination is known at entry only: the part that is
 * sent may push it out. */
static __always_inline int fe_cork(struct sock *sk)
{
	int pending = udp_pending(sk);
	struct call cork = {}, *call;

	if (!pending)
		return 0;
	read_cork(&cork, sk, pending);
	call = open_call(current_tid(), (__u64)sk);
	if (!call)
		return 0;
	__builtin_memcpy(call->addr, cork.addr, sizeof(call->addr));
	call->port = cork.port;
	call->family = cork.family;
	call->continues = 1;
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
					int ret, struct call *left)
{
	struct call peer = {};

	if (left)
		peer = *left;
	if (!peer.family)
		read_msg_name(&peer, msg, sk->__sk_common.skc_family, true);
	if (!peer.continues)
		peer.gso_size = read_gso_size(sk, msg, true);
	account(sk, sk->__sk_common.skc_family, sk->sk_protocol, TX, ret, &peer,
		packets_sent(&peer, ret), true);
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
	struct call *left = close_call(); /* even if this one failed */

	if (ret <= 0)
		return 0;
	fx_datagram(sk, msg, ret, left);
	if (sk->__sk_common.skc_family == AF_INET6)
		open_call(current_tid(), (__u64)sk);
	return 0;
}

SEC("fexit/udpv6_sendmsg")
int BPF_PROG(fx_udp_send6, struct sock *sk, struct msghdr *msg, size_t len,
	     int ret)
{
	struct call *left = close_call();

	if (left && !left->family)
		return 0; /* counted */
	if (ret > 0)
		fx_datagram(sk, msg, ret, left);
	return 0;
}

SEC("fentry/skb_consume_udp")
int BPF_PROG(fe_udp_rx, struct sock *sk, struct sk_buff *skb, int len)
{
	return udp_received(sk, skb, len, true);
}

SEC("fexit/skb_splice_bits")
int BPF_PROG(fx_splice, struct sk_buff *skb, struct sock *sk,
	     unsigned int offset, struct pipe_inode_info *pipe,
	     unsigned int len, unsigned int flags, int ret)
{
	if (ret > 0 && sk)
		account(sk, sk->__sk_common.skc_family, sk->sk_protocol, RX,
			ret, NULL, 1, true);
	return 0;
}

SEC("fexit/inet_sendpage")
int BPF_PROG(fx_sendpage, struct socket *sock, struct page *page, int offset,
	     size_t size, int flags, int ret)
{
	struct sock *sk = sock->sk;

	if (sk->sk_protocol == IPPROTO_TCP)
		account(sk, sk->__sk_common.skc_family, IPPROTO_TCP, TX, ret,
			NULL, 0, true);
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
	if (!ret)
		open_call(current_tid(), (__u64)sk);
	return 0;
}

SEC("fexit/udp_sendpage")
int BPF_PROG(fx_udp_sendpage, struct sock *sk, struct page *page, int offset,
	     size_t size, int flags, int ret)
{
	if (close_call())
		account(sk, sk->__sk_common.skc_family, IPPROTO_UDP, TX, ret,
			NULL, 1, true);
	return 0;
}
