/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * State of TCP connections, read from their sockets once an interval by the
 * drain. The address of a socket was saved when the flow first moved bytes in
 * the interval and may be stale. Reading it is safe for three reasons: struct
 * tcp_sock keeps its type for the length of an RCU read section
 * (SLAB_TYPESAFE_BY_RCU, tcp_prot), reads of freed memory fail softly, and a
 * sample is used only if the socket is the flow's before and after.
 */
#ifndef FLOWTOP_TCP_BPF_H
#define FLOWTOP_TCP_BPF_H

/* enum tcp_chrono, include/linux/tcp.h */
#define CHRONO_BUSY 1
#define CHRONO_RWND_LIMITED 2
#define CHRONO_SNDBUF_LIMITED 3

static __always_inline bool is_socket_of(const struct sock *sk,
					 const struct flowtop_key6 *key,
					 const bool trusted)
{
	struct sock_head head = read_head(sk, trusted);
	union flowtop_key now;

	put_head(&now.v4, &head);
	/* A closed socket has no port (inet_put_port()). */
	if (!now.id.local_port || now.id.local_port != key->id.local_port ||
	    now.id.remote_port != key->id.remote_port)
		return false;
	/* A socket of MPTCP is no struct tcp_sock. */
	if (READ_FIELD(trusted, sk, sk_protocol) != IPPROTO_TCP)
		return false;
	if (key->id.owner_kind & FLOWTOP_KEY_IPV6) {
		read_v6(&now.v6, sk, trusted);
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

/* Attempts to read two counters between which no segment arrives */
#define TCP_TRIES 3

/*
 * Reads the received bytes, and how many of them are unread. A segment moves
 * bytes_received and rcv_nxt together (tcp_rcv_nxt_update()), but in two
 * stores: both are read before and after copied_seq, and belong to one segment
 * if neither changed. copied_seq is one load, so `unread` is right to the byte.
 * A FIN takes a sequence number; a state read after copied_seq includes every
 * FIN that was counted.
 */
static __always_inline void read_received(struct flowtop_tcp *to,
					  const struct sock *sk,
					  const struct tcp_sock *tp,
					  const bool trusted)
{
	__u64 received = READ_FIELD(trusted, tp, bytes_received);
	__u32 rcv_nxt = READ_FIELD(trusted, tp, rcv_nxt);
	bool torn = true;

	for (int i = 0; i < TCP_TRIES && torn; i++) {
		__u64 before = received;
		__u32 nxt_before = rcv_nxt;
		__u32 copied;

		barrier();
		copied = READ_FIELD(trusted, tp, copied_seq);
		barrier();
		to->state = READ_FIELD(trusted, sk, __sk_common.skc_state);
		barrier();
		received = READ_FIELD(trusted, tp, bytes_received);
		rcv_nxt = READ_FIELD(trusted, tp, rcv_nxt);
		to->unread = rcv_nxt - copied;
		torn = before != received || nxt_before != rcv_nxt;
	}
	to->bytes_received = received;
	to->rcv_nxt = rcv_nxt;
	if (torn)
		to->marks |= FLOWTOP_TCP_RX_TORN;
}

/* Reads the written bytes: acknowledged, in flight and waiting. Uses the method
 * of read_received(); tcp_snd_una_update() moves bytes_acked and snd_una. */
static __always_inline void read_written(struct flowtop_tcp *to,
					 const struct tcp_sock *tp,
					 const bool trusted)
{
	__u64 acked = READ_FIELD(trusted, tp, bytes_acked);
	__u32 una = READ_FIELD(trusted, tp, snd_una);
	bool torn = true;

	for (int i = 0; i < TCP_TRIES && torn; i++) {
		__u64 before = acked;
		__u32 una_before = una;
		__u32 nxt, written;

		barrier();
		nxt = READ_FIELD(trusted, tp, snd_nxt);
		written = READ_FIELD(trusted, tp, write_seq);
		barrier();
		acked = READ_FIELD(trusted, tp, bytes_acked);
		una = READ_FIELD(trusted, tp, snd_una);
		to->unacked = nxt - una;
		to->notsent = written - nxt;
		torn = before != acked || una_before != una;
	}
	to->bytes_acked = acked;
	to->snd_una = una;
	if (torn)
		to->marks |= FLOWTOP_TCP_TX_TORN;
}

/* Reads the fields that tcp_get_info() reads, by its arithmetic. */
static __always_inline void read_tcp(struct flowtop_tcp *to,
				     const struct sock *sk,
				     const struct tcp_sock *tp,
				     const bool trusted)
{
	__u32 now = bpf_jiffies64();
	__u32 chrono[3], type;

	read_received(to, sk, tp, trusted);
	read_written(to, tp, trusted);
	to->srtt_us = READ_FIELD(trusted, tp, srtt_us) >> 3;
	to->cwnd = READ_FIELD(trusted, tp, snd_cwnd);
	to->snd_wnd = READ_FIELD(trusted, tp, snd_wnd);
	to->rcv_wnd = READ_FIELD(trusted, tp, rcv_wnd);
	to->retransmits = READ_FIELD(trusted, tp, total_retrans);
	to->segs_in = READ_FIELD(trusted, tp, segs_in);
	to->segs_out = READ_FIELD(trusted, tp, segs_out);

	/* tcp_get_info_chrono_stats() */
	if (trusted) {
		chrono[0] = tp->chrono_stat[0];
		chrono[1] = tp->chrono_stat[1];
		chrono[2] = tp->chrono_stat[2];
		type = BPF_CORE_READ_BITFIELD(tp, chrono_type);
	} else {
		BPF_CORE_READ_INTO(&chrono, tp, chrono_stat);
		type = BPF_CORE_READ_BITFIELD_PROBED(tp, chrono_type);
	}
	if (type) {
		__u32 running = now - READ_FIELD(trusted, tp, chrono_start);

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
					const bool trusted)
{
	if (!is_socket_of(sk, &record->key, trusted))
		return false;
	read_tcp(&record->tcp, sk, tp, trusted);
	return is_socket_of(sk, &record->key, trusted);
}

/* Fills in a record's TCP state, and marks it if the socket still exists. */
static __always_inline void sample(struct flowtop_record *record)
{
	const void *sk = (const void *)record->sk;
	bool is_there;

	record->tcp.marks = 0;
	if (!sk)
		return;
	if (has_rdonly_cast)
		is_there = read_sample(
			record, bpf_core_cast(sk, const struct sock),
			bpf_core_cast(sk, const struct tcp_sock), true);
	else
		is_there = read_sample(record, sk, sk, false);
	if (is_there)
		record->tcp.marks |= FLOWTOP_TCP_READ;
}

/* Reads marks of states in which a socket's counters differ from the bytes that
 * calls moved, or lag behind them. Read only for the few sockets in
 * `inspected`: the drain reads every socket. */
static __always_inline __u32 read_marks(const struct sock *sk,
					const struct tcp_sock *tp,
					const bool trusted)
{
	__u32 marks = 0;

	/* Encrypted records are longer than the bytes written. */
	if (bpf_core_field_exists(tp->inet_conn.icsk_ulp_ops) &&
	    READ_FIELD(trusted, tp, inet_conn.icsk_ulp_ops))
		marks |= FLOWTOP_TCP_ULP;
	/* tcp_bpf_update_proto() and similar functions replace sk_prot, and
	 * leave sk_prot_creator. */
	if (READ_FIELD(trusted, sk, __sk_common.skc_prot) !=
	    READ_FIELD(trusted, sk, sk_prot_creator))
		marks |= FLOWTOP_TCP_OTHER_PROTO;
	if (trusted ? BPF_CORE_READ_BITFIELD(tp, repair)
		    : BPF_CORE_READ_BITFIELD_PROBED(tp, repair))
		marks |= FLOWTOP_TCP_REPAIR;
	/* Reads of other data skip an urgent byte that is out of line. 0 until
	 * the first (tcp_check_urg()). */
	if (READ_FIELD(trusted, tp, urg_seq))
		marks |= FLOWTOP_TCP_URGENT;
	/* sk_stream_wait_memory() releases the socket in the middle of a send.
	 */
	if (READ_FIELD(trusted, sk, sk_lock.owned) ||
	    READ_FIELD(trusted, sk, sk_write_pending))
		marks |= FLOWTOP_TCP_BUSY;
	return marks;
}

static __always_inline void inspect(struct flowtop_record *record)
{
	const void *sk = (const void *)record->sk;

	if (!(record->tcp.marks & FLOWTOP_TCP_READ))
		return;
	if (has_rdonly_cast)
		record->tcp.marks |= read_marks(
			bpf_core_cast(sk, const struct sock),
			bpf_core_cast(sk, const struct tcp_sock), true);
	else
		record->tcp.marks |= read_marks(sk, sk, false);
}

#endif
