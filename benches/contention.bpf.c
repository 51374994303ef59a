// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What an event costs once it is known which flow it is of: all of account()
 * from there on, as flowtop has it, without a socket. Only `load contention`
 * runs it; flowtop's own binary has none of this.
 */
#include "flowtop.bpf.c"

struct contended {
	__u64 flow;
	__u64 udp;
};

static long one_event(__u32 i, struct contended *of)
{
	struct flowtop_key4 key = {}, memory;
	struct transfer transfer = { .dir = TX, .bytes = 100 };

	/* Nobody's number, so that nothing is read of the current process for
	 * every flow. */
	key.id.owner_kind = 1 << FLOWTOP_KEY_SHIFT |
			    KEY_PROTOCOL(of->udp ? FLOWTOP_UDP : FLOWTOP_TCP);
	key.id.local_port = 443;
	key.remote_addr = of->flow;
	transfer.packets = of->udp;
	add4(&key, &memory, &transfer, true, true);
	return 0;
}

static long no_event(__u32 i, struct contended *of)
{
	return 0;
}

/* args: the flow, whether it is one of UDP, how many events */
SEC("raw_tp")
int contend(const __u64 *args)
{
	struct contended of = { .flow = args[0], .udp = args[1] };

	return bpf_loop(args[2], one_event, &of, 0);
}

/* The loop alone */
SEC("raw_tp")
int idle(const __u64 *args)
{
	struct contended of = {};

	return bpf_loop(args[2], no_event, &of, 0);
}
