/* SPDX-License-Identifier: GPL-2.0-only */
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>

#include "helper/detour.h"
#include "lib/own_pids.h"
#include "sock/diag.h"
#include "sock/tcp/tcp_handshakes.h"
#include "sock/tcp/tcp_table.h"

struct handshake {
	struct diag_inet socket;
	struct handshake *next;
};

struct tcp_handshakes {
	struct arena *arena; /* the thread's, until it has ended */
	pthread_t thread;
	bool runs;
	int err;
	struct handshake *first;
};

static int keep_handshake(const struct diag_inet *s, void *arg)
{
	struct tcp_handshakes *h = arg;
	struct handshake *kept = arena_new_of(h->arena, struct handshake);

	*kept = (struct handshake) { *s, h->first };
	h->first = kept;
	return 0;
}

static void *list_handshakes(void *arg)
{
	struct tcp_handshakes *h = arg;

	h->err = tcp_table_each(h->arena, 0, 1U << TCP_SYN_RECV, keep_handshake, h);
	return NULL;
}

struct tcp_handshakes *tcp_handshakes_begin(void)
{
	struct tcp_handshakes *h = calloc(1, sizeof(*h));

	if (h)
		h->arena = arena_new();
	if (!h || !h->arena) {
		free(h);
		return NULL;
	}
	/* On a detour this is a helper process, and its threads end when it goes home. */
	h->err = -ECANCELED;
	h->runs = detour_at() < 0 && !own_pids_thread(&h->thread, list_handshakes, h);
	if (!h->runs)
		list_handshakes(h);
	return h;
}

static void await_list(struct tcp_handshakes *h)
{
	if (h->runs)
		pthread_join(h->thread, NULL);
	h->runs = false;
}

int tcp_handshakes_each(struct tcp_handshakes *h, int (*fn)(const struct diag_inet *s, void *arg), void *arg)
{
	int err;

	await_list(h);
	err = h->err;
	for (const struct handshake *s = h->first; s && !err; s = s->next)
		err = fn(&s->socket, arg);
	return err;
}

void tcp_handshakes_end(struct tcp_handshakes *h)
{
	if (!h)
		return;
	await_list(h);
	arena_free(h->arena);
	free(h);
}
