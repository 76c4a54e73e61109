/* SPDX-License-Identifier: GPL-2.0-only */
/* A page server in two steps, for the service, which answers its client in between. */
#ifndef CRIU_CMD_PAGE_SERVER_H
#define CRIU_CMD_PAGE_SERVER_H

#include "image/image_received.h"
#include "options/options.h"

struct page_server {
	const struct options *opts;
	struct image_received images;
	int listener;
	unsigned port; /* 0: --ps-socket */
};

/* The directory and the socket are there. page_server_close() in any case. 0 or a negative errno (logged), as both. */
int page_server_open(struct page_server *s, const struct options *o);

/* Serves one connection. */
int page_server_run(struct page_server *s);

void page_server_close(struct page_server *s);

#endif
