/* SPDX-License-Identifier: GPL-2.0-only */
/* The server's end of a connection: what comes is foreign input, and becomes pagemaps and pages files. */
#ifndef CRIU_PAGES_PAGE_RECEIVE_H
#define CRIU_PAGES_PAGE_RECEIVE_H

#include "image/image_received.h"
#include "pages/page_peer.h"

/*
 * Serves the peer until it says that all has been sent; the images are in their place then, and the peer knows. Any
 * other end is an error: a negative errno (logged), and nothing of what has come counts.
 */
int page_receive(const struct page_peer *p, struct image_received *images);

/* Behind that, with --auto-dedup: whether the dump says that it has committed. */
bool page_receive_committed(const struct page_peer *p);

#endif
