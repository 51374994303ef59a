/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Constants of the kernel that BTF does not hold, and how its memory is read.
 */
#ifndef FLOWTOP_KERNEL_BPF_H
#define FLOWTOP_KERNEL_BPF_H

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_MPTCP 262
#define MSG_PEEK 2
#define MSG_ERRQUEUE 0x2000
#define ETH_P_IP 0x0800
#define SOCK_RAW 3

#define NULL ((void *)0)

#define RX 0
#define TX 1

#define READ(direct, ptr, field) \
	((direct) ? (ptr)->field : BPF_CORE_READ(ptr, field))

#endif
