/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Credentials of each thread: credentials(7), capabilities(7), user_namespaces(7). A thread starts with criu's, and
 * only what differs is changed, so that restoring also works where little is allowed (a user namespace with one id and
 * no setgroups).
 */
#include <grp.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "task/answer.h"
#include "task/creds.h"

#define NOT_CHANGED ((uint64_t)-1)
#define GROUPS_MAX  16384 /* as many as one batch holds */
#define ALL_CAPS    ((uint64_t)-1)

/* ---- dump ---- */

static int creds_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	batch_ask(b, SYS_prctl, PR_GET_SECUREBITS);
	return 0;
}

/* Two words, the low one first. */
static void split_words(struct arena *a, uint64_t set, size_t *n, uint32_t **words)
{
	*n = 2;
	*words = arena_array(a, uint32_t, 2);
	(*words)[0] = (uint32_t)set;
	(*words)[1] = (uint32_t)(set >> 32);
}

static void see_as_task(struct dump *d, struct user_ns *ns, struct proc_status *st)
{
	uint32_t *groups = arena_array(d->arena, uint32_t, st->n_groups + 1);

	for (int i = 0; i < 4; i++) {
		st->uid[i] = user_ns_inside(d, ns, USER_ID, st->uid[i]);
		st->gid[i] = user_ns_inside(d, ns, GROUP_ID, st->gid[i]);
	}
	for (size_t i = 0; i < st->n_groups; i++)
		groups[i] = user_ns_inside(d, ns, GROUP_ID, st->groups[i]);
	st->groups = st->n_groups ? groups : NULL;
}

static int creds_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	struct proc_status seen = *th->dump->status;
	const struct proc_status *st = &seen;
	CredsEntry *e = arena_msg(d->arena, CredsEntry, creds_entry);
	int64_t bits = answer_ret(ans, 0);

	if (bits < 0)
		return log_errno((int)bits, "%s: prctl(PR_GET_SECUREBITS)", task_thread_name(th));
	see_as_task(d, user_ns_of_task(user_ns_of_dump(d), th->task), &seen);
	e->uid = st->uid[CREDS_REAL];
	e->euid = st->uid[CREDS_EFFECTIVE];
	e->suid = st->uid[CREDS_SAVED];
	e->fsuid = st->uid[CREDS_FS];
	e->gid = st->gid[CREDS_REAL];
	e->egid = st->gid[CREDS_EFFECTIVE];
	e->sgid = st->gid[CREDS_SAVED];
	e->fsgid = st->gid[CREDS_FS];
	split_words(d->arena, st->cap_inh, &e->n_cap_inh, &e->cap_inh);
	split_words(d->arena, st->cap_prm, &e->n_cap_prm, &e->cap_prm);
	split_words(d->arena, st->cap_eff, &e->n_cap_eff, &e->cap_eff);
	split_words(d->arena, st->cap_bnd, &e->n_cap_bnd, &e->cap_bnd);
	split_words(d->arena, st->cap_amb, &e->n_cap_amb, &e->cap_amb);
	e->secbits = (uint32_t)bits;
	e->groups = st->groups;
	e->n_groups = st->n_groups;
	e->has_no_new_privs = st->no_new_privs != 0;
	e->no_new_privs = st->no_new_privs;
	th->core->thread_core->creds = e;
	return 0;
}

/* ---- what criu can give ---- */

extern const struct task_part creds_part;

/* criu's own credentials, which do not change during a command. */
struct creds_state {
	struct own_rights own;
	bool read;
	const CredsEntry *given;   /* the last that criu can give */
	const struct user_ns *ns;  /* and there */
	struct own_rights entrant; /* what one begins with there */
	bool asked;
	uint32_t own_bits; /* criu's securebits */
};

static const struct own_rights *own_of(struct creds_state *s, struct arena *a, const struct options *o)
{
	if (!s->read && own_rights_read(a, &s->own))
		return NULL;
	s->read = true;
	s->own.lent = o->lent_caps;
	return &s->own;
}

/* Thousands of threads and tasks may have the same ones, which are checked once; a reason is said once a process. */
static int can_give(struct arena *a, struct creds_state *s, const struct options *o, const struct user_ns *ns,
                    const struct thread *th)
{
	const CredsEntry *e = th->core->thread_core->creds, *leader = th->task->threads[0].core->thread_core->creds;
	const struct own_rights *own = own_of(s, a, o);
	int err;

	if (!own)
		return -EIO;
	if (s->ns != ns) {
		s->given = NULL;
		s->ns = ns;
		if (ns)
			creds_of_entrant(a, ns, own, &s->entrant);
	}
	if ((s->given && creds_same(e, s->given)) || (!is_leader(th) && leader && creds_same(e, leader)))
		return 0;
	err = creds_can_give(a, ns ? &s->entrant : own, ns, th);
	s->given = err ? s->given : e;
	return err;
}

static int creds_foresee(struct dump *d)
{
	const struct user_ns_table *all = user_ns_of_dump(d);
	int err = 0;

	user_ns_choose_entries(d->arena, &d->tree, all);
	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		const struct task *t = d->tree.tasks[i];
		const struct user_ns *ns = user_ns_of_task(all, t);

		for (size_t k = 0; t->state != TASK_DEAD && k < t->n_threads; k++) {
			/* Absent: something else was refused before they were read. */
			bool known = t->threads[k].core->thread_core && t->threads[k].core->thread_core->creds;
			int part =
			    known ? can_give(d->arena, dump_state(d, &creds_part), d->opts, ns, &t->threads[k]) : 0;

			err = err ?: part;
		}
	}
	return err;
}

static void warn_of_bounding_set(struct restore *r, const struct thread *th, const struct own_rights *own)
{
	uint64_t lost = creds_caps_of(th->core->thread_core->creds).bnd & ~own->status.cap_bnd;

	if (lost && is_leader(th) && !th->task->parent)
		log_warn("%s: its bounding set had more than criu's, and loses %s", task_thread_name(th),
		         creds_cap_names(r->arena, lost));
}

static int creds_check(struct restore *r, const struct thread *th)
{
	struct creds_state *s = restore_state(r, &creds_part);
	const CredsEntry *e = th->core->thread_core->creds;
	const struct user_ns *ns;
	int err;

	if (!e)
		return log_errno(-EINVAL, "%s: its image has no credentials", task_thread_name(th));
	if (e->n_cap_inh > 2 || e->n_cap_prm > 2 || e->n_cap_eff > 2 || e->n_cap_bnd > 2 || e->n_cap_amb > 2)
		return log_errno(-EINVAL, "%s: its image has capabilities of more than 64 bits", task_thread_name(th));
	if (e->n_groups > GROUPS_MAX)
		return log_refusal(-EOPNOTSUPP, "%s: is in %zu groups; criu can restore %d", task_thread_name(th),
		                   e->n_groups, GROUPS_MAX);
	ns = user_ns_of_task(user_ns_of_restore(r), th->task);
	err = can_give(r->arena, s, r->opts, ns, th);
	if (s->read && !ns)
		warn_of_bounding_set(r, th, &s->own);
	return err;
}

/* ---- restore ---- */

const struct proc_status *creds_at_birth(struct restore *r, struct thread *th)
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
		log_errno(err, "%s: reading its credentials from /proc", task_thread_name(th));
		return NULL;
	}
	creds_see_inside(r->arena, user_ns_of_task(user_ns_of_restore(r), th->task), st);
	return rt->born = st;
}

/* A long list needs the space of the leader's agent, which is idle while another thread's rows run. */
static int set_supplementary(struct thread *th, struct batch *b, const CredsEntry *e)
{
	struct batch *space = is_leader(th) ? b : agent_batch(th->task->threads[0].restore->agent, "groups");
	size_t size = e->n_groups * sizeof(*e->groups);

	batch_reserve(space, 1, size);
	batch_call(b, SYS_setgroups, e->n_groups, size ? batch_data(space, e->groups, size) : 0);
	return batch_run(b);
}

static bool same_ids(const CredsEntry *e, const struct proc_status *now)
{
	return e->uid == now->uid[CREDS_REAL] && e->euid == now->uid[CREDS_EFFECTIVE] &&
	       e->suid == now->uid[CREDS_SAVED] && e->fsuid == now->uid[CREDS_FS] && e->gid == now->gid[CREDS_REAL] &&
	       e->egid == now->gid[CREDS_EFFECTIVE] && e->sgid == now->gid[CREDS_SAVED] &&
	       e->fsgid == now->gid[CREDS_FS];
}

/* setfsuid and setfsgid return the previous id and no error: a second call tells what the first one has done. */
static int set_fs_id(struct thread *th, struct batch *b, unsigned nr, uint32_t id)
{
	int op, err;

	batch_reserve(b, 2, 0);
	batch_ask(b, nr, id);
	op = batch_ask(b, nr, NOT_CHANGED);
	err = batch_run(b);
	if (!err && (uint32_t)batch_ret(b, op) != id)
		err = log_errno(-EPERM, "%s: %s(%u)", task_thread_name(th),
		                nr == SYS_setfsuid ? "setfsuid" : "setfsgid", id);
	return err;
}

/* An id that has no number in the user namespace is there already, and cannot be named. */
static uint32_t id_to_set(const struct user_ns *ns, enum user_id kind, uint32_t id)
{
	return user_ns_is_unmapped(ns, kind, id) ? (uint32_t)NOT_CHANGED : id;
}

static int set_ids_of(struct thread *th, struct batch *b, const struct user_ns *ns, enum user_id kind,
                      const uint32_t want[4])
{
	uint32_t v[4];

	for (int i = CREDS_REAL; i <= CREDS_FS; i++)
		v[i] = id_to_set(ns, kind, want[i]);
	batch_call(b, kind == USER_ID ? SYS_setresuid : SYS_setresgid, v[CREDS_REAL], v[CREDS_EFFECTIVE],
	           v[CREDS_SAVED]);
	if (want[CREDS_FS] == want[CREDS_EFFECTIVE] || v[CREDS_FS] == (uint32_t)NOT_CHANGED)
		return 0;
	return set_fs_id(th, b, kind == USER_ID ? SYS_setfsuid : SYS_setfsgid, v[CREDS_FS]);
}

static int set_user_ids(struct thread *th, struct batch *b, const struct user_ns *ns, const CredsEntry *e)
{
	const uint32_t uids[] = { e->uid, e->euid, e->suid, e->fsuid }, gids[] = { e->gid, e->egid, e->sgid, e->fsgid };
	int err = set_ids_of(th, b, ns, GROUP_ID, gids);

	return err ?: set_ids_of(th, b, ns, USER_ID, uids);
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
	for (unsigned n = 0; n <= CREDS_CAP_MAX; n++)
		if ((want & CREDS_CAP_BIT(n)) && (!(now & CREDS_CAP_BIT(n)) || (now & ~want)))
			batch_call(b, SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, n, 0, 0);
}

/*
 * What an id change does to capabilities is kept off, so that the kernel leaves them alone: by SECBIT_NO_SETUID_FIXUP,
 * or without CAP_SETPCAP as far as PR_SET_KEEPCAPS does that (the permitted set stays).
 */
enum fixup { FIXUP_NONE, FIXUP_OFF, FIXUP_HALF };

static enum fixup keep_fixup_off(struct batch *b, const struct proc_status *now, uint32_t bits)
{
	if (bits & SECBIT_NO_SETUID_FIXUP)
		return FIXUP_NONE;
	if (now->cap_eff & CREDS_CAP_BIT(CAP_SETPCAP)) {
		batch_call(b, SYS_prctl, PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP);
		return FIXUP_OFF;
	}
	batch_ask(b, SYS_prctl, PR_SET_KEEPCAPS, 1);
	return FIXUP_HALF;
}

/* Whether a thread that has used up its ids may keep capabilities is no privilege, other than all else of securebits.
 */
static void set_securebits(struct batch *b, const CredsEntry *e, const struct proc_status *now, uint32_t bits,
                           enum fixup fixup)
{
	if (now->cap_eff & CREDS_CAP_BIT(CAP_SETPCAP)) {
		if (fixup || e->secbits != bits)
			batch_call(b, SYS_prctl, PR_SET_SECUREBITS, e->secbits);
	} else if (fixup || (e->secbits & SECBIT_KEEP_CAPS)) {
		batch_call(b, SYS_prctl, PR_SET_KEEPCAPS, !!(e->secbits & SECBIT_KEEP_CAPS));
	}
}

/*
 * What needs privileges is done first, the last capset() drops them. The inheritable set goes before the bounding set,
 * which it could not exceed later; ambient capabilities are raised while the permitted set is full.
 */
static int change_creds(struct thread *th, struct batch *b, uint32_t bits, const struct user_ns *ns,
                        const CredsEntry *e, const struct proc_status *now)
{
	struct creds_caps want = creds_caps_of(e);
	bool ids = !same_ids(e, now);
	enum fixup fixup = FIXUP_NONE;
	int err = creds_same_groups(e, now) ? 0 : set_supplementary(th, b, e);

	if (err)
		return err;
	if (want.inh != now->cap_inh)
		set_caps(b, now->cap_eff, now->cap_prm, want.inh);
	for (unsigned n = 0; n <= CREDS_CAP_MAX; n++)
		if (now->cap_bnd & ~want.bnd & CREDS_CAP_BIT(n))
			batch_call(b, SYS_prctl, PR_CAPBSET_DROP, n);
	if (ids) {
		fixup = keep_fixup_off(b, now, bits);
		err = set_user_ids(th, b, ns, e);
	}
	set_ambient(b, fixup == FIXUP_HALF ? ALL_CAPS : now->cap_amb, want.amb);
	set_securebits(b, e, now, bits, fixup);
	if (fixup == FIXUP_HALF || want.eff != now->cap_eff || want.prm != now->cap_prm)
		set_caps(b, want.eff, want.prm, want.inh);
	if (e->no_new_privs)
		batch_call(b, SYS_prctl, PR_SET_NO_NEW_PRIVS, 1);
	return err;
}

/* The securebits with which a thread starts: criu's. The entry of a user namespace sets them back. */
static uint32_t bits_at_birth(struct restore *r, const struct user_ns *ns)
{
	struct creds_state *s = restore_state(r, &creds_part);

	if (!s->asked)
		s->own_bits = (uint32_t)prctl(PR_GET_SECUREBITS) & ~issecure_mask(SECURE_KEEP_CAPS);
	s->asked = true;
	return ns ? 0 : s->own_bits;
}

static int creds_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const struct user_ns *ns = user_ns_of_task(user_ns_of_restore(r), th->task);
	const CredsEntry *e = th->core->thread_core->creds;
	const struct proc_status *now = creds_at_birth(r, th);

	if (!now)
		return -ESRCH;
	if (creds_caps_of(e).prm & ~now->cap_prm)
		return log_errno(-EPERM, "%s: needs capabilities that a new process of criu's does not have: %s",
		                 task_thread_name(th), creds_cap_names(r->arena, creds_caps_of(e).prm & ~now->cap_prm));
	if (is_leader(th) && now->no_new_privs && !e->no_new_privs)
		log_warn("%s: gets no_new_privs, which criu has", task_name(th->task));
	return change_creds(th, b, bits_at_birth(r, ns), ns, e, now);
}

const struct task_part creds_part = {
	.name = "credentials",
	.state = { .dump = sizeof(struct creds_state), .restore = sizeof(struct creds_state) },
	.per_thread = true,
	.ask = creds_ask,
	.dump = creds_dump,
	.foresee = creds_foresee,
	.check = creds_check,
	.restore = creds_restore,
};
