/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The tracepoint backends. sock_send_length and sock_recv_length (6e6eda44b939,
 * v6.3) fire once per call in sock_sendmsg() and sock_recvmsg(), with the
 * returned length, for every protocol. Perf-attached programs run with
 * preemption off on every kernel, so none is skipped because another runs. Raw
 * tracepoint programs cost less than half as much and run with preemption off
 * until tracepoints moved to SRCU-fast (a46023d5616e, v7.0): see
 * Backend::RawTracepoint in src/kernel/backend.rs.
 */
#ifndef FLOWTOP_TRACEPOINT_BPF_H
#define FLOWTOP_TRACEPOINT_BPF_H

struct event {
	void *sk;
	__u16 family;
	__u16 protocol;
	int ret;
	int flags;
};

static __always_inline bool is_inet(__u16 family)
{
	return family == AF_INET || family == AF_INET6;
}

/*
 * Reads a tracepoint's record; returns false for families that are not counted.
 * Each field is loaded once, at its relocated offset. Without the barriers
 * clang would keep an offset in a register and add it to the context, which the
 * verifier refuses.
 */
static __always_inline bool
read_event(struct event *event, struct trace_event_raw_sock_msg_length *ctx)
{
	event->family = ctx->family;
	barrier_var(ctx);
	if (!is_inet(event->family) && event->family != AF_PACKET)
		return false;
	event->protocol = ctx->protocol;
	barrier_var(ctx);
	event->ret = ctx->ret;
	barrier_var(ctx);
	event->flags = ctx->flags;
	barrier_var(ctx);
	event->sk = ctx->sk;
	return true;
}

static __always_inline int tp_stream(const struct event *event, int dir)
{
	CALL_TRUSTED(account, struct sock, event->sk, event->family,
		     IPPROTO_TCP, dir, event->ret, NULL, 0, false);
	return 0;
}

/* Counts a datagram. An earlier program of the call saved its peer and number
 * of packets in the thread's call; if that program did not run, only these two
 * are missing. */
static __always_inline bool tp_datagram(const struct sock *sk, __u16 family,
					int dir, int ret, const bool trusted)
{
	struct call_ctx *call = close_datagram(sk);
	struct peer peer = {};
	__u32 packets;

	/* Closed even if the system call failed or moved nothing. */
	if (ret <= 0)
		return true;
	if (call)
		peer = call->peer;
	if (dir == TX) {
		read_rewritten(&peer, family);
		/* No address on an unconnected socket: a corked datagram. */
		if (!peer.family &&
		    !READ_FIELD(trusted, sk, __sk_common.skc_dport))
			read_cork(&peer, sk, udp_pending(sk));
		packets = packets_sent(&peer, ret);
	} else {
		packets = peer.segments ?: 1;
	}
	return account_ports(sk, family, true, dir, ret, &peer, packets, false,
			     trusted, false);
}

/* Not inlined, which keeps the programs of streams small; global, so that the
 * verifier checks them once. A raw socket is left to the caller: the stacks of
 * nested calls add up. */
__noinline int tp_datagram_sent(__u64 sk, __u32 family, int ret)
{
	return CALL_TRUSTED(tp_datagram, struct sock, (void *)sk, family, TX,
			    ret);
}

__noinline int tp_datagram_received(__u64 sk, __u32 family, int ret)
{
	return CALL_TRUSTED(tp_datagram, struct sock, (void *)sk, family, RX,
			    ret);
}

static __always_inline int tp_other(const struct event *event, int dir)
{
	/* The hooks of UDP open a call for UDP-Lite too. */
	if (event->protocol == IPPROTO_UDPLITE)
		close_datagram(event->sk);
	return account_other((__u64)event->sk, event->family, event->protocol,
			     dir, event->ret);
}

static __always_inline int tp_sent(const struct event *event)
{
	if (is_tcp(event->protocol))
		return tp_stream(event, TX);
	if (event->protocol == IPPROTO_UDP &&
	    tp_datagram_sent((__u64)event->sk, event->family, event->ret))
		return 0;
	return tp_other(event, TX);
}

static __always_inline int tp_received(struct event *event)
{
	if (!consumes(event->flags))
		event->ret = 0;
	if (is_tcp(event->protocol))
		return tp_stream(event, RX);
	if (event->protocol == IPPROTO_UDP &&
	    tp_datagram_received((__u64)event->sk, event->family, event->ret))
		return 0;
	return tp_other(event, RX);
}

SEC("tracepoint/sock/sock_send_length")
int tp_send(struct trace_event_raw_sock_msg_length *ctx)
{
	struct event event;

	return read_event(&event, ctx) ? tp_sent(&event) : 0;
}

SEC("tracepoint/sock/sock_recv_length")
int tp_recv(struct trace_event_raw_sock_msg_length *ctx)
{
	struct event event;

	return read_event(&event, ctx) ? tp_received(&event) : 0;
}

/* Reads the tracepoint's own arguments: the socket, the returned length, the
 * flags. Family and protocol are read from the socket, as the kernel does for
 * the record. */
static __always_inline bool read_raw_event(struct event *event,
					   const __u64 *args)
{
	/* Not event->sk: BPF_CORE_READ() would have that field relocated too,
	 * and no kernel has a struct event like ours. */
	struct sock *sk = (void *)args[0];

	event->sk = sk;
	event->family = READ_FIELD_AS(struct sock, sk, __sk_common.skc_family);
	if (!is_inet(event->family) && event->family != AF_PACKET)
		return false;
	event->protocol = READ_FIELD_AS(struct sock, sk, sk_protocol);
	event->ret = args[1];
	event->flags = args[2];
	return true;
}

SEC("raw_tp/sock_send_length")
int rt_send(const __u64 *args)
{
	struct event event;

	return read_raw_event(&event, args) ? tp_sent(&event) : 0;
}

SEC("raw_tp/sock_recv_length")
int rt_recv(const __u64 *args)
{
	struct event event;

	return read_raw_event(&event, args) ? tp_received(&event) : 0;
}

/*
 * Saves the peer of an unconnected UDP socket, on kernels without kprobes: the
 * cgroup hooks run in the call, before the tracepoint. They see a send with an
 * address on an unconnected socket, and a receive that requests the sender's
 * address.
 */
static __always_inline struct call_ctx *
open_peer_call(struct bpf_sock_addr *ctx)
{
	/* The verifier calls this pointer struct bpf_sock; it is the struct
	 * sock. */
	return open_call((__u64)ctx->sk);
}

static __always_inline int save_peer4(struct bpf_sock_addr *ctx)
{
	struct call_ctx *call = open_peer_call(ctx);

	if (!call)
		return 1;
	call->peer.family = AF_INET;
	call->peer.addr[0] = ctx->user_ip4;
	call->peer.port = ctx->user_port;
	return 1;
}

static __always_inline int save_peer6(struct bpf_sock_addr *ctx)
{
	struct call_ctx *call = open_peer_call(ctx);

	if (!call)
		return 1;
	call->peer.family = AF_INET6;
	call->peer.addr[0] = ctx->user_ip6[0];
	call->peer.addr[1] = ctx->user_ip6[1];
	call->peer.addr[2] = ctx->user_ip6[2];
	call->peer.addr[3] = ctx->user_ip6[3];
	if (has_rdonly_cast && is_link_local(call->peer.addr)) {
		/* The context has no sin6_scope_id. */
		struct bpf_sock_addr_kern *kern = bpf_cast_to_kern_ctx(ctx);
		const struct sockaddr_in6 *sin6 = (void *)kern->uaddr;

		bpf_probe_read_kernel(&call->peer.ifindex,
				      sizeof(call->peer.ifindex),
				      &sin6->sin6_scope_id);
	}
	call->peer.port = ctx->user_port;
	return 1;
}

SEC("cgroup/sendmsg4")
int cg_sendmsg4(struct bpf_sock_addr *ctx)
{
	return save_peer4(ctx);
}

SEC("cgroup/sendmsg6")
int cg_sendmsg6(struct bpf_sock_addr *ctx)
{
	return save_peer6(ctx);
}

SEC("cgroup/recvmsg4")
int cg_recvmsg4(struct bpf_sock_addr *ctx)
{
	return save_peer4(ctx);
}

SEC("cgroup/recvmsg6")
int cg_recvmsg6(struct bpf_sock_addr *ctx)
{
	return save_peer6(ctx);
}

#endif
