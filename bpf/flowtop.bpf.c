// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The BPF object: includes all parts, and defines functions that several
 * backends share. The hooks of each backend are in tracepoint.bpf.h,
 * kprobe.bpf.h and fentry.bpf.h, the accounting in account.bpf.h, the maps in
 * maps.bpf.h. User space loads the programs of one backend only.
 *
 * Streams (TCP, MPTCP, kTLS, sockmap) are counted at inet(6)_sendmsg() and
 * inet(6)_recvmsg(), one level above tcp_sendmsg() and tcp_recvmsg(): the
 * protocols that replace those two in sk_prot (mptcp_sendmsg(),
 * tls_sw_sendmsg(), tcp_bpf_sendmsg()) pass there with the application's bytes,
 * once, and their signatures are equal from 5.10 to 7.2.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#include "flowtop.h"
#include "maps.bpf.h"
#include "kernel.bpf.h"
#include "tree.bpf.h"
#include "owner.bpf.h"
#include "filter.bpf.h"
#include "call.bpf.h"
#include "peer.bpf.h"
#include "account.bpf.h"
#include "tcp.bpf.h"
#include "drain.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Returns whether a receive takes payload out of the socket: peeked bytes will
 * be read again, and the error queue returns bytes that were sent. */
static __always_inline bool consumes(int flags)
{
	return !(flags & (MSG_PEEK | MSG_ERRQUEUE));
}

/*
 * Reads the sender and the number of packets of a datagram that is being
 * received. skb_consume_udp() is called in the receiver's context with the
 * length that will be returned, negative when the receiver only peeks
 * (b2bf1e2659b1 and 65a8d6a4b2c7, before v4.10). A later hook counts the bytes.
 */
static __always_inline void read_datagram(const struct sk_buff *skb,
					  struct peer *peer, const bool trusted)
{
	read_skb_sender(peer, skb, trusted);
	peer->segments = packets_received(skb, trusted);
}

#include "tracepoint.bpf.h"
#include "kprobe.bpf.h"
#include "fentry.bpf.h"
