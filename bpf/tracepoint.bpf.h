/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * sock_send_length and sock_recv_length (6e6eda44b939, v6.3) fire once a call
 * in sock_sendmsg() and sock_recvmsg(), with the returned length, for every
 * protocol. As perf-attached programs they run with preemption off on every
 * kernel, so none is skipped for another's sake.
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

#endif
