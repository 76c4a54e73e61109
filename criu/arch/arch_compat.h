/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 32-bit programs of an architecture that runs them beside its own: what the kernel keeps otherwise for them, so that
 * it has to be asked and set by calls of theirs (AGENT_OP_COMPAT). All else is the same, and 64-bit calls of the agent
 * do it: it runs in a 32-bit task too, below 4 GiB. Structs are in arch/arch_abi.h.
 */
#ifndef CRIU_ARCH_COMPAT_H
#define CRIU_ARCH_COMPAT_H

#include "compat.h"

/*
 * Opens what fd is anew, as a 32-bit program does without O_LARGEFILE: a 64-bit open(2) sets that flag by itself, and
 * no call takes it away. In a process that has seen 32-bit programs run here. A descriptor or a negative errno.
 */
int arch_compat_reopen(int fd, int flags);

#endif
