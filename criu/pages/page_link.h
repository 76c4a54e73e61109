/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of pages/: the connection of a dump to its page server. All return 0 or a negative errno (logged). */
#ifndef CRIU_PAGES_PAGE_LINK_H
#define CRIU_PAGES_PAGE_LINK_H

#include <sys/uio.h>

#include "pages/page_io.h"
#include "tree/dump.h"

/* The list is used up. what: for messages. */
int page_link_send(struct dump *d, struct iovec *list, size_t n, const char *what);

/* The images of an id begin; whether the server has a parent of them. */
int page_link_begin_images(struct dump *d, uint64_t id, bool *has_parent, const char *what);

/* All of a task has been sent: the next dump is to know what that was. */
int page_link_note_task(struct dump *d, uint64_t pid, const struct page_transfer *t);

/* All has been sent: waits until the server has written that. */
int page_link_finish(struct dump *d);

#endif
