/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * How a TCP connection is doing: read from its socket once an interval, by the
 * drain. The socket's address was noted when the flow first moved bytes in the
 * interval and may be stale by now, so it is read with care: struct tcp_sock
 * stays one for the length of an RCU read section (SLAB_TYPESAFE_BY_RCU,
 * tcp_prot), reads of memory that has gone fail softly, and what was read is
 * taken only if the socket is the flow's before and after.
 */
#ifndef FLOWTOP_TCP_BPF_H
#define FLOWTOP_TCP_BPF_H

/* enum tcp_chrono, include/linux/tcp.h */
#define CHRONO_BUSY 1
#define CHRONO_RWND_LIMITED 2
#define CHRONO_SNDBUF_LIMITED 3

static __always_inline bool is_socket_of(const struct sock *sk,
					 const struct flowtop_key6 *key)
{
	struct sock_head head;

	read_head(&head, sk, false);
	/* A socket that closed has given its port back (inet_put_port()). */
	if (!head.num || head.num != key->id.local_port ||
	    bpf_ntohs(head.dport) != key->id.remote_port)
		return false;
	/* MPTCP's sockets are no tcp_sock. */
	if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return false;
	if (key->id.tgid_flags & FLOWTOP_KEY_IPV6) {
		struct flowtop_key6 now = {};

		read_v6(&now, sk, false);
		for (int i = 0; i < 4; i++) {
			if (now.local_addr[i] != key->local_addr[i] ||
			    now.remote_addr[i] != key->remote_addr[i])
				return false;
		}
		return true;
	}
	return head.rcv_saddr == key->local_addr[0] &&
	       head.daddr == key->remote_addr[0];
}

/* Reads what tcp_get_info() reads, in the same way. */
static __always_inline void read_tcp(struct flowtop_tcp *to,
				     const struct tcp_sock *tp)
{
	__u32 snd_nxt = BPF_CORE_READ(tp, snd_nxt);
	__u32 now = bpf_jiffies64();
	__u32 chrono[3], type;

	to->bytes_acked = BPF_CORE_READ(tp, bytes_acked);
	to->bytes_received = BPF_CORE_READ(tp, bytes_received);
	to->unread = BPF_CORE_READ(tp, rcv_nxt) - BPF_CORE_READ(tp, copied_seq);
	to->srtt_us = BPF_CORE_READ(tp, srtt_us) >> 3;
	to->cwnd = BPF_CORE_READ(tp, snd_cwnd);
	to->unacked = snd_nxt - BPF_CORE_READ(tp, snd_una);
	to->notsent = BPF_CORE_READ(tp, write_seq) - snd_nxt;
	to->snd_wnd = BPF_CORE_READ(tp, snd_wnd);
	to->rcv_wnd = BPF_CORE_READ(tp, rcv_wnd);
	to->retransmits = BPF_CORE_READ(tp, total_retrans);
	to->segs_in = BPF_CORE_READ(tp, segs_in);
	to->segs_out = BPF_CORE_READ(tp, segs_out);

	/* tcp_get_info_chrono_stats() */
	BPF_CORE_READ_INTO(&chrono, tp, chrono_stat);
	type = BPF_CORE_READ_BITFIELD_PROBED(tp, chrono_type);
	if (type) {
		__u32 running = now - BPF_CORE_READ(tp, chrono_start);

		if (type == CHRONO_BUSY)
			chrono[CHRONO_BUSY - 1] += running;
		else if (type == CHRONO_RWND_LIMITED)
			chrono[CHRONO_RWND_LIMITED - 1] += running;
		else
			chrono[CHRONO_SNDBUF_LIMITED - 1] += running;
	}
	to->jiffies = now;
	to->busy = chrono[0] + chrono[1] + chrono[2];
	to->rwnd_limited = chrono[CHRONO_RWND_LIMITED - 1];
	to->sndbuf_limited = chrono[CHRONO_SNDBUF_LIMITED - 1];
}

/* Fills a record's sample, or clears its socket if that has gone. */
static __always_inline void sample(struct flowtop_record *record)
{
	const struct sock *sk = (const void *)record->sk;

	if (!sk)
		return;
	if (is_socket_of(sk, &record->key)) {
		read_tcp(&record->tcp, (const void *)sk);
		if (is_socket_of(sk, &record->key))
			return;
	}
	record->sk = 0;
}

#endif
