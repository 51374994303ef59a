/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The kprobe backend: a kprobe at a function's entry saves the socket in the
 * thread's call, and the return probe finds it there and reads the return
 * value. User space gives each return probe 4096 instances: with the default
 * (10, or twice the CPUs) blocking calls use them up and returns are missed.
 */
#ifndef FLOWTOP_KPROBE_BPF_H
#define FLOWTOP_KPROBE_BPF_H

static __always_inline struct call_ctx *kp_enter(struct pt_regs *ctx,
						 __u8 opener, __u64 sk)
{
	/* account() filters again; filtering at entry spares tasks that do not
	 * match the work in between. */
	return allow_task() ? enter_call(ctx, opener, sk) : NULL;
}

static __always_inline struct call_ctx *kp_enter_socket(struct pt_regs *ctx,
							struct socket *sock)
{
	if (!allow_task())
		return NULL;
	return enter_call(
		ctx, OPENED_BY_SOCKET,
		(__u64)(has_rdonly_cast ? bpf_core_cast(sock, struct socket)->sk
					: BPF_CORE_READ(sock, sk)));
}

/* Counts `bytes` that a closed call moved through `sk`. */
static __always_inline void kp_count(const struct sock *sk,
				     struct call_ctx *call, int dir, int bytes,
				     const bool trusted)
{
	__u16 protocol = READ_FIELD(trusted, sk, sk_protocol);
	__u16 family = READ_FIELD(trusted, sk, __sk_common.skc_family);

	if (is_tcp(protocol)) {
		account(sk, family, IPPROTO_TCP, dir, bytes, NULL, 0, false,
			trusted);
	} else if (protocol == IPPROTO_UDP) {
		struct peer *peer = &call->peer;

		if (dir == TX)
			read_rewritten(peer, family);
		account(sk, family, IPPROTO_UDP, dir, bytes, peer,
			dir == TX ? packets_sent(peer, bytes) :
				    peer->segments ?: 1,
			false, trusted);
	} else {
		account_other(call->sk, family, protocol, dir, bytes);
	}
}

static __always_inline int kp_return(__u8 opener, int dir, int ret)
{
	struct call_ctx *call;

	if (!allow_task())
		return 0;
	call = close_call(opener);
	if (!call || ret <= 0)
		return 0;
	CALL_TRUSTED(kp_count, struct sock, (void *)call->sk, call, dir, ret);
	return 0;
}

SEC("kprobe/inet_sendmsg")
int BPF_KPROBE(kp_send, struct socket *sock)
{
	kp_enter_socket(ctx, sock);
	return 0;
}

SEC("kretprobe/inet_sendmsg")
int BPF_KRETPROBE(kr_send, int ret)
{
	return kp_return(OPENED_BY_SOCKET, TX, ret);
}

/* A call that only peeks is opened as well: its return must not close another
 * call. */
SEC("kprobe/inet_recvmsg")
int BPF_KPROBE(kp_recv, struct socket *sock, struct msghdr *msg, size_t size,
	       int flags)
{
	struct call_ctx *call = kp_enter_socket(ctx, sock);

	if (call && !consumes(flags))
		call->peeks = 1;
	return 0;
}

SEC("kretprobe/inet_recvmsg")
int BPF_KRETPROBE(kr_recv, int ret)
{
	return kp_return(OPENED_BY_SOCKET, RX, ret);
}

/* Returns the thread's call that a datagram of `sk` belongs to: the call opened
 * at the entry of inet_sendmsg() or inet_recvmsg(), or a new one that the
 * tracepoint will close. */
static __always_inline struct call_ctx *kp_datagram(struct pt_regs *ctx,
						    __u64 sk)
{
	struct call_ctx *call;

	if (!opens_at_entry)
		return kp_enter(ctx, OPENED_BY_PEER, sk);
	call = current_call();
	return call && call->sk == sk ? call : NULL;
}

/* Saves the destination of a datagram in the thread's call. Every send of UDP
 * passes through udp_sendmsg() or udpv6_sendmsg(). For a v4-mapped peer the
 * latter calls the former, which saves the peer again. */
static __always_inline int kp_destination(struct pt_regs *ctx, struct sock *sk,
					  struct msghdr *msg, bool is_v4)
{
	struct peer to = {};
	struct call_ctx *call;

	if (!allow_task())
		return 0;
	if (has_rdonly_cast)
		read_destination(&to, bpf_core_cast(sk, struct sock),
				 bpf_core_cast(msg, struct msghdr), is_v4,
				 true);
	else
		read_destination(&to, sk, msg, is_v4, false);
	if (!to.family && !to.name && !to.continues && !to.gso_size)
		return 0;
	call = kp_datagram(ctx, (__u64)sk);
	if (call)
		call->peer = to;
	return 0;
}

SEC("kprobe/udp_sendmsg")
int BPF_KPROBE(kp_udp_sendmsg, struct sock *sk, struct msghdr *msg)
{
	return kp_destination(ctx, sk, msg, true);
}

SEC("kprobe/udpv6_sendmsg")
int BPF_KPROBE(kp_udpv6_sendmsg, struct sock *sk, struct msghdr *msg)
{
	return kp_destination(ctx, sk, msg, false);
}

SEC("kprobe/skb_consume_udp")
int BPF_KPROBE(kp_udp_rx, struct sock *sk, struct sk_buff *skb, int len)
{
	struct call_ctx *call;

	if (len <= 0 || !allow_task())
		return 0;
	call = kp_datagram(ctx, (__u64)sk);
	if (!call)
		return 0;
	CALL_TRUSTED(read_datagram, struct sk_buff, skb, &call->peer);
	return 0;
}

/* splice() out of a stream, kTLS included: the socket's readers move each piece
 * into the pipe by skb_splice_bits(), which returns the bytes it moved. */
SEC("kprobe/skb_splice_bits")
int BPF_KPROBE(kp_splice, struct sk_buff *skb, struct sock *sk)
{
	/* Some callers of skb_splice_bits() have no socket. */
	if (sk)
		kp_enter(ctx, OPENED_BY_SPLICE, (__u64)sk);
	return 0;
}

SEC("kretprobe/skb_splice_bits")
int BPF_KRETPROBE(kr_splice, int ret)
{
	return kp_return(OPENED_BY_SPLICE, RX, ret);
}

/*
 * Returns the bytes that getsockopt(TCP_ZEROCOPY_RECEIVE) mapped, and those it
 * copied on kernels that can copy (18fb76ed5386, v5.11; an error is negative).
 * Every backend hooks tcp_zerocopy_receive() by kprobes: the function is static
 * and not in every kernel's BTF.
 */
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
int BPF_KPROBE(kp_zerocopy, struct sock *sk, struct tcp_zerocopy_receive *zc)
{
	struct call_ctx *call = kp_enter(ctx, OPENED_BY_ZEROCOPY, (__u64)sk);

	if (call)
		call->peer.zerocopy = (__u64)zc;
	return 0;
}

SEC("kretprobe/tcp_zerocopy_receive")
int BPF_KRETPROBE(kr_zerocopy, int ret)
{
	struct call_ctx *call;
	struct sock *sk;

	if (!allow_task())
		return 0;
	call = close_call(OPENED_BY_ZEROCOPY);
	if (!call || ret)
		return 0;
	sk = (void *)call->sk;
	account(sk, BPF_CORE_READ(sk, __sk_common.skc_family), IPPROTO_TCP, RX,
		zerocopy_bytes((void *)call->peer.zerocopy), NULL, 0, true,
		false);
	return 0;
}

/* sendfile() and splice() into a TCP socket, on kernels with sendpage (removed
 * by dc97391e6610, v6.5). MPTCP has no sendpage of its own: inet_sendpage()
 * passes its pages to inet_sendmsg(), which is counted. */
SEC("kprobe/inet_sendpage")
int BPF_KPROBE(kp_sendpage, struct socket *sock)
{
	struct sock *sk = BPF_CORE_READ(sock, sk);

	if (BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP)
		kp_enter(ctx, OPENED_BY_SENDPAGE, (__u64)sk);
	return 0;
}

SEC("kretprobe/inet_sendpage")
int BPF_KRETPROBE(kr_sendpage, int ret)
{
	return kp_return(OPENED_BY_SENDPAGE, TX, ret);
}

/*
 * sendfile() and splice() into a UDP socket of IPv4, on kernels with sendpage.
 * Where udp_sendpage() passes the page to sock_no_sendpage(), the sendmsg
 * inside that takes over this call and counts. Otherwise (ip_append_page(), or
 * udp_sendmsg() itself in later 6.1 stable kernels) the call is still open when
 * udp_sendpage() returns.
 */
SEC("kprobe/udp_sendpage")
int BPF_KPROBE(kp_udp_sendpage, struct sock *sk)
{
	kp_enter(ctx, OPENED_BY_UDP_SENDPAGE, (__u64)sk);
	return 0;
}

SEC("kretprobe/udp_sendpage")
int BPF_KRETPROBE(kr_udp_sendpage, int ret)
{
	return kp_return(OPENED_BY_UDP_SENDPAGE, TX, ret);
}

#endif
