/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * At dump: what a restore by the same user on this machine would refuse for sure, so that no program is ended that
 * cannot come back. Of a tree that lives on it is a warning. Only rights are looked at: root with all capabilities has
 * nothing to be asked for.
 */
#ifndef CRIU_TREE_FORESEE_H
#define CRIU_TREE_FORESEE_H

#include "lib/log.h"
#include "proc/own_rights.h"
#include "tree/dump.h"

/* criu's own rights, read once. NULL when they cannot be read (logged). */
const struct own_rights *foresee_rights(struct dump *d);

/* Whether criu itself is without a capability, which its calls at restore will be without as well. */
bool foresee_lacks(struct dump *d, unsigned cap);

/* Whether criu may open a file by its path with these flags of open(2): 0, or a negative errno. Nothing is opened. */
int foresee_open(struct dump *d, const char *path, uint32_t flags);

/* Whether criu may make a file in a directory; one that is not there (and is made at restore) counts as right. */
int foresee_make(struct dump *d, const char *dir);

/* A refusal or a warning, with the arguments of log_refusal(). Returns err, or 0 where it was a warning. */
#define foresee_refuse(d, err, ...)                                                                                    \
	({                                                                                                             \
		bool kills_ = dump_kills_tree(d);                                                                      \
		int err_;                                                                                              \
		if (!kills_)                                                                                           \
			log_refusals_warn(true);                                                                       \
		err_ = log_refusal((err), __VA_ARGS__);                                                                \
		if (!kills_)                                                                                           \
			log_refusals_warn(false);                                                                      \
		kills_ ? err_ : 0;                                                                                     \
	})

#endif
