/* SPDX-License-Identifier: GPL-2.0-only */
#include "pages/page_turns.h"

void page_turns_begin(struct page_turns *t)
{
	*t = (struct page_turns) { 0 };
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->next, NULL);
}

void page_turns_end(struct page_turns *t)
{
	pthread_cond_destroy(&t->next);
	pthread_mutex_destroy(&t->lock);
}

void page_turns_place(struct page_turns *t, struct page_load *load)
{
	load->offset = t->placed;
	t->placed += load->len;
}

/* All loads before this one have their places, and so will be written. */
int page_turns_write(struct page_turns *t, const struct page_load *load,
                     int (*fn)(void *arg, const struct page_load *load), void *arg)
{
	int err;

	if (!load->len)
		return 0;
	pthread_mutex_lock(&t->lock);
	while (t->done != load->offset && !t->err)
		pthread_cond_wait(&t->next, &t->lock);
	err = t->err ?: fn(arg, load);
	t->err = err;
	t->done += load->len;
	pthread_cond_broadcast(&t->next);
	pthread_mutex_unlock(&t->lock);
	return err;
}
