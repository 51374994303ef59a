// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Programs that do nothing, on the hooks flowtop uses: what a hook itself
 * costs. Only `load empty` attaches them; flowtop's own binary has none of
 * this.
 */
#define SEC(name) __attribute__((section(name), used))

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define EMPTY(section, name)    \
	SEC(section)            \
	int name(void *context) \
	{                       \
		return 0;       \
	}

EMPTY("tracepoint/sock/sock_send_length", tp_send)
EMPTY("tracepoint/sock/sock_recv_length", tp_recv)
EMPTY("raw_tp/sock_send_length", rt_send)
EMPTY("raw_tp/sock_recv_length", rt_recv)
EMPTY("fexit/inet_sendmsg", fx_send)
EMPTY("fexit/inet_recvmsg", fx_recv)
EMPTY("kprobe/inet_sendmsg", kp_send)
EMPTY("kprobe/inet_recvmsg", kp_recv)
EMPTY("kretprobe/inet_sendmsg", kr_send)
EMPTY("kretprobe/inet_recvmsg", kr_recv)
