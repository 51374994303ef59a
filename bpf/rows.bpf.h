/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Rows: a per-CPU level in front of the shared flow maps. A flow with a row
 * adds by plain loads and stores, on cache lines that no other CPU touches, and
 * is found without a helper: its key is compared in place. User space adds the
 * rows to the drained slots.
 *
 * The shared map has every flow first. Its slot holds what is read once per
 * flow and interval (process, namespace, socket, share of the map); a row holds
 * sums only, bytes and messages that belong to a record which the drain returns
 * in any case. A flow of TCP or UDP takes a row at its second event on a CPU,
 * if the one row that its key maps to is free, and keeps the row for the
 * interval. A flow without a row adds to its slot.
 *
 * Only programs that run with preemption off have rows: nothing else touches
 * the rows of a CPU between a load and its store, as no hooked function is
 * called from an interrupt. fentry has no rows: a task can be preempted inside
 * its programs while another task runs them on the CPU.
 */
#ifndef FLOWTOP_ROWS_BPF_H
#define FLOWTOP_ROWS_BPF_H

/* A word of a key, whatever the types of its fields. */
typedef __u64 __attribute__((may_alias)) word;

/* Returns the index of the one row that a folded key maps to: the highest bits
 * of a product, which depend on all lower bits (Knuth, multiplicative hashing;
 * 2^64 divided by the golden ratio). */
static __always_inline __u32 row_of(__u64 folded)
{
	return folded * 0x9e3779b97f4a7c15ull >> (64 - 7);
}

_Static_assert(FLOWTOP_ROWS == 1 << 7, "row_of() takes as many bits");

/* Folds a key without words[0], the network namespace, which is equal for
 * nearly all flows. */
static __always_inline __u32 row_of4(const struct flowtop_key4 *key)
{
	const word *words = (const void *)key;

	return row_of(words[1] ^ words[2]);
}

static __always_inline __u32 row_of6(const struct flowtop_key6 *key)
{
	const word *words = (const void *)key;

	return row_of(words[1] ^ words[2] ^ words[3] ^ words[4] ^ words[5]);
}

static __always_inline void add_to_row(struct flowtop_stats *stats,
				       const struct transfer *transfer)
{
	if (transfer->dir == TX) {
		stats->tx_bytes += transfer->bytes;
		stats->tx_msgs++;
	} else {
		stats->rx_bytes += transfer->bytes;
		stats->rx_msgs++;
	}
}

/* Returns whether a transfer fits a row. Rows do not count packets, so a
 * transfer is one datagram, or bytes of TCP, whose socket counts segments. */
static __always_inline bool fits_row(__u32 owner_kind,
				     const struct transfer *transfer)
{
	return transfer->packets == (PROTOCOL_OF(owner_kind) != FLOWTOP_TCP);
}

/* Returns the rows of this CPU in buffer `b`; never NULL, but the verifier
 * cannot know that. Both buffers are in one value, so that the address depends
 * on the flag: a CPU that reorders loads reads the row after the flag. */
static __always_inline struct flowtop_row_buffer *rows_here(__u32 b)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct flowtop_rows *here = bpf_map_lookup_elem(&rows, &cpu);

	return here ? &here->buffers[b & 1] : NULL;
}

/* Returns the one row of this CPU that a key maps to. The barrier keeps clang
 * from calculating its address twice, for the key and for the sums. */
static __always_inline struct flowtop_row4 *
row4_here(__u32 b, const struct flowtop_key4 *key)
{
	struct flowtop_row_buffer *here = rows_here(b);
	struct flowtop_row4 *row;

	if (!here)
		return NULL;
	row = &here->v4[row_of4(key)];
	barrier_var(row);
	return row;
}

static __always_inline struct flowtop_row6 *
row6_here(__u32 b, const struct flowtop_key6 *key)
{
	struct flowtop_row_buffer *here = rows_here(b);
	struct flowtop_row6 *row;

	if (!here)
		return NULL;
	row = &here->v6[row_of6(key)];
	barrier_var(row);
	return row;
}

/* Assigns a free row to a flow. */
static __always_inline void take_row4(__u32 b, struct flowtop_row4 *row,
				      const struct flowtop_key4 *key)
{
	struct flowtop_row_buffer *here = rows_here(b);

	if (!here)
		return;
	row->key = *key;
	here->taken[0]++;
}

static __always_inline void take_row6(__u32 b, struct flowtop_row6 *row,
				      const struct flowtop_key6 *key)
{
	struct flowtop_row_buffer *here = rows_here(b);

	if (!here)
		return;
	row->key = *key;
	here->taken[1]++;
}

static __always_inline bool is_row4(const struct flowtop_row4 *row,
				    const struct flowtop_key4 *key)
{
	const word *a = (const void *)&row->key, *b = (const void *)key;

	return a[1] == b[1] && a[2] == b[2] && a[0] == b[0];
}

static __always_inline bool is_row6(const struct flowtop_row6 *row,
				    const struct flowtop_key6 *key)
{
	const word *a = (const void *)&row->key, *b = (const void *)key;

	return a[1] == b[1] && a[2] == b[2] && a[3] == b[3] && a[0] == b[0] &&
	       a[4] == b[4] && a[5] == b[5];
}

#endif
