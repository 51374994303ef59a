/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The functions of kprobe.bpf.h by trampolines, with typed pointers. From
 * v5.12 (ca06f55b9002) a trampoline skips a program that is already running on
 * its CPU; where a task can be preempted inside it, that loses events, so user
 * space takes this backend by itself only where it cannot.
 */
#ifndef FLOWTOP_FENTRY_BPF_H
#define FLOWTOP_FENTRY_BPF_H

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

#endif
