// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * All of it, and what the programs of several backends share. Where each looks
 * stands in tracepoint.bpf.h, kprobe.bpf.h and fentry.bpf.h, what is done with
 * what is seen in account.bpf.h, what it is kept in in maps.bpf.h. User space
 * loads one backend's programs and no others.
 *
 * Streams (TCP, MPTCP, kTLS, sockmap) are counted at inet(6)_sendmsg() and
 * inet(6)_recvmsg(), one level above tcp_sendmsg() and tcp_recvmsg(): the
 * protocols that replace those two in sk_prot (mptcp_sendmsg(),
 * tls_sw_sendmsg(), tcp_bpf_sendmsg()) pass there with the application's
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

#include "tracepoint.bpf.h"
#include "kprobe.bpf.h"
#include "fentry.bpf.h"
