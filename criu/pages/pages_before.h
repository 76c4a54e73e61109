/* SPDX-License-Identifier: GPL-2.0-only */
/* What the checkpoint before has of each task, itself or by those before it: in files here, or with a page server. */
#ifndef CRIU_PAGES_PAGES_BEFORE_H
#define CRIU_PAGES_PAGES_BEFORE_H

#include "lib/ranges.h"
#include "tree/dump.h"

struct pages_before;

/* prev: the checkpoint before, open as long as this is used. 0 or a negative errno (logged), as the next two. */
int pages_before_read(struct dump *d, struct image_dir *prev, struct pages_before **bp);

/* The addresses of t that it has pages of, ascending. b: NULL: of none. */
int pages_before_of(struct dump *d, const struct pages_before *b, const struct task *t, struct ranges *stored);

/* ---- pages/page_link.c: a dump with --page-server; of others all is there ---- */

/* Whether what this server writes will be on top of that checkpoint. */
bool pages_before_are_there(struct dump *d);

/* Asks for each task whether the server has it there. */
int pages_before_ask(struct dump *d, const struct task *const *tasks, size_t n, bool *has);

#endif
