/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * criu's own credentials, and what of its capabilities restored tasks begin with. These start from an execve(2), which
 * gives root all capabilities of its bounding set and another user none but the ambient ones (capabilities(7)). So
 * criu's permitted ones, from file capabilities most often, are made ambient before it.
 */
#ifndef CRIU_PROC_OWN_RIGHTS_H
#define CRIU_PROC_OWN_RIGHTS_H

#include "proc/proc.h"

struct own_rights {
	struct proc_status status;
	uint32_t securebits;
	uint64_t caps_at_birth; /* permitted and effective, in what criu starts by execve(2) after own_rights_keep() */
	uint64_t lent;          /* of these, what no task may keep: criu has them for a client of the service */
};

/* The groups are in the arena. 0, or a negative errno (logged). */
int own_rights_read(struct arena *a, struct own_rights *out);

bool own_rights_have(const struct own_rights *own, unsigned cap);

/*
 * Right before an execve(2), in a process of criu's that may share its memory: nothing but system calls. What cannot be
 * kept is lost there; own_rights_read() tells what that is.
 */
void own_rights_keep(void);

/* Gives up, in the calling thread, all permitted and effective capabilities but these. 0 or a negative errno. */
int own_rights_reduce(uint64_t caps);

#endif
