/* SPDX-License-Identifier: GPL-2.0-only */
/* How images name this architecture. */
#ifndef CRIU_ARCH_CORE_H
#define CRIU_ARCH_CORE_H

#include <sys/user.h>

#include "core.pb-c.h"

#define ARCH_CORE_MTYPE     CORE_ENTRY__MARCH__X86_64

/* Where PTRACE_POKEUSER finds the first debug register. */
#define ARCH_DEBUG_REGISTER offsetof(struct user, u_debugreg)

#endif
