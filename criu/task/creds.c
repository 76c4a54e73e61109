/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Credentials of each thread: credentials(7), capabilities(7). A thread starts with those of the tool, and only what
 * differs is changed, so that it also works where little is allowed (a user namespace with one id and no setgroups).
 */
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "task/answer.h"
#include "task/creds.h"

#define NOT_CHANGED ((uint64_t)-1)

/* ---- dump ---- */

static int creds_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	batch_ask(b, SYS_prctl, PR_GET_SECUREBITS);
	return 0;
}

/* Two words, the low one first. */
static void split(struct arena *a, uint64_t set, size_t *n, uint32_t **words)
{
	*n = 2;
	*words = arena_array(a, uint32_t, 2);
	(*words)[0] = (uint32_t)set;
	(*words)[1] = (uint32_t)(set >> 32);
}

static int creds_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	const struct proc_status *st = th->dump->status;
	CredsEntry *e = arena_msg(d->arena, CredsEntry, creds_entry);
	int64_t bits = answer_ret(ans, 0);

	if (bits < 0)
		return log_errno((int)bits, "%s: reading its securebits", task_thread_name(th));
	e->uid = st->uid[REAL];
	e->euid = st->uid[EFFECTIVE];
	e->suid = st->uid[SAVED];
	e->fsuid = st->uid[FS];
	e->gid = st->gid[REAL];
	e->egid = st->gid[EFFECTIVE];
	e->sgid = st->gid[SAVED];
	e->fsgid = st->gid[FS];
	split(d->arena, st->cap_inh, &e->n_cap_inh, &e->cap_inh);
	split(d->arena, st->cap_prm, &e->n_cap_prm, &e->cap_prm);
	split(d->arena, st->cap_eff, &e->n_cap_eff, &e->cap_eff);
	split(d->arena, st->cap_bnd, &e->n_cap_bnd, &e->cap_bnd);
	split(d->arena, st->cap_amb, &e->n_cap_amb, &e->cap_amb);
	e->secbits = (uint32_t)bits;
	e->groups = st->groups;
	e->n_groups = st->n_groups;
	e->has_no_new_privs = st->no_new_privs != 0;
	e->no_new_privs = st->no_new_privs;
	th->core->thread_core->creds = e;
	return 0;
}

/* ---- restore ---- */

/* How a thread is born, read once for all threads of a process, before the leader's row changes it. */
static const struct proc_status *born(struct restore *r, struct thread *th)
{
	struct restore_task *rt = th->task->restore;
	struct proc_status *st;
	_cleanup_close_ int proc_fd = -1;
	int err;

	if (rt->born)
		return rt->born;
	st = arena_new_of(r->arena, struct proc_status);
	proc_fd = proc_open(th->tid);
	err = proc_fd < 0 ? proc_fd : proc_read_status(proc_fd, 0, r->arena, st);
	if (err) {
		log_errno(err, "%s: reading its credentials", task_thread_name(th));
		return NULL;
	}
	return rt->born = st;
}

/* A long list takes the space of the leader's agent, which is idle while another thread's rows run. */
static int set_groups(struct thread *th, struct batch *b, const CredsEntry *e)
{
	struct batch *space = is_leader(th) ? b : agent_batch(th->task->threads[0].restore->agent, "groups");
	size_t size = e->n_groups * sizeof(*e->groups);

	batch_reserve(space, 1, size);
	batch_call(b, SYS_setgroups, e->n_groups, size ? batch_data(space, e->groups, size) : 0);
	return batch_run(b);
}

static bool same_ids(const CredsEntry *e, const struct proc_status *now)
{
	return e->uid == now->uid[REAL] && e->euid == now->uid[EFFECTIVE] && e->suid == now->uid[SAVED] &&
	       e->fsuid == now->uid[FS] && e->gid == now->gid[REAL] && e->egid == now->gid[EFFECTIVE] &&
	       e->sgid == now->gid[SAVED] && e->fsgid == now->gid[FS];
}

/* These two tell what they found, and never that they failed: a second call tells what the first has done. */
static int set_fs_id(struct thread *th, struct batch *b, unsigned nr, uint32_t id)
{
	int op, err;

	batch_reserve(b, 2, 0);
	batch_ask(b, nr, id);
	op = batch_ask(b, nr, NOT_CHANGED);
	err = batch_run(b);
	if (!err && (uint32_t)batch_ret(b, op) != id)
		err = log_errno(-EPERM, "%s: setting its %s to %u", task_thread_name(th),
		                nr == SYS_setfsuid ? "fsuid" : "fsgid", id);
	return err;
}

static int set_ids(struct thread *th, struct batch *b, const CredsEntry *e)
{
	int err = 0;

	batch_call(b, SYS_setresgid, e->gid, e->egid, e->sgid);
	if (e->fsgid != e->egid)
		err = set_fs_id(th, b, SYS_setfsgid, e->fsgid);
	batch_call(b, SYS_setresuid, e->uid, e->euid, e->suid);
	if (!err && e->fsuid != e->euid)
		err = set_fs_id(th, b, SYS_setfsuid, e->fsuid);
	return err;
}

static void set_caps(struct batch *b, uint64_t eff, uint64_t prm, uint64_t inh)
{
	struct {
		struct __user_cap_header_struct head;
		struct __user_cap_data_struct data[2];
	} set = {
		.head = { .version = _LINUX_CAPABILITY_VERSION_3 },
		.data = { { (uint32_t)eff, (uint32_t)prm, (uint32_t)inh },
		          { (uint32_t)(eff >> 32), (uint32_t)(prm >> 32), (uint32_t)(inh >> 32) } },
	};
	raddr_t at = batch_data(b, &set, sizeof(set));

	batch_call(b, SYS_capset, at, at + offsetof(__typeof__(set), data));
}

static void set_ambient(struct batch *b, uint64_t now, uint64_t want)
{
	if (now & ~want)
		batch_call(b, SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (unsigned n = 0; n <= CAP_MAX; n++)
		if ((want & CAP_BIT(n)) && (!(now & CAP_BIT(n)) || (now & ~want)))
			batch_call(b, SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, n, 0, 0);
}

/*
 * All that needs privilege is done while it is still there. Ids are changed with SECBIT_NO_SETUID_FIXUP, so that the
 * kernel leaves the capabilities alone; the inheritable set goes before the bounding set, which it could not exceed
 * later; ambient ones go while the permitted set is full. The last capset() takes away what is too much.
 */
static int change(struct thread *th, struct batch *b, const CredsEntry *e, const struct proc_status *now)
{
	struct caps want = creds_caps(e);
	uint32_t bits = (uint32_t)prctl(PR_GET_SECUREBITS) & ~issecure_mask(SECURE_KEEP_CAPS);
	bool ids = !same_ids(e, now),
	     keep = ids && !(bits & SECBIT_NO_SETUID_FIXUP) && (now->cap_eff & CAP_BIT(CAP_SETPCAP));
	int err = creds_same_groups(e, now) ? 0 : set_groups(th, b, e);

	if (err)
		return err;
	if (want.inh != now->cap_inh)
		set_caps(b, now->cap_eff, now->cap_prm, want.inh);
	for (unsigned n = 0; n <= CAP_MAX; n++)
		if (now->cap_bnd & ~want.bnd & CAP_BIT(n))
			batch_call(b, SYS_prctl, PR_CAPBSET_DROP, n);
	if (keep)
		batch_call(b, SYS_prctl, PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP);
	if (ids)
		err = set_ids(th, b, e);
	set_ambient(b, now->cap_amb, want.amb);
	if (keep || e->secbits != bits)
		batch_call(b, SYS_prctl, PR_SET_SECUREBITS, e->secbits);
	if (want.eff != now->cap_eff || want.prm != now->cap_prm)
		set_caps(b, want.eff, want.prm, want.inh);
	if (e->no_new_privs)
		batch_call(b, SYS_prctl, PR_SET_NO_NEW_PRIVS, 1);
	return err;
}

static int creds_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const CredsEntry *e = th->core->thread_core->creds;
	const struct proc_status *now = born(r, th);

	if (!now)
		return -ESRCH;
	if (creds_caps(e).prm & ~now->cap_prm)
		return log_errno(-EPERM, "%s: it has to have capabilities that it is born without: %s",
		                 task_thread_name(th), creds_cap_names(r->arena, creds_caps(e).prm & ~now->cap_prm));
	if (is_leader(th) && now->no_new_privs && !e->no_new_privs)
		log_warn("%s: gets no_new_privs, which this tool has", task_name(th->task));
	return change(th, b, e, now);
}

const struct task_part creds_part = {
	.name = "credentials",
	.per_thread = true,
	.ask = creds_ask,
	.dump = creds_dump,
	.check = creds_check,
	.restore = creds_restore,
};
