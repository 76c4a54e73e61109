/* SPDX-License-Identifier: GPL-2.0-only */
#include "tree/beside.h"

static int beside_one(void *arg, size_t i)
{
	struct beside *s = arg;

	return s->fn(s->arg, s->some[i]);
}

int beside_run(struct beside *s)
{
	int errs[FIBERS_MAX], err = 0;

	fiber_run(s->n, beside_one, s, errs);
	for (size_t i = 0; i < s->n; i++)
		err = err ?: errs[i];
	s->n = 0;
	return err;
}

int beside_add(struct beside *s, struct task *t)
{
	s->some[s->n++] = t;
	return s->n == FIBERS_MAX ? beside_run(s) : 0;
}
