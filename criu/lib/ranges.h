/* SPDX-License-Identifier: GPL-2.0-only */
/* Stretches of addresses, or of a file. */
#ifndef CRIU_LIB_RANGES_H
#define CRIU_LIB_RANGES_H

#include "common.h"
#include "lib/arena.h"

struct range {
	raddr_t start, end;
};

struct ranges {
	struct range *r;
	size_t n;
};

/* For qsort(). */
static inline int range_by_start(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* Appends a range that is not below the last one; one that begins where the last ends makes that longer. */
void ranges_push(struct arena *a, struct ranges *list, raddr_t start, raddr_t end);

/* How long they are together. */
static inline uint64_t ranges_bytes(const struct ranges *list)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < list->n; i++)
		sum += list->r[i].end - list->r[i].start;
	return sum;
}

/* Both lists ascend, and no range overlaps another of its list. What `of` has that `without` has not. */
struct ranges ranges_without(struct arena *a, const struct ranges *of, const struct ranges *without);

/* What both have. */
struct ranges ranges_common(struct arena *a, const struct ranges *one, const struct ranges *other);

/* What one of them has, or both. */
struct ranges ranges_either(struct arena *a, const struct ranges *one, const struct ranges *other);

#endif
