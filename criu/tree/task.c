/* SPDX-License-Identifier: GPL-2.0-only */
/* Names of tasks for messages, and lookups in the tree. */
#include <string.h>

#include "lib/log.h"
#include "proc/proc.h"
#include "tree/task.h"

#define NAMES 8

/* Long enough for a comm of 15 bytes and two pids. */
typedef char name_text[64];

static char *next_name(void)
{
	/* lint: global: the ring of task_name(), each thread its own */
	static __thread name_text ring[NAMES];
	/* lint: global: where in the ring */
	static __thread unsigned next;

	return ring[next++ % NAMES];
}

const char *task_name(const struct task *t)
{
	char *name = next_name();

	snprintf(name, sizeof(name_text), "pid %d (%.*s)", task_id(t) ?: t->vpid.v, (int)sizeof(t->comm), t->comm);
	return name;
}

const char *task_thread_name(const struct thread *th)
{
	const struct task *t = th->task;
	char *name;

	if (th == t->threads)
		return task_name(t);
	name = next_name();
	snprintf(name, sizeof(name_text), "pid %d (%.*s) thread %d", task_id(t) ?: t->vpid.v, (int)sizeof(t->comm),
	         t->comm, th->tid ?: th->vtid.v);
	return name;
}

/* ---- lookups ---- */

/* What a key in the index is the number of. */
enum object { OBJECT_PID, OBJECT_OUR_PID, OBJECT_VM, OBJECT_FILES, OBJECT_FS, OBJECT_SIGHAND, OBJECT_COUNT };

struct slot {
	uint64_t key;      /* object << 32 | number */
	struct task *task; /* NULL: free */
};

struct tree_index {
	size_t n_tasks; /* the tasks that are in it */
	bool ids;       /* all of these had their ids */
	size_t mask;
	struct slot *slots;
};

static uint32_t object_id_of(const struct task *t, enum object object)
{
	switch (object) {
	case OBJECT_VM:
		return t->ids->vm_id;
	case OBJECT_FILES:
		return t->ids->files_id;
	case OBJECT_FS:
		return t->ids->fs_id;
	case OBJECT_SIGHAND:
		return t->ids->sighand_id;
	default:
		return 0;
	}
}

static uint64_t index_key(enum object object, uint32_t number)
{
	return (uint64_t)object << 32 | number;
}

/* Linear probing; at most half of the slots are taken. */
static struct slot *slot_of(const struct tree_index *index, uint64_t key)
{
	size_t at = (size_t)((key * 0x9e3779b97f4a7c15ULL) >> 20) & index->mask;

	while (index->slots[at].task && index->slots[at].key != key)
		at = (at + 1) & index->mask;
	return &index->slots[at];
}

/* The first with a key keeps it. */
static void index_add(struct tree_index *index, enum object object, uint32_t number, struct task *t)
{
	struct slot *s = slot_of(index, index_key(object, number));

	if (!s->task)
		*s = (struct slot) { index_key(object, number), t };
}

void tree_index(struct tree *tree, struct arena *a)
{
	struct tree_index *index = arena_new_of(a, struct tree_index);
	size_t keys = 0, size = 16;

	for (size_t i = 0; i < tree->n_tasks; i++)
		keys += 2 * tree->tasks[i]->n_threads + OBJECT_COUNT;
	while (size < keys * 2)
		size *= 2;
	index->slots = arena_array(a, struct slot, size);
	index->mask = size - 1;
	index->n_tasks = tree->n_tasks;
	index->ids = true;
	for (size_t i = 0; i < tree->n_tasks; i++) {
		struct task *t = tree->tasks[i];

		index_add(index, OBJECT_PID, (uint32_t)t->vpid.v, t);
		index_add(index, OBJECT_OUR_PID, (uint32_t)task_id(t), t);
		for (size_t k = 0; k < t->n_threads; k++) {
			index_add(index, OBJECT_PID, (uint32_t)t->threads[k].vtid.v, t);
			index_add(index, OBJECT_OUR_PID, (uint32_t)t->threads[k].tid, t);
		}
		if (!t->ids)
			index->ids &= t->state == TASK_DEAD;
		else
			for (enum object o = OBJECT_VM; o < OBJECT_COUNT; o++)
				index_add(index, o, object_id_of(t, o), t);
	}
	tree->index = index;
}

static struct task *tree_first(const struct tree *tree, const struct task *t, enum object object)
{
	const struct tree_index *index = tree->index;

	if (t->ids && index && index->ids && index->n_tasks == tree->n_tasks) {
		struct task *first = slot_of(index, index_key(object, object_id_of(t, object)))->task;

		/* An id that was changed after the index was made is looked for below. */
		if (first && first->ids && object_id_of(first, object) == object_id_of(t, object))
			return first;
	}
	for (size_t i = 0; t->ids && i < tree->n_tasks; i++) {
		struct task *other = tree->tasks[i];

		if (other->ids && object_id_of(other, object) == object_id_of(t, object))
			return other;
	}
	return (struct task *)(uintptr_t)t;
}

struct task *tree_first_vm(const struct tree *tree, const struct task *t)
{
	return tree_first(tree, t, OBJECT_VM);
}

struct task *tree_first_files(const struct tree *tree, const struct task *t)
{
	return tree_first(tree, t, OBJECT_FILES);
}

struct task *tree_first_fs(const struct tree *tree, const struct task *t)
{
	return tree_first(tree, t, OBJECT_FS);
}

struct task *tree_first_sighand(const struct tree *tree, const struct task *t)
{
	return tree_first(tree, t, OBJECT_SIGHAND);
}

static bool has_pid(const struct task *t, vpid_t pid)
{
	if (t->vpid.v == pid.v)
		return true;
	for (size_t i = 0; i < t->n_threads; i++)
		if (t->threads[i].vtid.v == pid.v)
			return true;
	return false;
}

struct task *tree_find(const struct tree *tree, vpid_t pid)
{
	const struct tree_index *index = tree->index;

	if (pid.v <= 0)
		return NULL;
	if (index && index->n_tasks == tree->n_tasks)
		return slot_of(index, index_key(OBJECT_PID, (uint32_t)pid.v))->task;
	for (size_t i = 0; i < tree->n_tasks; i++)
		if (has_pid(tree->tasks[i], pid))
			return tree->tasks[i];
	return NULL;
}

static bool has_our_pid(const struct task *t, pid_t pid)
{
	if (task_id(t) == pid)
		return true;
	for (size_t i = 0; i < t->n_threads; i++)
		if (t->threads[i].tid == pid)
			return true;
	return false;
}

struct task *tree_find_ours(const struct tree *tree, pid_t pid)
{
	const struct tree_index *index = tree->index;

	if (pid <= 0)
		return NULL;
	if (index && index->n_tasks == tree->n_tasks)
		return slot_of(index, index_key(OBJECT_OUR_PID, (uint32_t)pid))->task;
	for (size_t i = 0; i < tree->n_tasks; i++)
		if (has_our_pid(tree->tasks[i], pid))
			return tree->tasks[i];
	return NULL;
}

/* ---- from /proc ---- */

int task_read_zombie(pid_t pid, struct TaskCoreEntry *tc)
{
	struct proc_stat st;
	int err = proc_stat_of(pid, &st);

	if (err)
		return log_errno(err, "pid %d: a zombie that is gone", pid);
	tc->exit_code = (uint32_t)st.exit_code;
	tc->flags = st.flags;
	return 0;
}

int task_list_threads(struct arena *a, struct task *t)
{
	_cleanup_close_ int fd = proc_open(t->pid);
	pid_t *tids = NULL;
	size_t n = 0, next = 1;
	int err = fd < 0 ? fd : proc_read_threads(fd, a, &tids, &n);

	if (!err && !n)
		err = -ESRCH;
	if (err)
		return log_errno(err, "%s: listing its threads", task_name(t));
	t->threads = arena_array(a, struct thread, n + 1);
	t->threads[0] = (struct thread) { .task = t, .tid = t->pid };
	/* The leader comes first; it is dead where t is reached by another thread. */
	for (size_t i = 1; i < n; i++)
		if (tids[i] != t->pid)
			t->threads[next++] = (struct thread) { .task = t, .tid = tids[i] };
	t->n_threads = next;
	return 0;
}
