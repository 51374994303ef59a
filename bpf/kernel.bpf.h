/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Kernel constants that BTF does not contain, and macros that read kernel
 * memory. */
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

/* Keeps a return value in half of a register, which one instruction extends:
 * clang would shift the whole register left and right. */
static __always_inline int in_half_register(int ret)
{
	asm volatile("" : "+w"(ret));
	return ret;
}

#define RX 0
#define TX 1

/*
 * Reads a field of a kernel object. `trusted` says that the pointer is typed by
 * the kernel's BTF and may be followed by plain loads: in fentry and fexit
 * programs, and after bpf_core_cast(). Any other pointer is an address, read by
 * bpf_probe_read_kernel(), which costs ten times as much. `trusted` is a
 * constant in every call, so clang keeps only one of the two reads.
 */
#define READ_FIELD(trusted, ptr, field) \
	((trusted) ? (ptr)->field : BPF_CORE_READ(ptr, field))

/* Returns the kernel's own context of a program (fd264ca02094, v6.2). */
extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak;

/*
 * Calls `fn` with `ptr` as the first and `trusted` as the last argument.
 * bpf_core_cast() types an address (bpf_rdonly_cast(), a35b9af4ec2c, v6.2): the
 * verifier replaces it by a move, and loads through the typed pointer read 0
 * from unmapped memory, as loads of fentry programs do.
 */
#define CALL_TRUSTED(fn, type, ptr, ...)                                   \
	(has_rdonly_cast ? fn(bpf_core_cast(ptr, type), __VA_ARGS__, true) \
			 : fn((type *)(ptr), __VA_ARGS__, false))

/* Returns the address of a typed pointer as a number: global functions take
 * only numbers. */
static __always_inline __u64 address_of(const void *ptr)
{
	const void *volatile copy = ptr;
	__u64 address = 0;

	bpf_probe_read_kernel(&address, sizeof(address), (void *)&copy);
	return address;
}

/* Returns the TID of the current thread: by plain loads from the typed task
 * where the kernel has it (3ca1032ab7ab, v5.11), which newer kernels inline as
 * two or three instructions; otherwise by a helper. */
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

/* Reads a field of the larger struct that a socket is the head of, such as
 * struct udp_sock. */
#define READ_FIELD_AS(type, ptr, field)                    \
	(has_rdonly_cast ? bpf_core_cast(ptr, type)->field \
			 : BPF_CORE_READ((type *)(ptr), field))

#endif
