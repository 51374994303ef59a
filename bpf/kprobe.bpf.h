/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A kprobe at entry leaves what leads to the socket with the thread, a return
 * probe finds it and has the return value. User space gives each return probe
 * 4096 instances: with the default (10, or twice the CPUs) calls that block
 * use them up and returns are missed.
 */
#ifndef FLOWTOP_KPROBE_BPF_H
#define FLOWTOP_KPROBE_BPF_H

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

#endif
