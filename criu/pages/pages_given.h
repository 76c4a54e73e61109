/* SPDX-License-Identifier: GPL-2.0-only */
/* page-server --lazy-pages: the pages of a checkpoint that is here, for a lazy-pages daemon elsewhere. */
#ifndef CRIU_PAGES_PAGES_GIVEN_H
#define CRIU_PAGES_PAGES_GIVEN_H

#include "pages/page_peer.h"

/* Serves until the daemon says that it needs no more. 0 or a negative errno (logged). */
int pages_give_images(const struct options *o, const struct page_peer *p);

#endif
