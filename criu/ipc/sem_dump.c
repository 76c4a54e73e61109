/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * System V semaphore sets (semop(2)) at dump. The tree uses those of which a process of it has changed a semaphore last
 * (GETPID), or on which a thread of it sleeps.
 */
#include <string.h>
#include <sys/sem.h>
#include <sys/syscall.h>

#include "image/image.h"
#include "ipc/ipc_use.h"
#include "ipc/sem_set.h"
#include "lib/log.h"
#include "tree/subsys.h"

#define ASKED_MAX 20000 /* semaphores of others, times tasks: some 20 ms */

extern const struct subsys sem_subsys;

/* EACCES, EINVAL, EIDRM: a set that may not be read, or is gone, is passed over. */
static int stat_set(int id, struct semid_ds *ds)
{
	if (!semctl(id, 0, IPC_STAT, ds))
		return 0;
	return errno == EACCES || errno == EINVAL || errno == EIDRM
	           ? -ENOENT
	           : log_errno(-errno, "semaphore set %d: semctl(IPC_STAT)", id);
}

static void find_users(struct dump *d, const struct ipc_ns *ns, struct sem_set *s)
{
	size_t n = s->entry.nsems;

	s->entry.pids = arena_array(d->arena, uint32_t, n);
	s->entry.n_pids = n;
	for (size_t i = 0; i < n; i++) {
		int pid = semctl((int)s->desc.id, (int)i, GETPID);
		const struct task *t;

		if (pid <= 0)
			continue;
		t = tree_find_ours(&d->tree, pid);
		if (t) {
			s->entry.pids[i] = (uint32_t)t->vpid.v;
			s->used = true;
		} else if (!ns->own && !s->entry.used_outside && ipc_is_outside(&d->tree, pid, s->touched)) {
			s->entry.used_outside = s->entry.has_used_outside = true;
		}
	}
}

static int add_set(struct dump *d, struct sem_space *space, const struct ipc_waiters *waiters, int id)
{
	struct semid_ds ds;
	int err = stat_set(id, &ds);
	const struct task *waiter;
	struct sem_set *s;

	if (err)
		return err == -ENOENT ? 0 : err;
	s = arena_new_of(d->arena, struct sem_set);
	s->entry = (IpcSemEntry)IPC_SEM_ENTRY__INIT;
	s->desc = (IpcDescEntry)IPC_DESC_ENTRY__INIT;
	s->entry.desc = &s->desc;
	sysv_object_note(space->ns, &s->desc, id, &ds.sem_perm);
	s->entry.nsems = (uint32_t)ds.sem_nsems;
	s->entry.has_ctime = true;
	s->entry.ctime = ds.sem_ctime;
	s->touched = MAX(ds.sem_ctime, ds.sem_otime);
	find_users(d, space->ns, s);
	waiter = ipc_waiters_on(waiters, id);
	if (waiter && !s->used)
		s->entry.pids[0] = (uint32_t)waiter->vpid.v; /* a mark, by which a later restore knows the set */
	s->used = s->used || waiter || space->ns->own;
	s->next = space->sets;
	space->sets = s;
	return 0;
}

static uint64_t count_semaphores(const struct sem_space *space)
{
	uint64_t n = 0;

	for (const struct sem_set *s = space->sets; s; s = s->next)
		n += s->entry.nsems;
	return n;
}

static int list_space(struct dump *d, struct sem_space *space)
{
	struct ipc_waiters waiters = { 0 };
	int *ids = NULL, err;
	size_t n = 0;

	err = sysv_object_list(d->arena, "sem", &ids, &n);
	if (n)
		ipc_waiters_find(d, space->ns, SYS_semop, SYS_semtimedop, &waiters);
	for (size_t i = 0; !err && i < n; i++)
		err = add_set(d, space, &waiters, ids[i]);
	space->few = count_semaphores(space) * d->tree.n_tasks <= ASKED_MAX;
	return err;
}

int sem_set_list(struct dump *d, struct ipc_ns *ns, struct sem_space **found)
{
	struct sem_dump_state *all = dump_state(d, &sem_subsys);
	struct sem_space *space = all->spaces;

	while (space && space->ns != ns)
		space = space->next;
	*found = space;
	if (space)
		return 0;
	space = arena_new_of(d->arena, struct sem_space);
	space->ns = ns;
	space->next = all->spaces;
	*found = all->spaces = space;
	return list_space(d, space);
}

/* Threads of the tree have left the queues of sleepers when they were stopped: those that are there are others'. */
static bool has_sleepers(const struct sem_set *s)
{
	for (int i = 0; i < (int)s->entry.nsems; i++)
		if (semctl((int)s->desc.id, i, GETNCNT) > 0 || semctl((int)s->desc.id, i, GETZCNT) > 0)
			return true;
	return false;
}

static int collect_space(struct dump *d, struct ipc_ns *ns)
{
	struct sem_space *space;
	int err = sem_set_list(d, ns, &space);

	for (struct sem_set *s = space->sets; !err && s; s = s->next) {
		s->used = s->used || s->entry.n_undo;
		if (!ns->own && s->used && has_sleepers(s))
			s->entry.used_outside = s->entry.has_used_outside = true;
	}
	return err;
}

int sem_dump_collect(struct dump *d)
{
	int err = 0;

	for (struct ipc_ns *ns = ipc_ns_dumped(d); !err && ns; ns = ns->next) {
		err = ipc_ns_enter(ns);
		if (!err)
			err = ipc_ns_leave(ns, collect_space(d, ns));
	}
	return err;
}

static int write_set(struct dump *d, struct image *img, struct sem_set *s)
{
	size_t size = round_up(s->entry.nsems * sizeof(*s->values), 8);
	int err;

	s->values = arena_alloc(d->arena, size);
	if (semctl((int)s->desc.id, 0, GETALL, s->values))
		return log_errno(-errno, "semaphore set %u: semctl(GETALL)", s->desc.id);
	err = image_write(img, &s->entry);
	return err ?: image_write_raw(img, s->values, size);
}

static int write_space(struct dump *d, const struct sem_space *space)
{
	struct image *img = NULL;
	int err = 0;

	for (struct sem_set *s = space->sets; !err && s; s = s->next) {
		if (!s->used)
			continue;
		if (!img)
			err = image_create(d->dir, IMG_IPCNS_SEM, space->ns->id, &img);
		err = err ?: write_set(d, img, s);
	}
	return image_close(img) ?: err;
}

int sem_dump_write(struct dump *d)
{
	const struct sem_dump_state *all = dump_state(d, &sem_subsys);
	int err = 0;

	for (struct sem_space *space = all->spaces; !err && space; space = space->next) {
		err = ipc_ns_enter(space->ns);
		if (!err)
			err = ipc_ns_leave(space->ns, write_space(d, space));
	}
	return err;
}

void sem_dump_after_commit(struct dump *d)
{
	struct sem_dump_state *all = dump_state(d, &sem_subsys);

	all->killed = dump_kills_tree(d);
}

static void look_at_end(const struct dump *d, const struct sem_set *s)
{
	for (int i = 0; !s->used && i < (int)s->entry.nsems; i++) {
		int pid = semctl((int)s->desc.id, i, GETPID);
		const struct task *t = tree_find_ours(&d->tree, pid);

		if (t)
			log_warn("%s: at its end semaphore %d of set %u (key 0x%08x) was changed for it (SEM_UNDO), "
			         "which nothing had told before, since other processes had changed all of that set "
			         "last: what it held is lost, and the set is not in the images",
			         task_name(t), i, s->desc.id, s->desc.key);
	}
}

/*
 * Sets of which others had changed all semaphores last, and which were too many to ask, counted as theirs. If a process
 * of the tree had undo on one, the kernel has carried it out now, and says which process that was.
 */
void sem_dump_end(struct dump *d)
{
	const struct sem_dump_state *all = dump_state(d, &sem_subsys);

	for (const struct sem_space *space = all->killed ? all->spaces : NULL; space; space = space->next)
		for (const struct sem_set *s = space->ns->elsewhere ? NULL : space->sets; s; s = s->next)
			look_at_end(d, s);
}
