/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The fentry backend: hooks the functions of kprobe.bpf.h by trampolines, with
 * typed pointers. Since v5.12 (ca06f55b9002) a trampoline skips a program that
 * is already running on its CPU. Where a task can be preempted inside a
 * program, that loses events, so `--backend auto` takes fentry only where a
 * task cannot. fentry has no rows (rows.bpf.h).
 */
#ifndef FLOWTOP_FENTRY_BPF_H
#define FLOWTOP_FENTRY_BPF_H

static __always_inline int fx_other(struct sock *sk, int dir, int ret)
{
	return account_other(address_of(sk), sk->__sk_common.skc_family,
			     sk->sk_protocol, dir, ret);
}

/* TCP is compared first, so that it costs least. */
static __always_inline bool is_stream(__u32 protocol)
{
	return __builtin_expect(protocol == IPPROTO_TCP, 1) ||
	       protocol == IPPROTO_MPTCP;
}

/* Counts a send. `family` is the family of streams and datagrams; other
 * protocols of IPv6 use the functions of IPv4 too. */
static __always_inline int fx_send_return(struct sock *sk, __u16 family,
					  int ret)
{
	__u32 protocol = sk->sk_protocol;

	ret = in_half_register(ret);
	if (ret <= 0)
		return 0;
	if (is_stream(protocol))
		account(sk, family, IPPROTO_TCP, TX, ret, NULL, 0, true, true);
	else if ((protocol != IPPROTO_UDP && protocol != IPPROTO_UDPLITE) ||
		 sk->sk_type == SOCK_RAW)
		fx_other(sk, TX, ret); /* UDP has hooks of its own */
	return 0;
}

static __always_inline int fx_recv_return(struct sock *sk, __u16 family,
					  int flags, int ret)
{
	__u32 protocol = sk->sk_protocol;

	ret = in_half_register(ret);
	if (ret <= 0 || !consumes(flags))
		return 0;
	if (is_stream(protocol)) {
		account(sk, family, IPPROTO_TCP, RX, ret, NULL, 0, true, true);
	} else if (protocol == IPPROTO_UDP) {
		struct call_ctx *call = close_datagram(sk);
		struct peer *peer = call ? &call->peer : NULL;

		account(sk, family, IPPROTO_UDP, RX, ret, peer,
			peer && peer->segments ? peer->segments : 1, true,
			true);
	} else {
		fx_other(sk, RX, ret);
	}
	return 0;
}

SEC("fexit/inet_sendmsg")
int BPF_PROG(fx_send, struct socket *sock, struct msghdr *msg, size_t size,
	     int ret)
{
	return fx_send_return(sock->sk, AF_INET, ret);
}

/* The family is read from the socket: an IPv6 socket can become an IPv4 socket
 * (IPV6_ADDRFORM), never the reverse. inet_sendmsg() and inet_recvmsg() see
 * only streams and datagrams of IPv4. */
SEC("fexit/inet6_sendmsg")
int BPF_PROG(fx_send6, struct socket *sock, struct msghdr *msg, size_t size,
	     int ret)
{
	return fx_send_return(sock->sk, sock->sk->__sk_common.skc_family, ret);
}

SEC("fexit/inet_recvmsg")
int BPF_PROG(fx_recv, struct socket *sock, struct msghdr *msg, size_t size,
	     int flags, int ret)
{
	return fx_recv_return(sock->sk, AF_INET, flags, ret);
}

SEC("fexit/inet6_recvmsg")
int BPF_PROG(fx_recv6, struct socket *sock, struct msghdr *msg, size_t size,
	     int flags, int ret)
{
	return fx_recv_return(sock->sk, sock->sk->__sk_common.skc_family, flags,
			      ret);
}

/* Counts receives of raw and ICMP sockets of IPv6 and of DCCP. Sockets of other
 * families pass here too and are not counted. */
SEC("fexit/sock_common_recvmsg")
int BPF_PROG(fx_recv_common, struct socket *sock, struct msghdr *msg,
	     size_t size, int flags, int ret)
{
	return consumes(flags) ? fx_other(sock->sk, RX, ret) : 0;
}

SEC("fexit/packet_sendmsg")
int BPF_PROG(fx_packet_send, struct socket *sock, struct msghdr *msg,
	     size_t size, int ret)
{
	return fx_other(sock->sk, TX, ret);
}

/* Sends of sockets of the type SOCK_PACKET */
SEC("fexit/packet_sendmsg_spkt")
int BPF_PROG(fx_packet_send_spkt, struct socket *sock, struct msghdr *msg,
	     size_t size, int ret)
{
	return fx_other(sock->sk, TX, ret);
}

SEC("fexit/packet_recvmsg")
int BPF_PROG(fx_packet_recv, struct socket *sock, struct msghdr *msg,
	     size_t size, int flags, int ret)
{
	return consumes(flags) ? fx_other(sock->sk, RX, ret) : 0;
}

/* Saves the destination of a corked datagram at the entry of a send: the send
 * may push the datagram out and clear the destination. */
static __always_inline int fe_cork(struct sock *sk)
{
	int pending = udp_pending(sk);
	struct peer cork = { .continues = 1 };
	struct call_ctx *call;

	close_datagram(sk); /* left open if an exit was skipped */
	if (!pending)
		return 0;
	read_cork(&cork, sk, pending);
	call = open_call((__u64)sk);
	if (call)
		call->peer = cork;
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

static __always_inline void fx_datagram(struct sock *sk, struct peer *peer,
					struct msghdr *msg, int ret)
{
	if (!peer->continues)
		peer->gso_size = read_gso_size(sk, msg, true);
	if (sk->sk_protocol == IPPROTO_UDP)
		account(sk, sk->__sk_common.skc_family, IPPROTO_UDP, TX, ret,
			peer, packets_sent(peer, ret), true, true);
	else
		fx_other(sk, TX, ret);
}

/*
 * For a v4-mapped peer udpv6_sendmsg() calls udp_sendmsg() with an address on
 * its own stack. The exit of the inner call reads that address while it is
 * valid, and leaves it in the thread's call for the exit of udpv6_sendmsg(),
 * which counts.
 */
SEC("fexit/udp_sendmsg")
int BPF_PROG(fx_udp_send, struct sock *sk, struct msghdr *msg, size_t len,
	     int ret)
{
	/* Closed even if the send failed. */
	struct call_ctx *call = close_datagram(sk);
	struct peer peer = {};

	if (ret <= 0)
		return 0;
	if (call)
		peer = call->peer;
	if (!peer.family && msg->msg_name)
		read_name(&peer, msg->msg_name, AF_INET);
	if (sk->__sk_common.skc_family == AF_INET) {
		fx_datagram(sk, &peer, msg, ret);
		return 0;
	}
	call = open_call((__u64)sk);
	if (call)
		call->peer = peer;
	return 0;
}

SEC("fexit/udpv6_sendmsg")
int BPF_PROG(fx_udp_send6, struct sock *sk, struct msghdr *msg, size_t len,
	     int ret)
{
	struct call_ctx *call = close_datagram(sk);
	struct peer peer = {};

	if (ret <= 0)
		return 0;
	if (call) {
		peer = call->peer;
	} else if (msg->msg_name) {
		read_name(&peer, msg->msg_name, AF_INET6);
		/* An IPv4 address was on the stack of udpv6_sendmsg(), and the
		 * inner exit, which was skipped, did not save it. */
		if (peer.family == AF_INET)
			peer.family = 0;
	}
	fx_datagram(sk, &peer, msg, ret);
	return 0;
}

SEC("fentry/skb_consume_udp")
int BPF_PROG(fe_udp_rx, struct sock *sk, struct sk_buff *skb, int len)
{
	struct call_ctx *call = len > 0 ? open_call((__u64)sk) : NULL;

	if (call)
		read_datagram(skb, &call->peer, true);
	return 0;
}

SEC("fexit/skb_splice_bits")
int BPF_PROG(fx_splice, struct sk_buff *skb, struct sock *sk,
	     unsigned int offset, struct pipe_inode_info *pipe,
	     unsigned int len, unsigned int flags, int ret)
{
	if (ret > 0 && sk)
		account(sk, sk->__sk_common.skc_family, sk->sk_protocol, RX,
			ret, NULL, 1, true, true);
	return 0;
}

SEC("fexit/inet_sendpage")
int BPF_PROG(fx_sendpage, struct socket *sock, struct page *page, int offset,
	     size_t size, int flags, int ret)
{
	struct sock *sk = sock->sk;

	if (sk->sk_protocol == IPPROTO_TCP)
		account(sk, sk->__sk_common.skc_family, IPPROTO_TCP, TX, ret,
			NULL, 0, true, true);
	return 0;
}

/* udp_sendpage() of IPv4 passes the page to udp_sendmsg(), which is counted
 * above, or to ip_append_page(). Only for the latter is a call open when
 * udp_sendpage() returns. */
SEC("fexit/ip_append_page")
int BPF_PROG(fx_append, struct sock *sk, void *fl4, struct page *page,
	     int offset, size_t size, int flags, int ret)
{
	if (!ret)
		open_call((__u64)sk);
	return 0;
}

SEC("fexit/udp_sendpage")
int BPF_PROG(fx_udp_sendpage, struct sock *sk, struct page *page, int offset,
	     size_t size, int flags, int ret)
{
	if (close_datagram(sk))
		account(sk, sk->__sk_common.skc_family, IPPROTO_UDP, TX, ret,
			NULL, 1, true, true);
	return 0;
}

#endif
