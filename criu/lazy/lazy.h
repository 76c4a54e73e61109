/* SPDX-License-Identifier: GPL-2.0-only */
/* Lazy pages, both ends: the daemon that brings missing pages, and what a restore says to it. */
#ifndef CRIU_LAZY_LAZY_H
#define CRIU_LAZY_LAZY_H

#include "image/image.h"
#include "lazy/lazy_protocol.h"
#include "options/socket_file.h"
#include "pages/page_ask.h"

/* ---- the daemon ---- */

/*
 * Waits for a restore on the socket, and brings the pages of its tasks until all are there. *listener is closed when
 * the restore is known, and the socket's name removed. asker: who has pages that are not here; or NULL. 0 or a negative
 * errno (logged).
 */
int lazy_serve(struct image_dir *dir, struct arena *a, struct page_asker *asker, struct socket_file *file,
               int *listener);

/* ---- a restore ---- */

struct lazy_daemon {
	int sock;
	pid_t pid;
};

/* All return 0 or a negative errno (logged). No call waits longer than --timeout. */
int lazy_connect(const struct options *o, struct lazy_daemon *daemon);

/* A task and its userfaultfd; -1: it has all its memory. */
int lazy_send_task(const struct lazy_daemon *daemon, vpid_t vpid, int uffd);

/* There is no way back: the memory need not be kept elsewhere. To a daemon that fetches it from another host. */
void lazy_tell_committed(const struct lazy_daemon *daemon);

/* All tasks have been sent: waits until the daemon holds their descriptors. */
int lazy_finish(const struct lazy_daemon *daemon);

#endif
