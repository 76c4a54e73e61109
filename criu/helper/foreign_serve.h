/* SPDX-License-Identifier: GPL-2.0-only */
/* Private to foreign*.c: the helper's side. */
#ifndef CRIU_HELPER_FOREIGN_SERVE_H
#define CRIU_HELPER_FOREIGN_SERVE_H

#include "helper/foreign.h"

struct foreign_birth {
	const struct proc_status *who; /* NULL: as criu */
	int sock;
};

/* Followed by arg_len bytes. */
struct foreign_request {
	foreign_fn fn;
	size_t arg_len, result_len;
	bool keep;
};

/* Followed by the result. */
struct foreign_reply {
	int ret;
	int kept; /* the number of a descriptor that stays; -1: none */
};

/* A helper_fn: takes the identity, then does what it is asked until criu's end is closed. */
int foreign_serve(void *birth);

#endif
