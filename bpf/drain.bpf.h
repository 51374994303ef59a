/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The drain: moves the entries of the retired buffer to arrays of records. User
 * space runs its programs by BPF_PROG_TEST_RUN when no other program uses that
 * buffer. bpf() look-ups would hold bpf_prog_active, which makes kprobe and
 * tracepoint programs on the CPU skip events when the drainer is preempted.
 * Needs bpf_for_each_map_elem (v5.13); older kernels are drained by user space.
 */
#ifndef FLOWTOP_DRAIN_BPF_H
#define FLOWTOP_DRAIN_BPF_H

/* Records filled in this run; one drain runs at a time. Not on the stack, where
 * the verifier would know its value and follow the drain entry by entry, as it
 * tracks constant keys of arrays (get_constant_map_key(), v6.14). */
__u32 nr_records CACHE_LINE;

/* Fills the next record except for its key and its TCP state; returns NULL when
 * all records are in use. User space then reads the records and runs the drain
 * again. */
static __always_inline struct flowtop_record *
next_record(const struct flowtop_id *id, const struct flowtop_slot *slot)
{
	struct flowtop_record *record;
	__u32 index = nr_records;

	record = bpf_map_lookup_elem(&records, &index);
	if (!record)
		return NULL;
	record->stats = slot->stats;
	record->netns = slot->netns;
	record->tgid = slot->tgid;
	record->owner = slot->owner;
	record->ifindex = slot->ifindex;
	record->rx_packets = slot->rx_packets;
	if (PROTOCOL_OF(id->owner_kind) == FLOWTOP_TCP) {
		record->sk = slot->sk_or_tx_packets;
		record->tx_packets = 0;
	} else {
		record->sk = 0;
		record->tx_packets = slot->sk_or_tx_packets;
	}
	return record;
}

static __always_inline long drain_flow4(struct bpf_map *flows,
					const struct flowtop_key4 *key,
					const struct flowtop_slot *slot)
{
	struct flowtop_record *record;

	record = next_record(&key->id, slot);
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
	nr_records++;
	return 0;
}

static __always_inline long drain_flow6(struct bpf_map *flows,
					const struct flowtop_key6 *key,
					const struct flowtop_slot *slot)
{
	struct flowtop_record *record;

	record = next_record(&key->id, slot);
	if (!record)
		return 1;
	record->key = *key;
	sample(record);
	bpf_map_delete_elem(flows, key);
	nr_records++;
	return 0;
}

static __always_inline long drain_overflow(struct bpf_map *entries,
					   const __u32 *owner_kind,
					   const struct flowtop_slot *slot)
{
	struct flowtop_record *record;
	struct flowtop_id id = { .owner_kind = *owner_kind };

	record = next_record(&id, slot);
	if (!record)
		return 1;
	__builtin_memset(&record->key, 0, sizeof(record->key));
	record->key.id.owner_kind = id.owner_kind;
	bpf_map_delete_elem(entries, owner_kind);
	nr_records++;
	return 0;
}

static long drain_owner(struct bpf_map *owners, __u32 *id,
			struct flowtop_owner *owner)
{
	struct flowtop_owner_record *record;
	__u32 index = nr_records;

	record = bpf_map_lookup_elem(&owner_records, &index);
	if (!record)
		return 1;
	record->id = *id;
	record->owner = *owner;
	bpf_map_delete_elem(owners, id);
	nr_records++;
	return 0;
}

static long drain_cgroup(struct bpf_map *cgroups, __u64 *id,
			 struct flowtop_cgroup *cgroup)
{
	struct flowtop_cgroup_record *record;
	__u32 index = nr_records;

	record = bpf_map_lookup_elem(&cgroup_records, &index);
	if (!record)
		return 1;
	record->id = *id;
	bpf_probe_read_kernel(&record->cgroup, sizeof(record->cgroup), cgroup);
	bpf_map_delete_elem(cgroups, id);
	nr_records++;
	return 0;
}

/*
 * Defines the program drain_MAP, which moves entries of a map to its array of
 * records and returns their number. The program stops when the array is full,
 * so entries may be left. Each map has its own program and callback: the
 * verifier of 6.1 requires that one call of bpf_for_each_map_elem() sees one
 * map only, and clang would merge two calls.
 */
#define DRAIN(map, call, key_type, value_type)                             \
	static long drain_entry_##map(struct bpf_map *from, key_type *key, \
				      value_type *value, void *unused)     \
	{                                                                  \
		return call;                                               \
	}                                                                  \
	SEC("raw_tp")                                                      \
	int drain_##map(void *ctx)                                         \
	{                                                                  \
		nr_records = 0;                                            \
		bpf_for_each_map_elem(&map, drain_entry_##map, NULL, 0);   \
		return nr_records;                                         \
	}

DRAIN(flows4_a, drain_flow4(from, key, value), struct flowtop_key4,
      struct flowtop_slot)
DRAIN(flows4_b, drain_flow4(from, key, value), struct flowtop_key4,
      struct flowtop_slot)
DRAIN(flows6_a, drain_flow6(from, key, value), struct flowtop_key6,
      struct flowtop_slot)
DRAIN(flows6_b, drain_flow6(from, key, value), struct flowtop_key6,
      struct flowtop_slot)
DRAIN(overflow_a, drain_overflow(from, key, value), __u32, struct flowtop_slot)
DRAIN(overflow_b, drain_overflow(from, key, value), __u32, struct flowtop_slot)
DRAIN(owners_a, drain_owner(from, key, value), __u32, struct flowtop_owner)
DRAIN(owners_b, drain_owner(from, key, value), __u32, struct flowtop_owner)
DRAIN(cgroups_a, drain_cgroup(from, key, value), __u64, struct flowtop_cgroup)
DRAIN(cgroups_b, drain_cgroup(from, key, value), __u64, struct flowtop_cgroup)

/* Global, so that the verifier checks it once and not in each round of the
 * loop. */
__noinline int sample_record(__u32 index)
{
	struct flowtop_record *record = bpf_map_lookup_elem(&records, &index);

	if (!record)
		return 1;
	sample(record);
	return 0;
}

/* Fills in the TCP state of the sockets in `records`, on kernels that user
 * space drains. */
SEC("raw_tp")
int sample_records(void *ctx)
{
	for (__u32 i = 0; i < FLOWTOP_SAMPLES; i++) {
		if (sample_record(i))
			break;
	}
	return 0;
}

__noinline int inspect_record(__u32 index)
{
	struct flowtop_record *record = bpf_map_lookup_elem(&inspected, &index);

	if (!record || !record->sk)
		return 1;
	sample(record);
	inspect(record);
	return 0;
}

/* Reads the TCP state and the marks of the sockets that user space wrote into
 * `inspected`. */
SEC("raw_tp")
int inspect_records(void *ctx)
{
	for (__u32 i = 0; i < FLOWTOP_SAMPLES; i++) {
		if (inspect_record(i))
			break;
	}
	return 0;
}

#endif
