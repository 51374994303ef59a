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
					 const struct flowtop_key6 *key,
					 const bool direct)
{
	struct sock_head head = read_head(sk, direct);
	union flowtop_key now;

	put_head(&now, &head);
	/* A socket that closed has given its port back (inet_put_port()). */
	if (!now.id.local_port || now.id.local_port != key->id.local_port ||
	    now.id.remote_port != key->id.remote_port)
		return false;
	/* MPTCP's sockets are no tcp_sock. */
	if (READ(direct, sk, sk_protocol) != IPPROTO_TCP)
		return false;
	if (key->id.who & FLOWTOP_KEY_IPV6) {
		read_v6(&now.v6, sk, direct);
		for (int i = 0; i < 4; i++) {
			if (now.v6.local_addr[i] != key->local_addr[i] ||
			    now.v6.remote_addr[i] != key->remote_addr[i])
				return false;
		}
		return true;
	}
	return now.v4.local_addr == key->local_addr[0] &&
	       now.v4.remote_addr == key->remote_addr[0];
}

/* Reads what tcp_get_info() reads, in the same way. */
static __always_inline void
read_tcp(struct flowtop_tcp *to, const struct tcp_sock *tp, const bool direct)
{
	__u32 snd_nxt = READ(direct, tp, snd_nxt);
	__u32 now = bpf_jiffies64();
	__u32 chrono[3], type;

	to->bytes_acked = READ(direct, tp, bytes_acked);
	to->bytes_received = READ(direct, tp, bytes_received);
	to->unread = READ(direct, tp, rcv_nxt) - READ(direct, tp, copied_seq);
	to->srtt_us = READ(direct, tp, srtt_us) >> 3;
	to->cwnd = READ(direct, tp, snd_cwnd);
	to->unacked = snd_nxt - READ(direct, tp, snd_una);
	to->notsent = READ(direct, tp, write_seq) - snd_nxt;
	to->snd_wnd = READ(direct, tp, snd_wnd);
	to->rcv_wnd = READ(direct, tp, rcv_wnd);
	to->retransmits = READ(direct, tp, total_retrans);
	to->segs_in = READ(direct, tp, segs_in);
	to->segs_out = READ(direct, tp, segs_out);

	/* tcp_get_info_chrono_stats() */
	if (direct) {
		chrono[0] = tp->chrono_stat[0];
		chrono[1] = tp->chrono_stat[1];
		chrono[2] = tp->chrono_stat[2];
		type = BPF_CORE_READ_BITFIELD(tp, chrono_type);
	} else {
		BPF_CORE_READ_INTO(&chrono, tp, chrono_stat);
		type = BPF_CORE_READ_BITFIELD_PROBED(tp, chrono_type);
	}
	if (type) {
		__u32 running = now - READ(direct, tp, chrono_start);

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

static __always_inline bool read_sample(struct flowtop_record *record,
					const struct sock *sk,
					const struct tcp_sock *tp,
					const bool direct)
{
	if (!is_socket_of(sk, &record->key, direct))
		return false;
	read_tcp(&record->tcp, tp, direct);
	return is_socket_of(sk, &record->key, direct);
}

/* Fills a record's sample, or clears its socket if that has gone. */
static __always_inline void sample(struct flowtop_record *record)
{
	const void *sk = (const void *)record->sk;
	bool is_there;

	if (!sk)
		return;
	if (casts)
		is_there = read_sample(record, FOLLOW(const struct sock, sk),
				       FOLLOW(const struct tcp_sock, sk), true);
	else
		is_there = read_sample(record, sk, sk, false);
	if (!is_there)
		record->sk = 0;
}

#endif
