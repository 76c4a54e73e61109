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
#include "core/log.h"
#include "core/proc.h"
#include "task/answer.h"

#define GROUPS_MAX  (BATCH_SPACE_MAX / sizeof(uint32_t))
#define CAP_MAX     63
#define CAP_BIT(n)  (1ULL << (n))
#define NOT_CHANGED ((uint64_t)-1)

enum { REAL, EFFECTIVE, SAVED, FS };

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
		return log_errno((int)bits, "%s: reading its securebits", thread_name(th));
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

/* ---- what is wanted ---- */

struct caps {
	uint64_t inh, prm, eff, bnd, amb;
};

static uint64_t join(const uint32_t *words, size_t n)
{
	return (n > 0 ? words[0] : 0) | (n > 1 ? (uint64_t)words[1] << 32 : 0);
}

static struct caps caps_of(const CredsEntry *e)
{
	return (struct caps) {
		.inh = join(e->cap_inh, e->n_cap_inh),
		.prm = join(e->cap_prm, e->n_cap_prm),
		.eff = join(e->cap_eff, e->n_cap_eff),
		.bnd = join(e->cap_bnd, e->n_cap_bnd),
		.amb = join(e->cap_amb, e->n_cap_amb),
	};
}

/* "cap_sys_admin, cap_net_raw" */
static const char *cap_names(struct arena *a, uint64_t set)
{
	const char *text = "";

	for (unsigned n = 0; n <= CAP_MAX; n++) {
		char *name = set & CAP_BIT(n) ? cap_to_name((cap_value_t)n) : NULL;

		if (name)
			text = arena_printf(a, "%s%s%s", text, *text ? ", " : "", name);
		cap_free(name);
	}
	return text;
}

/* ---- check ---- */

static int check_caps(struct restore *r, const struct thread *th, const CredsEntry *e)
{
	struct proc_status own;
	_cleanup_close_ int proc_fd = proc_open(getpid());
	struct caps want = caps_of(e);
	uint64_t have;
	int err = proc_fd < 0 ? proc_fd : read_proc_status(proc_fd, 0, NULL, &own);

	if (err)
		return log_errno(err, "reading this tool's own capabilities");
	/* What an execve() leaves, by which tasks begin. */
	have = own.uid[EFFECTIVE] ? own.cap_amb : own.cap_bnd;
	if (want.prm & ~have)
		return log_refusal(-EPERM,
		                   "%s: it had capabilities that this tool cannot give: %s; restore it with them, or "
		                   "dump it without",
		                   thread_name(th), cap_names(r->arena, want.prm & ~have));
	if (is_leader(th) && !th->task->parent && (want.bnd & ~own.cap_bnd))
		log_warn("%s: its bounding set had more than this tool's, and loses %s", thread_name(th),
		         cap_names(r->arena, want.bnd & ~own.cap_bnd));
	return 0;
}

static bool same_words(const uint32_t *a, size_t n_a, const uint32_t *b, size_t n_b)
{
	return n_a == n_b && (!n_a || !memcmp(a, b, n_a * sizeof(*a)));
}

/* Thousands of threads have the same ones: checked once. */
static bool like_leader(const struct thread *th)
{
	const CredsEntry *e = th->core->thread_core->creds, *first = th->task->threads[0].core->thread_core->creds;

	return !is_leader(th) && first && same_words(e->cap_prm, e->n_cap_prm, first->cap_prm, first->n_cap_prm) &&
	       same_words(e->cap_bnd, e->n_cap_bnd, first->cap_bnd, first->n_cap_bnd);
}

static int creds_check(struct restore *r, const struct thread *th)
{
	const CredsEntry *e = th->core->thread_core->creds;

	if (!e)
		return log_errno(-EINVAL, "%s: its image has no credentials", thread_name(th));
	if (e->n_cap_inh > 2 || e->n_cap_prm > 2 || e->n_cap_eff > 2 || e->n_cap_bnd > 2 || e->n_cap_amb > 2)
		return log_errno(-EINVAL, "%s: its image has capabilities of more than 64 bits", thread_name(th));
	if (e->n_groups > GROUPS_MAX)
		return log_refusal(-EOPNOTSUPP, "%s: it is in %zu groups; this tool can restore %zu", thread_name(th),
		                   e->n_groups, GROUPS_MAX);
	if (e->lsm_profile && *e->lsm_profile)
		log_warn("%s: its security label %s is not restored", thread_name(th), e->lsm_profile);
	return like_leader(th) ? 0 : check_caps(r, th, e);
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
	err = proc_fd < 0 ? proc_fd : read_proc_status(proc_fd, 0, r->arena, st);
	if (err) {
		log_errno(err, "%s: reading its credentials", thread_name(th));
		return NULL;
	}
	return rt->born = st;
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* The kernel sorts them. */
static bool same_groups(const CredsEntry *e, const struct proc_status *now)
{
	_cleanup_free_ uint32_t *sorted = NULL;

	if (e->n_groups != now->n_groups)
		return false;
	if (!e->n_groups)
		return true;
	sorted = malloc(e->n_groups * sizeof(*sorted));
	if (!sorted)
		return false;
	memcpy(sorted, e->groups, e->n_groups * sizeof(*sorted));
	qsort(sorted, e->n_groups, sizeof(*sorted), compare_u32);
	return !memcmp(sorted, now->groups, e->n_groups * sizeof(*sorted));
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
		err = log_errno(-EPERM, "%s: setting its %s to %u", thread_name(th),
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
	struct caps want = caps_of(e);
	uint32_t bits = (uint32_t)prctl(PR_GET_SECUREBITS) & ~issecure_mask(SECURE_KEEP_CAPS);
	bool ids = !same_ids(e, now),
	     keep = ids && !(bits & SECBIT_NO_SETUID_FIXUP) && (now->cap_eff & CAP_BIT(CAP_SETPCAP));
	int err = same_groups(e, now) ? 0 : set_groups(th, b, e);

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
	if (caps_of(e).prm & ~now->cap_prm)
		return log_errno(-EPERM, "%s: it has to have capabilities that it is born without: %s", thread_name(th),
		                 cap_names(r->arena, caps_of(e).prm & ~now->cap_prm));
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
