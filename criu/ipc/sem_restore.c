/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * System V semaphore sets at restore. One that is gone is made again; one that is still there (in criu's namespace)
 * gets the values of the dump, but where processes outside of the tree use it: then its values live on. Undo (SEM_UNDO)
 * is put back by the processes that had it, and last of all each semaphore is touched by the process that had changed
 * it last.
 */
#include <inttypes.h>
#include <string.h>
#include <sys/sem.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "agent/batch.h"
#include "image/image.h"
#include "ipc/ipc_use.h"
#include "ipc/sem_set.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "tree/ns_ids.h"
#include "tree/subsys.h"

extern const struct subsys sem_subsys;

struct sem_back {
	struct ipc_ns *ns;
	const IpcSemEntry *entry;
	uint16_t *values;
	bool exists;
	bool lives_on; /* with the values that it has: others use it too */
	struct sem_back *next;
};

struct sem_restore_state {
	struct sem_back *sets;
};

/* ---- the type ---- */

static int get_set(key_t key, uint64_t size, int flags)
{
	return semget(key, (int)size, flags);
}

static int set_set(int id, const struct ipc_perm *p)
{
	struct semid_ds ds = { .sem_perm = *p };

	return semctl(id, 0, IPC_SET, &ds);
}

static int remove_set(int id)
{
	return semctl(id, 0, IPC_RMID);
}

const struct sysv_type sem_set_type = {
	.name = "semaphore set",
	.noun = "semaphore set",
	.call = "semget",
	.next_id = "sem_next_id",
	.remove_letter = 's',
	.get = get_set,
	.set = set_set,
	.remove = remove_set,
};

/* ---- images ---- */

static int check_entry(struct restore *r, const struct ipc_ns *ns, const struct image *img, const IpcSemEntry *e)
{
	if (e->desc->id > INT32_MAX || !e->nsems || e->nsems > UINT16_MAX || (e->n_pids && e->n_pids != e->nsems) ||
	    round_up(e->nsems * sizeof(uint16_t), 8) > image_left(img))
		return log_errno(-EBADMSG, "%s: semaphore set %u of %u semaphores is impossible", image_name(img),
		                 e->desc->id, e->nsems);
	for (size_t i = 0; i < e->n_undo; i++) {
		const IpcSemUndo *u = e->undo[i];

		if (u->sem >= e->nsems || !u->adj || u->adj > SEM_VALUE_MAX_ || u->adj < -SEM_VALUE_MAX_ ||
		    !ipc_ns_find_task(ns, &r->tree, u->pid))
			return log_errno(-EBADMSG,
			                 "%s: semaphore set %u: undo of %d on semaphore %u by pid %u is "
			                 "impossible",
			                 image_name(img), e->desc->id, u->adj, u->sem, u->pid);
	}
	return 0;
}

static int read_set(struct restore *r, struct ipc_ns *ns, struct image *img, const IpcSemEntry *e)
{
	struct sem_restore_state *all = restore_state(r, &sem_subsys);
	int err = check_entry(r, ns, img, e);
	struct sem_back *s;

	if (err)
		return err;
	s = arena_new_of(r->arena, struct sem_back);
	s->ns = ns;
	s->entry = e;
	s->values = arena_alloc(r->arena, round_up(e->nsems * sizeof(uint16_t), 8));
	err = image_read_raw(img, s->values, round_up(e->nsems * sizeof(uint16_t), 8));
	for (size_t i = 0; !err && i < e->nsems; i++)
		if (s->values[i] > SEM_VALUE_MAX_)
			err = log_errno(-EBADMSG, "%s: semaphore set %u: value %u of semaphore %zu is impossible",
			                image_name(img), e->desc->id, s->values[i], i);
	s->next = all->sets;
	all->sets = s;
	return err;
}

static int read_sets(struct restore *r, struct ipc_ns *ns)
{
	struct image *img;
	IpcSemEntry *e;
	int err = image_open(r->dir, IMG_IPCNS_SEM, ns->id, &img), more = 1;

	if (err)
		return err == -ENOENT ? 0 : err;
	while (!err && (more = image_read(img, &ipc_sem_entry__descriptor, r->arena, &e)) > 0)
		err = read_set(r, ns, img, e);
	image_close(img);
	return err ?: more;
}

static int sem_read_images(struct restore *r)
{
	int err = 0;

	for (struct ipc_ns *ns = ipc_ns_restored(r); !err && ns; ns = ns->next)
		err = read_sets(r, ns);
	return err;
}

/* ---- what is on this host ---- */

static int refuse_set(const struct sem_back *s, const char *why)
{
	return sysv_object_refuse(&sem_set_type, s->entry->desc, why);
}

/* Who has touched it last, and whether it is the one of the dump, or one that an earlier restore has left. */
static void look_at_users(struct restore *r, const struct sem_back *s, const struct semid_ds *ds, bool *same,
                          bool *outside)
{
	int64_t last = MAX(ds->sem_ctime, ds->sem_otime);
	int id = (int)s->entry->desc->id;

	*same = s->entry->has_ctime && ds->sem_ctime == s->entry->ctime;
	*outside = false;
	for (int i = 0; i < (int)s->entry->nsems; i++) {
		int pid = semctl(id, i, GETPID);

		if (ns_ids_was_of_tree(r, pid))
			*same = true;
		else if (ipc_is_outside(&r->tree, pid, last) || semctl(id, i, GETNCNT) > 0 ||
		         semctl(id, i, GETZCNT) > 0)
			*outside = true;
	}
}

/* What the tree holds is taken again from what is there: it was given back when the tree ended. */
static int check_undo(const struct sem_back *s)
{
	const IpcSemEntry *e = s->entry;
	int err = 0;

	for (unsigned i = 0; i < e->nsems; i++) {
		int value = semctl((int)e->desc->id, (int)i, GETVAL), held = 0;

		for (size_t k = 0; k < e->n_undo; k++)
			held += e->undo[k]->sem == i ? e->undo[k]->adj : 0;
		if (held && (value < held || value - held > SEM_VALUE_MAX_))
			err =
			    log_refusal(-EBUSY,
			                "semaphore set %u (key 0x%08x): the tree holds %d of semaphore %u (SEM_UNDO), "
			                "which is %d now: other processes have taken it meanwhile; end them first",
			                e->desc->id, e->desc->key, held, i, value);
	}
	return err;
}

static int check_existing(struct restore *r, struct sem_back *s, const struct semid_ds *ds)
{
	bool same, outside;

	if (!sysv_object_is_like(&ds->sem_perm, s->entry->desc) || ds->sem_nsems != s->entry->nsems)
		same = false;
	else
		look_at_users(r, s, ds, &same, &outside);
	if (!same)
		return refuse_set(s, "is another one's on this host: end what uses that one and remove it (ipcrm -s), "
		                     "or restore in a new ipc namespace");
	if (outside && !s->entry->used_outside)
		return refuse_set(s, "is in use by processes that are not in the images (see ipcs -s -i): end them "
		                     "first");
	s->exists = true;
	s->lives_on = s->entry->used_outside;
	return s->lives_on ? check_undo(s) : 0;
}

static int check_set(struct restore *r, struct sem_back *s)
{
	struct semid_ds ds;
	int err;

	if (!semctl((int)s->entry->desc->id, 0, IPC_STAT, &ds))
		return check_existing(r, s, &ds);
	if (errno == EACCES)
		return refuse_set(s, "is another one's on this host, which may not be looked at (semctl: Permission "
		                     "denied)");
	if (errno != EINVAL && errno != EIDRM)
		return log_errno(-errno, "semaphore set %u: semctl(IPC_STAT)", s->entry->desc->id);
	err = sysv_object_check_missing(&sem_set_type, s->entry->desc);
	if (!err && s->entry->used_outside)
		log_warn("semaphore set %u (key 0x%08x) was in use by processes outside of the tree too, and is gone: "
		         "it is made with the values of the dump, for the tree alone",
		         s->entry->desc->id, s->entry->desc->key);
	return err;
}

static int check_in_place(struct restore *r, struct sem_back *s)
{
	int err = ipc_ns_enter(s->ns);

	return err ?: ipc_ns_leave(s->ns, check_set(r, s));
}

static int sem_check(struct restore *r)
{
	struct sem_restore_state *all = restore_state(r, &sem_subsys);
	int err = 0;

	for (struct sem_back *s = all->sets; s; s = s->next) {
		int part = s->ns->own ? 0 : check_in_place(r, s);

		err = err ?: part;
	}
	return err;
}

/* ---- making ---- */

struct made_set {
	uint32_t id, key, nsems;
};

/* Not one that another process has made under this number. */
static int remove_made(const struct undo *u)
{
	const struct made_set *made = u->data;
	struct semid_ds ds;
	int home, err = ipc_ns_undo_enter(u->fd, &home);

	if (err)
		return err;
	if (semctl((int)made->id, 0, IPC_STAT, &ds))
		err = errno == EINVAL || errno == EIDRM ? -ENOENT : -errno;
	else if (ds.sem_nsems != made->nsems || (uint32_t)ds.sem_perm.__key != made->key)
		err = -ENOENT;
	else if (semctl((int)made->id, 0, IPC_RMID))
		err = -errno;
	ipc_ns_undo_leave(u->fd, home);
	return err;
}

static int note_made(struct restore *r, const struct sem_back *s)
{
	const struct made_set made = { s->entry->desc->id, s->entry->desc->key, s->entry->nsems };
	const struct undo undo = { .type = UNDO_CALL,
		                   .call = remove_made,
		                   .fd = ipc_ns_undo_fd(s->ns),
		                   .data = &made,
		                   .data_len = sizeof(made) };

	return guardian_note(r->guardian, &undo);
}

/* In a namespace of the tree's own: that vanishes, if the restore fails. */
static int make_set(struct restore *r, const struct sem_back *s)
{
	int err = s->ns->own ? 0 : note_made(r, s);

	err = err < 0 ? err : sysv_object_create(s->ns, &sem_set_type, s->entry->desc, s->entry->nsems, 0);
	fault_point("semaphore set made");
	return err;
}

static int sem_before_start(struct restore *r)
{
	struct sem_restore_state *all = restore_state(r, &sem_subsys);
	int err = 0;

	for (struct sem_back *s = all->sets; !err && s; s = s->next) {
		if (s->exists)
			continue;
		err = ipc_ns_enter(s->ns);
		if (!err)
			err = ipc_ns_leave(s->ns, make_set(r, s));
	}
	return err;
}

/* ---- values, undo, and the last process ---- */

static struct sembuf sem_op_of(unsigned sem, int op, int flags)
{
	return (struct sembuf) { (unsigned short)sem, (short)op, (short)(flags | IPC_NOWAIT) };
}

static int operate(const struct task *t, const struct sem_back *s, const struct sembuf *ops, unsigned n)
{
	struct batch *b = agent_batch(t->restore->agent, "a semaphore that it had changed");

	batch_reserve(b, 1, 32);
	batch_call(b, SYS_semop, s->entry->desc->id, batch_data(b, ops, n * sizeof(*ops)), n);
	return batch_run(b);
}

/*
 * The value of the image is there already, and has what the process holds taken off: both operations together change
 * nothing but the undo. Where others go on with the set, the kernel has added it when the tree ended: it is taken.
 */
static int hold_again(struct restore *r, const struct sem_back *s, const IpcSemUndo *u)
{
	const struct task *t = tree_find(&r->tree, (vpid_t) { (int32_t)u->pid });
	struct sembuf back = sem_op_of(u->sem, u->adj, 0), hold = sem_op_of(u->sem, -u->adj, SEM_UNDO);
	int value = s->values[u->sem];
	bool back_first = u->adj > 0 ? value + u->adj <= SEM_VALUE_MAX_ : value + u->adj >= 0;

	if (s->lives_on)
		return operate(t, s, &hold, 1);
	return operate(t, s, back_first ? (struct sembuf[]) { back, hold } : (struct sembuf[]) { hold, back }, 2);
}

static bool has_agent(const struct task *t)
{
	return t && t->restore && t->restore->agent;
}

/* A zombie cannot; a later restore knows the set by any process. In the same namespace. */
static const struct task *last_of(struct restore *r, const struct sem_back *s, uint32_t pid)
{
	const struct task *t = ipc_ns_find_task(s->ns, &r->tree, pid);

	t = has_agent(t) ? t : s->ns->task;
	return has_agent(t) ? t : NULL;
}

static int touch_by_last(struct restore *r, const struct sem_back *s)
{
	const struct task *before = NULL;
	struct batch *b = NULL;
	int err = 0;

	for (unsigned i = 0; !err && i < s->entry->n_pids; i++) {
		const struct task *t = s->entry->pids[i] ? last_of(r, s, s->entry->pids[i]) : NULL;
		int step = s->values[i] == SEM_VALUE_MAX_ ? -1 : 1;
		const struct sembuf ops[] = { sem_op_of(i, step, 0), sem_op_of(i, -step, 0) };

		if (!t)
			continue;
		if (t != before) {
			err = b ? batch_run(b) : 0;
			b = agent_batch(t->restore->agent, "a semaphore that it had changed");
			before = t;
		}
		batch_reserve(b, 1, 32);
		batch_call(b, SYS_semop, s->entry->desc->id, batch_data(b, ops, sizeof(ops)), ARRAY_SIZE(ops));
	}
	return err || !b ? err : batch_run(b);
}

static int set_values(const struct sem_back *s)
{
	uint32_t id = s->entry->desc->id;
	int err = ipc_ns_enter(s->ns);

	if (err)
		return err;
	if (semctl((int)id, 0, SETALL, s->values))
		err = log_errno(-errno, "semaphore set %u: semctl(SETALL)", id);
	return ipc_ns_leave(s->ns, err);
}

static int settle_set(struct restore *r, const struct sem_back *s)
{
	const IpcSemEntry *e = s->entry;
	int err;

	err = s->lives_on ? 0 : set_values(s);
	for (size_t i = 0; !err && i < e->n_undo; i++)
		err = hold_again(r, s, e->undo[i]);
	return err || s->lives_on ? err : touch_by_last(r, s);
}

static int sem_settle(struct restore *r)
{
	struct sem_restore_state *all = restore_state(r, &sem_subsys);
	int err = 0;

	for (struct sem_back *s = all->sets; !err && s; s = s->next)
		err = settle_set(r, s);
	return err;
}

const struct subsys sem_subsys = {
	.name = "semaphore sets",
	.state = { .dump = sizeof(struct sem_dump_state), .restore = sizeof(struct sem_restore_state) },
	.collect = sem_dump_collect,
	.write_images = sem_dump_write,
	.after_commit = sem_dump_after_commit,
	.end = sem_dump_end,
	.read_images = sem_read_images,
	.check = sem_check,
	.before_start = sem_before_start,
	.settle = sem_settle,
};
