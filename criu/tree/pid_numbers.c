/* SPDX-License-Identifier: GPL-2.0-only */
#include "tree/pid_numbers.h"

#include "lib/arena_hash.h"

struct numbered {
	struct pid_numbers p;
	UT_hash_handle hh;
};

static struct pid_numbers *find_numbers(const struct tree *tree, vpid_t vpid)
{
	struct numbered *e;

	HASH_FIND(hh, tree->numbers, &vpid, sizeof(vpid), e);
	return e ? &e->p : NULL;
}

void pid_numbers_add(struct tree *tree, struct arena *a, vpid_t vpid, const pid_t *inner, size_t n)
{
	struct pid_numbers *p = find_numbers(tree, vpid);

	if (!n || (p && p->n >= n))
		return;
	if (!p) {
		struct numbered *e = arena_new_of(a, struct numbered);

		p = &e->p;
		p->vpid = vpid;
		HASH_ADD_IN(a, hh, tree->numbers, p.vpid, sizeof(p->vpid), e);
	}
	p->n = n;
	p->inner = arena_memdup(a, inner, n * sizeof(*inner));
}

void pid_numbers_add_gone(struct tree *tree, struct arena *a, vpid_t vpid, const pid_t *inner, size_t n, uint32_t ns)
{
	struct pid_numbers *p;

	pid_numbers_add(tree, a, vpid, inner, n);
	p = find_numbers(tree, vpid);
	if (p && p->n == n)
		p->ns = ns;
}

bool pid_numbers_next(const struct tree *tree, const struct pid_numbers **p)
{
	const struct numbered *next = *p ? ((const struct numbered *)*p)->hh.next : tree->numbers;

	*p = next ? &next->p : NULL;
	return next;
}

const struct pid_numbers *pid_numbers_of(const struct tree *tree, vpid_t vpid)
{
	return find_numbers(tree, vpid);
}

size_t pid_depth(const struct tree *tree, vpid_t vpid)
{
	const struct pid_numbers *p = find_numbers(tree, vpid);

	return p ? p->n : 0;
}

pid_t pid_number_at(const struct tree *tree, vpid_t vpid, size_t depth)
{
	const struct pid_numbers *p;

	if (!depth || vpid.v <= 0)
		return vpid.v;
	p = find_numbers(tree, vpid);
	return p && p->n >= depth ? p->inner[depth - 1] : 0;
}

pid_t pid_number_for(const struct tree *tree, const struct task *t, vpid_t vpid)
{
	return tree->numbers ? pid_number_at(tree, vpid, pid_depth(tree, t->vpid)) : vpid.v;
}
