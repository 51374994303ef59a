/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Constants of the kernel that BTF does not hold, and how its memory is read.
 */
#ifndef FLOWTOP_KERNEL_BPF_H
#define FLOWTOP_KERNEL_BPF_H

#define AF_INET 2
#define AF_INET6 10
#define AF_PACKET 17
#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_DCCP 33
#define IPPROTO_ICMPV6 58
#define IPPROTO_SCTP 132
#define IPPROTO_UDPLITE 136
#define IPPROTO_MPTCP 262
#define MSG_PEEK 2
#define MSG_ERRQUEUE 0x2000
#define ETH_P_IP 0x0800
#define SOCK_RAW 3

#define NULL ((void *)0)

#define RX 0
#define TX 1

/*
 * How the kernel's memory is read. `trusted` says that a pointer is typed by
 * the kernel's BTF and may be followed by plain loads: in fentry and fexit
 * programs, and where bpf_core_cast() made it so. Elsewhere it is an address,
 * read by bpf_probe_read_kernel(), which costs ten times as much. It is a
 * constant wherever it is passed, so one of the two ways is all that is left.
 */
#define READ_FIELD(trusted, ptr, field) \
	((trusted) ? (ptr)->field : BPF_CORE_READ(ptr, field))

/* The context as the kernel has it (fd264ca02094, v6.2). */
extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak;

/*
 * Calls `fn` with `ptr` first and whether it is trusted last. bpf_core_cast()
 * types an address (bpf_rdonly_cast(), a35b9af4ec2c, v6.2): the verifier makes
 * a move of it, and loads by it read 0 where there is no memory, as those of
 * fentry programs do.
 */
#define CALL_TRUSTED(fn, type, ptr, ...)                                   \
	(has_rdonly_cast ? fn(bpf_core_cast(ptr, type), __VA_ARGS__, true) \
			 : fn((type *)(ptr), __VA_ARGS__, false))

/* The address of a typed pointer as a number, which is all that a global
 * function takes. */
static __always_inline __u64 address_of(const void *ptr)
{
	const void *volatile copy = ptr;
	__u64 address = 0;

	bpf_probe_read_kernel(&address, sizeof(address), (void *)&copy);
	return address;
}

/* The current thread: by a helper, or by plain loads where there are typed ones
 * of the task (3ca1032ab7ab, v5.11), which newer kernels make of two or three
 * instructions. */
static __always_inline __u32 current_tid(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id,
				       BPF_FUNC_get_current_task_btf))
		return bpf_get_current_task_btf()->pid;
	return bpf_get_current_pid_tgid();
}

static __always_inline __u32 current_tgid(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id,
				       BPF_FUNC_get_current_task_btf))
		return bpf_get_current_task_btf()->tgid;
	return bpf_get_current_pid_tgid() >> 32;
}

/* A field of what a socket is besides: struct udp_sock and the like. */
#define READ_FIELD_AS(type, ptr, field)                    \
	(has_rdonly_cast ? bpf_core_cast(ptr, type)->field \
			 : BPF_CORE_READ((type *)(ptr), field))

#endif
