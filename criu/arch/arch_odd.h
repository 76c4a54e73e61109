/* SPDX-License-Identifier: GPL-2.0-only */
/* State that only an architecture has, is seldom used and cannot be saved: it is looked for, and refused by name. */
#ifndef CRIU_ARCH_ODD_H
#define CRIU_ARCH_ODD_H

#include "common.h"

#define ARCH_ODD_MAX  2  /* so many calls at most */
#define ARCH_ODD_SIZE 16 /* bytes that each of them may write */

/* The i-th call that a process makes to tell; it writes to `out`. False: there are no more. */
struct arch_call;
bool arch_odd_ask(unsigned i, raddr_t out, struct arch_call *call);

/* By the result of that call: what the process has, or NULL. */
const char *arch_odd_refused(unsigned i, int64_t ret, const void *out);

/* What a stopped thread has, or NULL. */
const char *arch_odd_refused_thread(pid_t tid);

#endif
