/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef CRIU_NS_USER_ENTER_H
#define CRIU_NS_USER_ENTER_H

#include "tree/restore.h"

/*
 * A process of criu's, with the ids of the root task's, enters a user namespace, which that one is or lies in. 0 or a
 * negative errno (logged).
 */
struct user_ns;
int user_become_root(struct restore *r, const struct user_ns *owner);

#endif
