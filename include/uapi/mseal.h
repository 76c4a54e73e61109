/* SPDX-License-Identifier: GPL-2.0-only */
/* asm-generic/unistd.h: mseal(2), Linux 6.10; the number is the same on every architecture. */
#ifndef CRIU_UAPI_MSEAL_H
#define CRIU_UAPI_MSEAL_H

#include <sys/syscall.h>

#ifndef SYS_mseal
#define SYS_mseal 462
#endif

#endif
