/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * On which NUMA nodes memory is to be: the policy of each thread, set_mempolicy(2), and of each mapping, mbind(2). Only
 * the task itself can read either. A mapping is asked at its start: the kernel splits mappings where policies differ.
 * The home node of set_mempolicy_home_node(2) the kernel shows to nobody.
 */
#include "mm/mempolicy.h"

#include <string.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "lib/log.h"
#include "tree/subsys.h"
#include "tree/task_part.h"
#include "uapi/mempolicy.h"

#define ASKED_AT_ONCE 1024

extern const struct task_part mempolicy_part;
extern const struct subsys mempolicy_subsys;

/* criu's own policy, which new threads have; a restored one need not have had it. */
struct own_policy {
	bool asked;
	int mode;
};

/* What the kernel writes. */
struct policy {
	int32_t mode, unused[3];
	uint8_t nodes[MEMPOLICY_BYTES];
};

/* NULL: the default. */
static MempolicyEntry *entry_of(struct arena *a, const struct policy *p)
{
	MempolicyEntry *e;
	size_t len = sizeof(p->nodes);

	if (p->mode == MPOL_DEFAULT)
		return NULL;
	e = arena_msg(a, MempolicyEntry, mempolicy_entry);
	while (len && !p->nodes[len - 1])
		len--;
	e->mode = (uint32_t)p->mode;
	e->has_nodes = len;
	e->nodes.len = len;
	e->nodes.data = arena_memdup(a, p->nodes, len);
	return e;
}

bool mempolicy_is_sane(const MempolicyEntry *e)
{
	return !e || e->nodes.len <= MEMPOLICY_BYTES;
}

/* ---- threads ---- */

static int mempolicy_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	raddr_t at = batch_space(b, sizeof(struct policy), datap);

	batch_ask(b, SYS_get_mempolicy, at, at + offsetof(struct policy, nodes), MEMPOLICY_NODES, 0, 0);
	return 0;
}

/* -ENOSYS: a kernel without NUMA. */
static int mempolicy_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	if (ans->op->flags & AGENT_OP_DONE && !ans->op->ret)
		th->core->thread_core->mempolicy = entry_of(d->arena, ans->data);
	return 0;
}

static int mempolicy_check(struct restore *r, const struct thread *th)
{
	if (mempolicy_is_sane(th->core->thread_core->mempolicy))
		return 0;
	return log_errno(-EINVAL, "%s: its image has a memory policy of %zu bytes", task_thread_name(th),
	                 th->core->thread_core->mempolicy->nodes.len);
}

/* As arguments: the nodes' address, and how many there are. */
static raddr_t put_nodes(struct batch *b, const MempolicyEntry *e)
{
	uint8_t nodes[MEMPOLICY_BYTES] = { 0 };

	if (!e || !e->nodes.len)
		return 0;
	memcpy(nodes, e->nodes.data, e->nodes.len);
	return batch_data(b, nodes, sizeof(nodes));
}

static bool same_policy(const MempolicyEntry *a, const MempolicyEntry *b)
{
	if (!a || !b)
		return a == b;
	return a->mode == b->mode && a->nodes.len == b->nodes.len &&
	       !memcmp(a->nodes.data, b->nodes.data, a->nodes.len);
}

static int own_mode(struct restore *r)
{
	struct own_policy *own = restore_state(r, &mempolicy_part);

	if (!own->asked && syscall(SYS_get_mempolicy, &own->mode, NULL, 0, NULL, 0))
		own->mode = MPOL_DEFAULT;
	own->asked = true;
	return own->mode;
}

static int mempolicy_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const MempolicyEntry *e = th->core->thread_core->mempolicy;
	raddr_t nodes;
	int op, err;

	if (!e && own_mode(r) == MPOL_DEFAULT)
		return 0;
	batch_reserve(b, 1, MEMPOLICY_BYTES);
	nodes = put_nodes(b, e);
	op = batch_ask(b, SYS_set_mempolicy, e ? e->mode : MPOL_DEFAULT, nodes, nodes ? MEMPOLICY_NODES + 1 : 0);
	err = batch_run(b);
	if (!err && batch_ret(b, op) < 0)
		log_warn("%s: its memory policy %x cannot be set (set_mempolicy: %s): its nodes may not exist here",
		         task_thread_name(th), e ? e->mode : 0, strerror((int)-batch_ret(b, op)));
	return err;
}

const struct task_part mempolicy_part = {
	.name = "memory policy",
	.state = { .restore = sizeof(struct own_policy) },
	.per_thread = true,
	.ask = mempolicy_ask,
	.dump = mempolicy_dump,
	.check = mempolicy_check,
	.restore = mempolicy_restore,
};

/* ---- mappings ---- */

/* Of mappings [from, to), into modes; one call each, 0.2 microseconds. *known: the kernel has NUMA. */
static int ask_modes(struct task *t, size_t from, size_t to, int32_t *modes, bool *known)
{
	struct batch *b = agent_batch(t->threads[0].dump->agent, "memory policies of its mappings");
	int32_t *local;
	raddr_t at = batch_space(b, (to - from) * sizeof(*local), &local);
	int first = 0, op, err;

	for (size_t i = from; i < to; i++) {
		op = batch_ask(b, SYS_get_mempolicy, at + (i - from) * sizeof(*local), 0, 0, t->mm->vmas[i]->start,
		               MPOL_F_ADDR);
		first = i == from ? op : first;
	}
	err = batch_run(b);
	*known = !err && batch_ret(b, first) != -ENOSYS;
	for (size_t i = from; !err && *known && i < to; i++)
		modes[i] = batch_ret(b, first + (int)(i - from)) ? MPOL_DEFAULT : local[i - from];
	return err;
}

static int ask_nodes(struct dump *d, struct task *t, VmaEntry *v)
{
	struct batch *b = agent_batch(t->threads[0].dump->agent, "memory policy of a mapping");
	struct policy *p;
	raddr_t at = batch_space(b, sizeof(*p), &p);
	int op = batch_ask(b, SYS_get_mempolicy, at, at + offsetof(struct policy, nodes), MEMPOLICY_NODES, v->start,
	                   MPOL_F_ADDR);
	int err = batch_run(b);

	if (!err && !batch_ret(b, op))
		v->mempolicy = entry_of(d->arena, p);
	return err;
}

static int mempolicy_inside(struct dump *d, struct task *t)
{
	struct batch *b = agent_batch(t->threads[0].dump->agent, "");
	size_t n = t->mm ? t->mm->n_vmas : 0, most = MIN(batch_capacity(b) - 1, ASKED_AT_ONCE);
	int32_t *modes;
	bool known = true;
	int err = 0;

	if (tree_first_vm(&d->tree, t) != t || !n)
		return 0;
	modes = arena_array(d->arena, int32_t, n);
	for (size_t from = 0; !err && known && from < n; from += most)
		err = ask_modes(t, from, MIN(n, from + most), modes, &known);
	for (size_t i = 0; !err && i < n; i++)
		if (modes[i] != MPOL_DEFAULT)
			err = ask_nodes(d, t, t->mm->vmas[i]);
	return err;
}

/* A row of its own, to ask while the agent is inside. */
const struct subsys mempolicy_subsys = {
	.name = "memory policies of mappings",
	.inside = mempolicy_inside,
};

/* ---- restore ---- */

/* A copy's segments that come from its parent have the policies that the parent's have now. */
static bool inherits_policies(struct restore *r, const struct task *t)
{
	const MmEntry *mm = t->restore->copied && t->parent ? t->parent->mm : NULL;

	for (size_t i = 0; mm && i < mm->n_vmas; i++)
		if (mm->vmas[i]->mempolicy)
			return true;
	return false;
}

/* The end of a row of segments that take the same call. */
static size_t same_until(const struct task_mm *m, size_t i, bool kept_too)
{
	size_t to = i + 1;

	while (to < m->n_segs && m->segs[to].start == m->segs[to - 1].end && !m->segs[to].row->kernels &&
	       (kept_too || m->segs[to].kind == SEG_MAP) &&
	       same_policy(m->segs[to].vma->mempolicy, m->segs[i].vma->mempolicy))
		to++;
	return to;
}

int mempolicy_map(struct restore *r, struct task *t, struct task_mm *m)
{
	struct batch *b = agent_batch(t->restore->agent, "memory policies of its mappings");
	bool kept_too = inherits_policies(r, t), said = false;
	int err = 0;

	for (size_t i = 0, to; !err && i < m->n_segs; i = to) {
		const struct segment *s = &m->segs[i];
		const MempolicyEntry *e = s->vma ? s->vma->mempolicy : NULL;
		raddr_t nodes;
		int op;

		to = i + 1;
		if (s->row->kernels || (!e && (!kept_too || s->kind != SEG_KEEP)))
			continue;
		to = same_until(m, i, kept_too);
		batch_reserve(b, 1, MEMPOLICY_BYTES);
		nodes = put_nodes(b, e);
		op = batch_ask(b, SYS_mbind, s->start, m->segs[to - 1].end - s->start, e ? e->mode : MPOL_DEFAULT,
		               nodes, nodes ? MEMPOLICY_NODES + 1 : 0, 0);
		err = batch_run(b);
		if (!err && batch_ret(b, op) < 0 && !said)
			log_warn("%s: mapping %llx: its memory policy %x cannot be set (mbind: %s): its nodes may not "
			         "exist here; other mappings are not named",
			         task_name(t), (unsigned long long)s->start, e ? e->mode : 0,
			         strerror((int)-batch_ret(b, op)));
		said = said || batch_ret(b, op) < 0;
	}
	return err;
}
