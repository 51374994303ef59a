/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A first level in front of the shared flow maps: rows of the CPU that runs the
 * program. A flow that has one adds to it by plain loads and stores, on cache
 * lines that no other CPU touches, and is found without a helper: the key is
 * compared in place. User space adds the rows to what it drains.
 *
 * The shared map has the flow first. Its slot holds what is taken once a flow
 * and interval (process, namespace, socket, share of the map), and a row only
 * sums: so a row is nothing but bytes and messages of a record that the drain
 * hands over in any case. A flow takes a row at its second event on a CPU, if
 * the one row that its key leads to is free, and keeps it for the interval.
 * What finds no row adds to its slot.
 *
 * Only programs that run with preemption off have rows: nothing else touches
 * those of this CPU between a load and its store, as no hooked function is
 * called from an interrupt. A task can be preempted in a program of fentry, and
 * others run theirs in between, so fentry has none.
 */
#ifndef FLOWTOP_ROWS_BPF_H
#define FLOWTOP_ROWS_BPF_H

/* A word of a key, whatever its fields are. */
typedef __u64 __attribute__((may_alias)) word;

/* The one row that a key leads to: the highest bits of a product that all lower
 * ones move (Knuth, multiplicative hashing; 2^64 divided by the golden ratio).
 */
static __always_inline __u32 row_of(__u64 folded)
{
	return folded * 0x9e3779b97f4a7c15ull >> (64 - 7);
}

_Static_assert(FLOWTOP_ROWS == 1 << 7, "row_of() takes as many bits");

/* Without the address of the network namespace, which is the same for nearly
 * all flows. */
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

/* A message of one packet, or of a connection, whose packets its socket counts:
 * rows have no count of packets. */
static __always_inline bool fits_row(__u32 owner_kind,
				     const struct transfer *transfer)
{
	return transfer->packets == (PROTOCOL_OF(owner_kind) != FLOWTOP_TCP);
}

/* The rows of this CPU in buffer `b`; NULL never, but the verifier does not
 * know. Both buffers are in one value, so that the address depends on the flag:
 * a CPU that reorders loads reads the row after it. */
static __always_inline struct flowtop_row_buffer *rows_here(__u32 b)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct flowtop_rows *here = bpf_map_lookup_elem(&rows, &cpu);

	return here ? &here->buffers[b & 1] : NULL;
}

/* The one row there that a key leads to. clang would calculate its address once
 * for the key and once for the sums. */
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

/* Gives a free row to a flow. */
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
