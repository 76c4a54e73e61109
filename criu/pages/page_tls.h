/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of pages/: a connection that is encrypted, and whose ends show who they are (--tls). */
#ifndef CRIU_PAGES_PAGE_TLS_H
#define CRIU_PAGES_PAGE_TLS_H

#include <sys/types.h>

#include "common.h"

struct options;
struct page_tls;

/* Whether the library and all files are there, before anything depends on it. 0 or a negative errno (logged). */
int page_tls_check(const struct options *o);

/*
 * The handshake, within `limit` milliseconds; the peer has shown its certificate when it returns 0 (a client of TLS 1.3
 * hears by its first receiving that the server has refused it). 0 or a negative errno (logged).
 */
int page_tls_begin(const struct options *o, int fd, bool server, unsigned limit, struct page_tls **tlsp);
void page_tls_end(struct page_tls *t);

/*
 * As recv(2) and send(2) with MSG_DONTWAIT, but a negative errno is returned (-EAGAIN, -EPROTO: not the peer's bytes,
 * or it has refused us; that is logged), and what could not be sent has to be given again.
 */
ssize_t page_tls_receive(struct page_tls *t, void *buf, size_t len);
ssize_t page_tls_send(struct page_tls *t, const void *buf, size_t len);

#endif
