/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dump --lazy-pages: pages that are not written, but given to a lazy-pages daemon that asks for them while the tree
 * stands still. Whatever fails before the daemon has said that it needs no more, the tree runs on here.
 */
#ifndef CRIU_PAGES_PAGES_LATER_H
#define CRIU_PAGES_PAGES_LATER_H

#include "tree/dump.h"

struct page_transfer;

/* Takes the runs of a task's transfer that stay with it. 0 or a negative errno (logged). */
int pages_later_keep(struct dump *d, const struct task *t, const struct page_transfer *from);

#endif
