/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: code of another kernel's vdso, changed so that it calls this one's. Touches no task. */
#ifndef CRIU_MM_VDSO_REDIRECT_H
#define CRIU_MM_VDSO_REDIRECT_H

#include "common.h"

/*
 * Every function of the old vdso (an image of old_size bytes, changed in place) becomes a jump to the one of the same
 * name of the new vdso, which will lie at new_at, or a system call where the new one lacks it. Unknown functions stay.
 * Returns how many were redirected; -EBADMSG: no vdso; -EOPNOTSUPP: a function has no room for the jump.
 */
int vdso_redirect(uint8_t *old, size_t old_size, const uint8_t *new, size_t new_size, raddr_t new_at);

#endif
