/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The drain. Run by BPF_PROG_TEST_RUN on the retired buffer, when no other
 * program uses it. Not through bpf() look-ups: those hold bpf_prog_active,
 * which makes kprobe and tracepoint programs on the CPU skip events when the
 * drainer is preempted. Needs bpf_for_each_map_elem (v5.13) and
 * bpf_map_lookup_percpu_elem (v5.19); older kernels are drained from user
 * space.
 */
#ifndef FLOWTOP_DRAIN_BPF_H
#define FLOWTOP_DRAIN_BPF_H

#define FLOWTOP_MAX_CPUS 8192

struct drain {
	__u32 taken;
};

static __always_inline bool take(struct bpf_map *flows, void *owners,
				 struct flowtop_key *key, __u32 index)
{
	struct flowtop_record *record;
	struct flowtop_owner *owner;
	struct flowtop_stats sum = {};
	__u32 tgid;

	record = bpf_map_lookup_elem(&records, &index);
	if (!record)
		return false; /* full: user space reads it and runs again */
	for (__u32 cpu = 0; cpu < nr_cpus && cpu < FLOWTOP_MAX_CPUS; cpu++) {
		struct flowtop_stats *stats;

		stats = bpf_map_lookup_percpu_elem(flows, key, cpu);
		if (!stats)
			continue;
		sum.tx_bytes += stats->tx_bytes;
		sum.rx_bytes += stats->rx_bytes;
		sum.tx_msgs += stats->tx_msgs;
		sum.rx_msgs += stats->rx_msgs;
	}
	record->key = *key;
	record->stats = sum;
	tgid = key->tgid_flags >> FLOWTOP_KEY_TGID_SHIFT;
	owner = bpf_map_lookup_elem(owners, &tgid);
	if (owner)
		record->owner = *owner;
	else
		__builtin_memset(&record->owner, 0, sizeof(record->owner));
	bpf_map_delete_elem(flows, key);
	return true;
}

static long take_a(struct bpf_map *map, struct flowtop_key *key,
		   struct flowtop_stats *stats, struct drain *drain)
{
	if (!take(map, &owners_a, key, drain->taken))
		return 1;
	drain->taken++;
	return 0;
}

static long take_b(struct bpf_map *map, struct flowtop_key *key,
		   struct flowtop_stats *stats, struct drain *drain)
{
	if (!take(map, &owners_b, key, drain->taken))
		return 1;
	drain->taken++;
	return 0;
}

static long forget_owner(struct bpf_map *map, __u32 *tgid,
			 struct flowtop_owner *owner, void *unused)
{
	bpf_map_delete_elem(map, tgid);
	return 0;
}

/*
 * One program a buffer: the verifier of 6.1 wants one call of
 * bpf_for_each_map_elem() to see one map only, and clang would merge two.
 * Moves flows to `records` and returns how many. As many as `records` holds:
 * there may be more.
 */
SEC("raw_tp")
int drain_flows_a(void *ctx)
{
	struct drain drain = {};

	bpf_for_each_map_elem(&flows_a, take_a, &drain, 0);
	return drain.taken;
}

SEC("raw_tp")
int drain_flows_b(void *ctx)
{
	struct drain drain = {};

	bpf_for_each_map_elem(&flows_b, take_b, &drain, 0);
	return drain.taken;
}

/* Empties a buffer's owners, when its flows are drained. */
SEC("raw_tp")
int drain_owners_a(void *ctx)
{
	bpf_for_each_map_elem(&owners_a, forget_owner, NULL, 0);
	return 0;
}

SEC("raw_tp")
int drain_owners_b(void *ctx)
{
	bpf_for_each_map_elem(&owners_b, forget_owner, NULL, 0);
	return 0;
}

#endif
