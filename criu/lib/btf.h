/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's own description of its types (BTF, /sys/kernel/btf/vmlinux): where a member of a struct lies.
 * The file is foreign: anything odd in it is "not found". Nothing is logged here.
 */
#ifndef CRIU_LIB_BTF_H
#define CRIU_LIB_BTF_H

#include "common.h"

struct btf_types;

/*
 * A negative errno: -ENOENT where the kernel has none. To be freed by btf_free(). What was asked before is kept for
 * later commands (lib/btf_kept.h); only what was not has all types read, where errors of that are the answer.
 */
int btf_read(struct btf_types **out);
/* The same from memory, which is copied; for tests. */
int btf_parse(const void *data, size_t len, struct btf_types **out);
void btf_free(struct btf_types *b);

/*
 * The place of a member, in bytes: a struct and a path of names, "cb" or "sk_receive_queue.next"; members of unnamed
 * structs and unions within it are found too. -ENOENT: it has none such; -EINVAL: it does not begin at a byte.
 */
int btf_offset(const struct btf_types *b, const char *type, const char *path);

/*
 * How many bytes lie from the begin of a member, by a path as above, to the next member of its struct that begins later
 * (or to the struct's end): all of it, and the padding behind. -ENOENT: none such; -EINVAL: a bit-field.
 */
int btf_span(const struct btf_types *b, const char *type, const char *path);

/* The size of a struct, in bytes; -ENOENT: none such. */
int btf_size(const struct btf_types *b, const char *type);

#endif
