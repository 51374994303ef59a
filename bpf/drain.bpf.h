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

/*
 * Records taken in this run. One drain runs at a time. Not on the stack, where
 * the verifier would know it and follow the drain entry by entry: it looks
 * into constant keys of arrays (get_constant_map_key(), v6.14).
 */
__u32 taken;

/*
 * Sums a flow's slots into the next record, but for its key; NULL when all
 * records are taken: user space reads them and runs the drain again. In the
 * record and not on the stack, where each slot's values would be one more
 * state for the verifier to follow.
 */
static __always_inline struct flowtop_record *take(struct bpf_map *flows,
						   const void *key,
						   const struct flowtop_id *id,
						   __u32 index)
{
	bool udp = id->tgid_flags & FLOWTOP_KEY_UDP;
	struct flowtop_record *record;

	record = bpf_map_lookup_elem(&records, &index);
	if (!record)
		return NULL;
	__builtin_memset(&record->stats, 0, sizeof(record->stats));
	record->sk = 0;
	record->packets = 0;
	record->netns = 0;
	for (__u32 cpu = 0; cpu < nr_cpus && cpu < FLOWTOP_MAX_CPUS; cpu++) {
		struct flowtop_slot *slot;

		slot = bpf_map_lookup_percpu_elem(flows, key, cpu);
		if (!slot)
			continue;
		record->stats.tx_bytes += slot->stats.tx_bytes;
		record->stats.rx_bytes += slot->stats.rx_bytes;
		record->stats.tx_msgs += slot->stats.tx_msgs;
		record->stats.rx_msgs += slot->stats.rx_msgs;
		if (udp)
			record->packets += slot->extra;
		else if (slot->extra)
			record->sk = slot->extra;
		if (slot->netns)
			record->netns = slot->netns;
	}
	return record;
}

static __always_inline long take4(struct bpf_map *flows,
				  const struct flowtop_key4 *key)
{
	struct flowtop_record *record;

	record = take(flows, key, &key->id, taken);
	if (!record)
		return 1;
	__builtin_memset(record->key.local_addr, 0,
			 sizeof(record->key.local_addr));
	__builtin_memset(record->key.remote_addr, 0,
			 sizeof(record->key.remote_addr));
	record->key.id = key->id;
	record->key.local_addr[0] = key->local_addr;
	record->key.remote_addr[0] = key->remote_addr;
	sample(record);
	bpf_map_delete_elem(flows, key);
	taken++;
	return 0;
}

static __always_inline long take6(struct bpf_map *flows,
				  const struct flowtop_key6 *key)
{
	struct flowtop_record *record;

	record = take(flows, key, &key->id, taken);
	if (!record)
		return 1;
	record->key = *key;
	sample(record);
	bpf_map_delete_elem(flows, key);
	taken++;
	return 0;
}

static long take_owner(struct bpf_map *owners, __u32 *id,
		       struct flowtop_owner *owner)
{
	struct flowtop_owner_record *record;
	__u32 index = taken;

	record = bpf_map_lookup_elem(&owner_records, &index);
	if (!record)
		return 1;
	record->id = *id;
	record->owner = *owner;
	bpf_map_delete_elem(owners, id);
	taken++;
	return 0;
}

static long take_cgroup(struct bpf_map *cgroups, __u64 *id,
			struct flowtop_cgroup *cgroup)
{
	struct flowtop_cgroup_record *record;
	__u32 index = taken;

	record = bpf_map_lookup_elem(&cgroup_records, &index);
	if (!record)
		return 1;
	record->id = *id;
	bpf_probe_read_kernel(&record->cgroup, sizeof(record->cgroup), cgroup);
	bpf_map_delete_elem(cgroups, id);
	taken++;
	return 0;
}

/*
 * A program moves what is in a map to its records and returns how much: as
 * much as the records hold, so there may be more. One program and one callback
 * a map: the verifier of 6.1 wants one call of bpf_for_each_map_elem() to see
 * one map only, and clang would merge two.
 */
#define DRAIN(map, take, key_type, value_type)                      \
	static long take_##map(struct bpf_map *from, key_type *key, \
			       value_type *value, void *unused)     \
	{                                                           \
		return take;                                        \
	}                                                           \
	SEC("raw_tp")                                               \
	int drain_##map(void *ctx)                                  \
	{                                                           \
		taken = 0;                                          \
		bpf_for_each_map_elem(&map, take_##map, NULL, 0);   \
		return taken;                                       \
	}

DRAIN(flows4_a, take4(from, key), struct flowtop_key4, void)
DRAIN(flows4_b, take4(from, key), struct flowtop_key4, void)
DRAIN(flows6_a, take6(from, key), struct flowtop_key6, void)
DRAIN(flows6_b, take6(from, key), struct flowtop_key6, void)
DRAIN(owners_a, take_owner(from, key, value), __u32, struct flowtop_owner)
DRAIN(owners_b, take_owner(from, key, value), __u32, struct flowtop_owner)
DRAIN(cgroups_a, take_cgroup(from, key, value), __u64, struct flowtop_cgroup)
DRAIN(cgroups_b, take_cgroup(from, key, value), __u64, struct flowtop_cgroup)

#define FLOWTOP_SAMPLES 128

/* Where user space drains: fills in the state of the sockets in its records. */
SEC("raw_tp")
int sample_records(void *ctx)
{
	for (__u32 i = 0; i < FLOWTOP_SAMPLES; i++) {
		__u32 index = i;
		struct flowtop_record *record;

		record = bpf_map_lookup_elem(&records, &index);
		if (!record)
			break;
		sample(record);
	}
	return 0;
}

#endif
