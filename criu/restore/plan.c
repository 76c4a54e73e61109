/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A session cannot be joined, only be born into. So a task whose session is not its parent's was created by a
 * member of that session: by its parent before the parent made a session of its own, by a sibling in that session
 * (CLONE_PARENT), or by a descendant of its parent that has exited since. A helper stands for a member that is gone.
 */
#include <uthash.h>

#include "arch_page.h"
#include "restore/plan.h"
#include "lib/log.h"
#include "tree/pid_numbers.h"
#include "tree/subsys.h"

struct by_pid {
	pid_t pid;
	struct node *node;
	UT_hash_handle hh;
};

struct planner {
	struct restore *r;
	struct plan *p;
	struct by_pid *by_pid;
	bool only_tree; /* memory has not been read: what depends on it is left out */
};

static struct node *find_node(const struct planner *pl, vpid_t pid)
{
	struct by_pid *e;

	HASH_FIND(hh, pl->by_pid, &pid.v, sizeof(pid.v), e);
	return e ? e->node : NULL;
}

static struct node *new_node(struct planner *pl, struct task *t, vpid_t pid)
{
	struct node *n = arena_new_of(pl->r->arena, struct node);

	n->task = t;
	n->pid = pid;
	n->ephemeral = !t || t->state == TASK_DEAD;
	n->sid = t ? t->vsid : VPID(0);
	n->pgid = t ? t->vpgid : VPID(0);
	if (t)
		t->restore->node = n;
	if (pid.v) {
		struct by_pid *e = arena_new_of(pl->r->arena, struct by_pid);

		e->pid = pid.v;
		e->node = n;
		HASH_ADD(hh, pl->by_pid, pid, sizeof(e->pid), e);
	}
	return n;
}

/* Every task's node, so that sessions can be looked up before their members are placed. */
static void make_nodes(struct planner *pl)
{
	const struct tree *tree = &pl->r->tree;

	for (size_t i = 0; i < tree->n_tasks; i++) {
		struct task *t = tree->tasks[i];
		struct node *n = new_node(pl, t, t->vpid);

		n->parent = t->parent ? find_node(pl, t->parent->vpid) : NULL;
		arena_push(pl->r->arena, &pl->p->nodes, &pl->p->n_nodes, n);
	}
}

static void place_node(struct planner *pl, struct node *n, struct node *creator)
{
	n->creator = creator;
	n->born_sid = n->early ? creator->born_sid : creator->sid;
	arena_push(pl->r->arena, &creator->created, &creator->n_created, n);
}

static struct node *new_helper(struct planner *pl, struct node *parent, vpid_t pid, vpid_t sid)
{
	struct node *h = new_node(pl, NULL, pid);

	h->parent = parent;
	h->sid = sid;
	h->birth = BIRTH_SHARE;
	arena_push(pl->r->arena, &pl->p->nodes, &pl->p->n_nodes, h);
	place_node(pl, h, parent);
	return h;
}

/* A session's leader exited and left n: a helper with its pid makes the session again, beside n. */
static void place_by_dead_leader(struct planner *pl, struct node *n)
{
	struct node *h = new_helper(pl, n->parent, n->sid, n->sid);

	h->pgid = n->sid;
	n->clone_parent = true;
	place_node(pl, n, h);
}

static bool is_ancestor(const struct node *a, const struct node *n)
{
	for (; n; n = n->parent)
		if (n == a)
			return true;
	return false;
}

/* n's session lives on below its parent: a helper there creates it and exits, so that n moves up to its parent. */
static int place_by_orphaning(struct planner *pl, struct node *n, struct node *leader)
{
	struct node *h;

	if (!is_ancestor(n->parent, leader))
		return log_refusal(
		    -EOPNOTSUPP,
		    "pid %d (%s): its session %d is led by a task that is no descendant of its parent %d; "
		    "such a tree cannot be built: dump a larger one",
		    n->pid.v, n->task->comm, n->sid.v, n->parent->pid.v);
	h = new_helper(pl, leader, VPID(0), leader->sid);
	n->orphaned = true;
	place_node(pl, n, h);
	return 0;
}

static int place_in_session(struct planner *pl, struct node *n)
{
	struct node *p = n->parent, *leader;

	if (n->sid.v == n->pid.v || n->sid.v == p->sid.v) {
		place_node(pl, n, p);
		return 0;
	}
	if (n->sid.v == p->born_sid.v) {
		n->early = true;
		place_node(pl, n, p);
		return 0;
	}
	leader = find_node(pl, n->sid);
	if (!leader) {
		place_by_dead_leader(pl, n);
		return 0;
	}
	if (leader->parent != p)
		return place_by_orphaning(pl, n, leader);
	n->clone_parent = true;
	place_node(pl, n, leader);
	return 0;
}

static bool shares_vm(const struct node *n, const struct node *with)
{
	return n->task && with && with->task && n->task->ids && with->task->ids &&
	       n->task->ids->vm_id == with->task->ids->vm_id;
}

static int choose_birth(struct planner *pl, struct node *n)
{
	const struct task *t = n->task, *first;
	struct node *p = n->creator == n->parent ? n->parent : NULL;

	n->birth = BIRTH_EXEC;
	if (n->ephemeral || shares_vm(n, n->creator)) {
		n->birth = BIRTH_SHARE;
		return 0;
	}
	first = tree_first_vm(&pl->r->tree, t);
	if (first != t)
		return log_refusal(-EOPNOTSUPP,
		                   "pid %d (%s): shares its memory with pid %d (ids-%d.img), which is not its parent",
		                   t->vpid.v, t->comm, first->vpid.v, first->vpid.v);
	if (p && p->task && p->task->ids && t->compat == p->task->compat &&
	    (t->ids->files_id == p->task->ids->files_id || t->ids->fs_id == p->task->ids->fs_id ||
	     (!pl->only_tree && subsys_space()->starts_as_copy(pl->r, t))))
		n->birth = BIRTH_COPY;
	first = tree_first_fs(&pl->r->tree, t);
	if (first->compat != t->compat)
		return log_refusal(
		    -EOPNOTSUPP,
		    "pid %d (%s): a %s-bit program that shares its working directory (CLONE_FS) with pid %d, "
		    "which is a %s-bit one: not supported",
		    t->vpid.v, t->comm, t->compat ? "32" : "64", first->vpid.v, first->compat ? "32" : "64");
	first = tree_first_files(&pl->r->tree, t);
	if (first != t && (!p || n->birth != BIRTH_COPY || first->ids->files_id != p->task->ids->files_id))
		return log_refusal(
		    -EOPNOTSUPP,
		    "pid %d (%s): shares its descriptor table with pid %d (ids-%d.img), which is not its parent",
		    t->vpid.v, t->comm, first->vpid.v, first->vpid.v);
	return 0;
}

static size_t region_size(const struct node *n)
{
	return n->ephemeral ? AGENT_SMALL : AGENT_LARGE + (n->task->n_threads - 1) * AGENT_SMALL;
}

static void assign_region(struct planner *pl, struct node *n)
{
	struct arena *a = pl->r->arena;

	if (n->birth == BIRTH_EXEC) {
		n->family = arena_new_of(a, struct family);
		n->family->root = n;
		arena_push(a, &pl->p->families, &pl->p->n_families, n->family);
		if (n->creator) {
			n->first_slot = n->creator->family->size;
			n->creator->family->size += AGENT_SMALL;
		}
	} else {
		n->family = n->creator->family;
	}
	n->region = n->family->size;
	n->region_size = region_size(n);
	n->family->size += n->region_size;
}

/*
 * Puts creators before those that they create: breadth first from the root. Sessions are settled on the way, since a
 * task's born_sid is known once it is placed; members of a sibling's session wait until all siblings have been placed.
 */
static int order_nodes(struct planner *pl)
{
	struct plan *p = pl->p;
	struct node **order = NULL;
	size_t n_order = 0;
	int err = 0;

	arena_push(pl->r->arena, &order, &n_order, p->nodes[0]);
	for (size_t i = 0; !err && i < n_order; i++) {
		struct node *n = order[i];

		log_about("pstree.img, or ids-%lu.img", n->task ? (unsigned long)n->task->vpid.v : 0);
		err = n->creator ? choose_birth(pl, n) : 0;
		log_about(NULL, 0);
		assign_region(pl, n);
		for (size_t k = 0; k < n->n_created; k++)
			arena_push(pl->r->arena, &order, &n_order, n->created[k]);
	}
	if (!err && n_order != p->n_nodes)
		err = log_refusal(
		    -EOPNOTSUPP,
		    "pstree.img: %zu tasks are in sessions that lead in a circle; this tree cannot be built",
		    p->n_nodes - n_order);
	p->nodes = order;
	p->n_nodes = n_order;
	return err;
}

/* A process group whose leader is gone needs a helper with its pid in the same session. */
static int place_group_leaders(struct planner *pl)
{
	size_t n = pl->p->n_nodes;

	for (size_t i = 1; i < n; i++) {
		struct node *m = pl->p->nodes[i], *h;

		if (!m->task || !m->pgid.v || find_node(pl, m->pgid) || m->pgid.v == pl->p->nodes[0]->pgid.v)
			continue;
		h = new_helper(pl, m, m->pgid, m->sid);
		h->pgid = m->pgid;
	}
	return 0;
}

static struct pid_space *new_space(struct planner *pl, struct node *init, uint32_t id, size_t depth)
{
	struct pid_space *s = arena_new_of(pl->r->arena, struct pid_space);

	*s = (struct pid_space) { .id = id, .depth = depth, .init = init };
	arena_push(pl->r->arena, &pl->p->spaces, &pl->p->n_spaces, s);
	return s;
}

/*
 * A process is born in its creator's namespace or is the first of a new one, and the init of a namespace has no
 * siblings that it could create (clone3(2)).
 */
static int place_in_space(struct planner *pl, struct node *n)
{
	const struct tree *tree = &pl->r->tree;
	uint32_t id = n->task && n->task->ids ? n->task->ids->pid_ns_id : 0;
	struct pid_space *of = n->creator->space;
	size_t depth = n->pid.v ? pid_depth(tree, n->pid) : of->depth;
	bool by_init = n->clone_parent && of->init == n->creator && of->depth;

	if (depth == of->depth && (!id || id == of->id) && !by_init) {
		n->space = of;
		return 0;
	}
	if (n->task && depth == of->depth + 1 && pid_number_at(tree, n->pid, depth) == 1 && !by_init) {
		for (size_t i = 0; i < pl->p->n_spaces; i++)
			if (id && pl->p->spaces[i]->id == id)
				return log_refusal(-EINVAL, "pid %d: is not the only init of pid namespace %u",
				                   n->pid.v, id);
		n->space = new_space(pl, n, id, depth);
		return 0;
	}
	return log_refusal(-EOPNOTSUPP,
	                   "pid %d (%s): is in a pid namespace below that of the root task, and was not born in it as "
	                   "its init or below that one (nsenter), or its session or process group is one of another "
	                   "namespace, whose leader is gone: such a tree cannot be built (ids-%d.img and ids-%d.img)",
	                   n->pid.v, n->task ? n->task->comm : "the leader of a group, which is gone", n->pid.v,
	                   n->creator->pid.v);
}

static int place_in_spaces(struct planner *pl)
{
	const struct task *root = pl->p->nodes[0]->task;
	int err = 0, part;

	pl->p->nodes[0]->space = new_space(pl, pl->p->nodes[0], root->ids ? root->ids->pid_ns_id : 0, 0);
	for (size_t i = 1; i < pl->p->n_nodes; i++) {
		struct node *n = pl->p->nodes[i];

		log_about("pstree.img, or ids-%lu.img", n->task ? (unsigned long)n->task->vpid.v : 0);
		part = n->creator->space ? place_in_space(pl, n) : 0; /* a creator without one has been refused */
		log_about(NULL, 0);
		err = err ?: part;
	}
	return err;
}

static int plan_tree(struct planner *pl)
{
	struct plan *p = pl->p;
	int err = 0, placed;

	make_nodes(pl);
	p->nodes[0]->born_sid = p->nodes[0]->sid.v == p->nodes[0]->pid.v ? VPID(0) : p->nodes[0]->sid;
	for (size_t i = 1; i < pl->r->tree.n_tasks; i++) {
		placed = place_in_session(pl, p->nodes[i]);
		err = err ?: placed;
	}
	err = err ?: place_group_leaders(pl);
	err = err ?: order_nodes(pl);
	err = err ?: place_in_spaces(pl);
	HASH_CLEAR(hh, pl->by_pid);
	return err;
}

int plan_foresee(struct restore *r)
{
	struct planner pl = { .r = r, .p = arena_new_of(r->arena, struct plan), .only_tree = true };

	return plan_tree(&pl);
}

int plan_make(struct restore *r, size_t common, struct plan **planp)
{
	struct planner pl = { .r = r, .p = arena_new_of(r->arena, struct plan) };
	struct plan *p = pl.p;
	int err = plan_tree(&pl);

	p->common = common;
	for (size_t i = 0; i < p->n_families; i++) {
		p->families[i]->file_off = (p->file_size ?: common);
		p->file_size = p->families[i]->file_off + p->families[i]->size;
	}
	for (size_t i = 0; !err && i < p->n_families; i++) {
		struct family *f = p->families[i];

		/* One page more in front, for the ELF. */
		f->at = subsys_space()->find_hole(r, f->root->task, PAGE_SIZE + common + f->size);
		if (!f->at)
			err = log_errno(-ENOMEM, "%s: no room for the agent between its mappings",
			                task_name(f->root->task));
		f->at += PAGE_SIZE;
	}
	*planp = p;
	return err;
}
