/* SPDX-License-Identifier: GPL-2.0-only */
#include "lib/ranges.h"

void ranges_push(struct arena *a, struct ranges *list, raddr_t start, raddr_t end)
{
	struct range *last = list->n ? &list->r[list->n - 1] : NULL;
	struct range range = { start, end };

	if (last && last->end == start)
		last->end = end;
	else
		arena_push(a, &list->r, &list->n, range);
}

struct ranges ranges_without(struct arena *a, const struct ranges *of, const struct ranges *without)
{
	struct ranges left = { 0 };
	size_t k = 0;

	for (size_t i = 0; i < of->n; i++) {
		raddr_t at = of->r[i].start, end = of->r[i].end;

		while (k < without->n && without->r[k].end <= at)
			k++;
		for (size_t j = k; at < end && j < without->n && without->r[j].start < end; j++) {
			if (without->r[j].start > at)
				ranges_push(a, &left, at, without->r[j].start);
			at = MAX(at, without->r[j].end);
		}
		if (at < end)
			ranges_push(a, &left, at, end);
	}
	return left;
}

struct ranges ranges_common(struct arena *a, const struct ranges *one, const struct ranges *other)
{
	struct ranges both = { 0 };
	size_t i = 0, k = 0;

	while (i < one->n && k < other->n) {
		raddr_t start = MAX(one->r[i].start, other->r[k].start), end = MIN(one->r[i].end, other->r[k].end);

		if (start < end)
			ranges_push(a, &both, start, end);
		if (one->r[i].end <= other->r[k].end)
			i++;
		else
			k++;
	}
	return both;
}

struct ranges ranges_either(struct arena *a, const struct ranges *one, const struct ranges *other)
{
	struct ranges all = { 0 };
	size_t i = 0, k = 0;

	while (i < one->n || k < other->n) {
		bool first = k == other->n || (i < one->n && one->r[i].start <= other->r[k].start);
		const struct range *next = first ? &one->r[i++] : &other->r[k++];
		struct range *last = all.n ? &all.r[all.n - 1] : NULL;

		if (last && next->start <= last->end)
			last->end = MAX(last->end, next->end);
		else
			ranges_push(a, &all, next->start, next->end);
	}
	return all;
}
