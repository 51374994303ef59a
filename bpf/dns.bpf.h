/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * DNS answers as processes receive them: payloads of datagrams from port 53.
 * They are read from the process's own buffer, which the system call has
 * filled, so flowtop sees the bytes that the process received, even where a
 * network driver left the packet in pages that no program can read. A system
 * call that receives any other datagram pays one comparison for it. Supported
 * system calls: read, readv, recvfrom and recvmsg of 64-bit programs.
 */
#ifndef FLOWTOP_DNS_BPF_H
#define FLOWTOP_DNS_BPF_H

#define DNS_PORT 53
#define DNS_HEADER 12	  /* bytes; RFC 1035, section 4.1.1 */
#define DNS_RESPONSE 0x80 /* QR, in its third byte */
#define THREAD_SIZE 16384 /* x86_64 and aarch64 with pages of 4 KiB */

#if defined(__TARGET_ARCH_x86)
#define SYS_read 0
#define SYS_readv 19
#define SYS_recvfrom 45
#define SYS_recvmsg 47
#define SYSCALL_NUMBER(regs) BPF_CORE_READ(regs, orig_ax)
#define SYSCALL_SECOND(regs) BPF_CORE_READ(regs, si)
#define SYSCALL_THIRD(regs) BPF_CORE_READ(regs, dx)
#else
#define SYS_read 63
#define SYS_readv 65
#define SYS_recvfrom 207
#define SYS_recvmsg 212
#define SYSCALL_NUMBER(regs) BPF_CORE_READ(regs, syscallno)
#define SYSCALL_SECOND(regs) BPF_CORE_READ(regs, regs[1])
#define SYSCALL_THIRD(regs) BPF_CORE_READ(regs, regs[2])
#endif

/* struct iovec of include/uapi/linux/uio.h */
struct user_buffer {
	__u64 base;
	__u64 size;
};

/* Returns the registers of the current thread's system call. */
static __always_inline const struct pt_regs *syscall_regs(void)
{
	struct task_struct *task;

	/* bpf_task_pt_regs(): dd6e10fbd9fb, v5.15 */
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
		return (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	task = (void *)bpf_get_current_task();
	return BPF_CORE_READ(task, stack) + THREAD_SIZE -
	       bpf_core_type_size(struct pt_regs);
}

/* Finds the first buffer that the system call receives into; returns false for
 * other system calls than those above. */
static __always_inline bool receive_buffer(struct user_buffer *buffer)
{
	const struct pt_regs *regs = syscall_regs();
	__u64 second = SYSCALL_SECOND(regs);

	switch ((int)SYSCALL_NUMBER(regs)) {
	case SYS_read:
	case SYS_recvfrom:
		buffer->base = second;
		buffer->size = SYSCALL_THIRD(regs);
		return true;
	case SYS_recvmsg:
		/* In struct user_msghdr (include/linux/socket.h), msg_iov
		 * follows the address and its length: offset 16. */
		if (bpf_probe_read_user(&second, sizeof(second),
					(void *)second + 16))
			return false;
		/* fallthrough */
	case SYS_readv:
		return !bpf_probe_read_user(buffer, sizeof(*buffer),
					    (void *)second);
	}
	return false;
}

/* Submits at most `room` bytes of an answer to user space; `room` is a
 * constant. */
static __always_inline void put_answer(const struct sock *sk,
				       const struct user_buffer *from,
				       __u32 length, const __u32 room)
{
	struct flowtop_answer *answer;
	struct task_struct *task;

	answer = bpf_ringbuf_reserve(&answers, sizeof(*answer) + room, 0);
	if (!answer) {
		__sync_fetch_and_add(&lost_answers, 1);
		return;
	}
	task = (void *)bpf_get_current_task();
	answer->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	answer->tgid = current_tgid();
	answer->uid = bpf_get_current_uid_gid();
	answer->netns = read_netns(sk);
	answer->local_port = BPF_CORE_READ(sk, __sk_common.skc_portpair) >> 16;
	answer->connected =
		BPF_CORE_READ(sk, __sk_common.skc_dport) == bpf_htons(DNS_PORT);
	/* Bounded right before its use, so that the verifier of every kernel
	 * still knows the bound. */
	barrier_var(length);
	if (length > room)
		length = room;
	answer->length = length;
	/* No wakeup: user space reads the ring at the end of an interval. */
	if (bpf_probe_read_user(answer + 1, length, (void *)from->base))
		bpf_ringbuf_discard(answer, BPF_RB_NO_WAKEUP);
	else
		bpf_ringbuf_submit(answer, BPF_RB_NO_WAKEUP);
}

/*
 * Submits a received datagram of `length` bytes from port 53 if it is a DNS
 * response with records. Entries have three sizes; most answers fit into the
 * smallest, 256 bytes. Global, so that the verifier checks it once, independent
 * of the callers' registers.
 */
__noinline int note_answer(__u64 addr, __u32 length)
{
	const struct sock *sk = (void *)addr;
	struct user_buffer from;
	__u8 header[DNS_HEADER];

	if (!receive_buffer(&from))
		return 0;
	if (length > from.size)
		length = from.size;
	if (length < sizeof(header) ||
	    bpf_probe_read_user(header, sizeof(header), (void *)from.base))
		return 0;
	/* A query, or a response without answer records (ANCOUNT 0) */
	if (!(header[2] & DNS_RESPONSE) || !(header[6] | header[7]))
		return 0;
	if (length <= 256)
		put_answer(sk, &from, length, 256);
	else if (length <= 512)
		put_answer(sk, &from, length, 512);
	else
		put_answer(sk, &from, length, FLOWTOP_ANSWER_BYTES);
	return 0;
}

/* Submits the datagram that `transfer` received from `port` if it may be a DNS
 * answer. `reads_answers` is loaded only for datagrams from port 53. */
static __always_inline void see_datagram(const struct transfer *transfer,
					 __be16 port)
{
	if (port == bpf_htons(DNS_PORT) && reads_answers)
		note_answer(address_of(transfer->sk), transfer->bytes);
}

#endif
