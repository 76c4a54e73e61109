/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Namespaces that a tree is in and that are no part of its checkpoint: what `--external TYPE[INODE]:KEY` names at dump,
 * and
 * `--inherit-fd fd[N]:KEY` gives at restore; and those of `--join-ns`, in which tasks come back whatever the images
 * say.
 */
#ifndef CRIU_TREE_NS_GIVEN_H
#define CRIU_TREE_NS_GIVEN_H

#include "options/options.h"
#include "proc/ns_type.h"
#include "tree/dump.h"
#include "tree/restore.h"

/* Dump: the key of a namespace that is external; NULL: it is not. */
const char *ns_given_key(const struct options *o, const struct ns_type *type, uint64_t ino);

/* Restore: a descriptor of the namespace that takes the place of one of the images; it stays here. -1: none does. */
int ns_given_fd(const struct restore *r, const struct ns_type *type, uint32_t id);

/* Restore: what `--join-ns TYPE:FILE,EXTRA` says of it behind the comma; NULL: nothing. */
const char *ns_given_extra(const struct restore *r, const struct ns_type *type, uint32_t id);

/* Restore: whether a namespace of the images has that key. */
bool ns_given_takes(const struct restore *r, const char *key);

#endif
