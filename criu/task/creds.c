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
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "task/answer.h"

#define NOT_CHANGED ((uint64_t)-1)
#define GROUPS_MAX  16384 /* as many as one batch holds */
#define CAP_BIT(n)  (1ULL << (n))
#define CAP_MAX     63

/* The ids of a status, by name. */
enum { REAL, EFFECTIVE, SAVED, FS };

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

static int creds_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	const struct proc_status *st = th->dump->status;
	CredsEntry *e = arena_msg(d->arena, CredsEntry, creds_entry);
	int64_t bits = answer_ret(ans, 0);

	if (bits < 0)
		return log_errno((int)bits, "%s: prctl(PR_GET_SECUREBITS)", task_thread_name(th));
	e->uid = st->uid[REAL];
	e->euid = st->uid[EFFECTIVE];
	e->suid = st->uid[SAVED];
	e->fsuid = st->uid[FS];
	e->gid = st->gid[REAL];
	e->egid = st->gid[EFFECTIVE];
	e->sgid = st->gid[SAVED];
	e->fsgid = st->gid[FS];
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

/* ---- credentials of an image ---- */

struct caps {
	uint64_t inh, prm, eff, bnd, amb;
};

static uint64_t join_words(const uint32_t *words, size_t n)
{
	return (n > 0 ? words[0] : 0) | (n > 1 ? (uint64_t)words[1] << 32 : 0);
}

static struct caps caps_of(const CredsEntry *e)
{
	return (struct caps) {
		.inh = join_words(e->cap_inh, e->n_cap_inh),
		.prm = join_words(e->cap_prm, e->n_cap_prm),
		.eff = join_words(e->cap_eff, e->n_cap_eff),
		.bnd = join_words(e->cap_bnd, e->n_cap_bnd),
		.amb = join_words(e->cap_amb, e->n_cap_amb),
	};
}

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

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* In whatever order the image has them: the kernel sorts them. */
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

/* ---- restore: whether criu can give these ids here ---- */

/* Whether an id is missing in a map (/proc/self/uid_map or gid_map): the first such one is in *missing. */
static int find_unmapped(int proc_fd, const char *map, const uint32_t *ids, size_t n, uint32_t *missing)
{
	_cleanup_free_ char *text = NULL;
	int err = proc_read(proc_fd, map, &text, NULL);

	if (err)
		return err == -ENOENT ? 0 : log_errno(err, "reading /proc/self/%s", map);
	for (size_t i = 0; i < n; i++) {
		bool found = false;
		char *at = text, *end;

		while (!found) {
			uint64_t first = strtoull(at, &end, 10), count;

			if (end == at)
				break;
			strtoull(end, &at, 10);
			count = strtoull(at, &end, 10);
			found = ids[i] >= first && ids[i] - first < count;
			at = end;
		}
		*missing = ids[i];
		if (!found)
			return 1;
	}
	return 0;
}

static int check_id_map(const struct thread *th, int proc_fd, const char *map, const char *what, const uint32_t *ids,
                        size_t n)
{
	uint32_t missing = 0;
	int err = find_unmapped(proc_fd, map, ids, n, &missing);

	if (err <= 0)
		return err;
	return log_refusal(-EINVAL,
	                   "%s: its %s id %u does not exist in this user namespace (/proc/self/%s); restore it in one "
	                   "that has it",
	                   task_thread_name(th), what, missing, map);
}

static int check_ids(const struct thread *th, int proc_fd, const CredsEntry *e, const struct proc_status *own)
{
	const uint32_t uids[] = { e->uid, e->euid, e->suid, e->fsuid }, gids[] = { e->gid, e->egid, e->sgid, e->fsgid };
	_cleanup_free_ char *setgroups = NULL;
	int err = check_id_map(th, proc_fd, "uid_map", "user", uids, ARRAY_SIZE(uids));

	if (!err)
		err = check_id_map(th, proc_fd, "gid_map", "group", gids, ARRAY_SIZE(gids));
	if (err || same_groups(e, own))
		return err;
	if (!proc_read(proc_fd, "setgroups", &setgroups, NULL) && !strncmp(setgroups, "deny", 4))
		return log_refusal(-EPERM,
		                   "%s: is in %zu supplementary groups, criu in %zu, and setgroups(2) is denied in "
		                   "this user namespace",
		                   task_thread_name(th), e->n_groups, own->n_groups);
	return check_id_map(th, proc_fd, "gid_map", "group", e->groups, e->n_groups);
}

/* ---- and these capabilities ---- */

static int check_caps(struct restore *r, const struct thread *th, const CredsEntry *e, const struct proc_status *own)
{
	struct caps want = caps_of(e);
	/* What an execve() leaves, with which restored tasks begin. */
	uint64_t have = own->uid[EFFECTIVE] ? own->cap_amb : own->cap_bnd;

	if (want.prm & ~have)
		return log_refusal(-EPERM,
		                   "%s: had capabilities that criu cannot give: %s; run criu with them, or dump a task "
		                   "without them",
		                   task_thread_name(th), cap_names(r->arena, want.prm & ~have));
	if (is_leader(th) && !th->task->parent && (want.bnd & ~own->cap_bnd))
		log_warn("%s: its bounding set had more than criu's, and loses %s", task_thread_name(th),
		         cap_names(r->arena, want.bnd & ~own->cap_bnd));
	return 0;
}

static int check_here(struct restore *r, const struct thread *th, const CredsEntry *e)
{
	struct proc_status own;
	_cleanup_close_ int proc_fd = proc_open(getpid());
	int err = proc_fd < 0 ? proc_fd : proc_read_status(proc_fd, 0, r->arena, &own), part;

	if (err)
		return log_errno(err, "reading criu's own credentials");
	err = check_ids(th, proc_fd, e, &own);
	part = check_caps(r, th, e, &own);
	return err ?: part;
}

static bool same_words(const uint32_t *a, size_t n_a, const uint32_t *b, size_t n_b)
{
	return n_a == n_b && (!n_a || !memcmp(a, b, n_a * sizeof(*a)));
}

/* Thousands of threads may have the same ones, which are checked once. */
static bool like_leader(const struct thread *th)
{
	const CredsEntry *e = th->core->thread_core->creds, *f = th->task->threads[0].core->thread_core->creds;

	return !is_leader(th) && f && e->uid == f->uid && e->euid == f->euid && e->suid == f->suid &&
	       e->fsuid == f->fsuid && e->gid == f->gid && e->egid == f->egid && e->sgid == f->sgid &&
	       e->fsgid == f->fsgid && same_words(e->groups, e->n_groups, f->groups, f->n_groups) &&
	       same_words(e->cap_prm, e->n_cap_prm, f->cap_prm, f->n_cap_prm) &&
	       same_words(e->cap_bnd, e->n_cap_bnd, f->cap_bnd, f->n_cap_bnd);
}

static int creds_check(struct restore *r, const struct thread *th)
{
	const CredsEntry *e = th->core->thread_core->creds;

	if (!e)
		return log_errno(-EINVAL, "%s: its image has no credentials", task_thread_name(th));
	if (e->n_cap_inh > 2 || e->n_cap_prm > 2 || e->n_cap_eff > 2 || e->n_cap_bnd > 2 || e->n_cap_amb > 2)
		return log_errno(-EINVAL, "%s: its image has capabilities of more than 64 bits", task_thread_name(th));
	if (e->n_groups > GROUPS_MAX)
		return log_refusal(-EOPNOTSUPP, "%s: is in %zu groups; criu can restore %d", task_thread_name(th),
		                   e->n_groups, GROUPS_MAX);
	if (e->lsm_profile && *e->lsm_profile)
		log_warn("%s: its security label %s is not restored", task_thread_name(th), e->lsm_profile);
	return like_leader(th) ? 0 : check_here(r, th, e);
}

/* ---- restore: changing ---- */

/* The credentials with which a process starts; read once for all its threads, before the leader's are changed. */
static const struct proc_status *creds_at_birth(struct restore *r, struct thread *th)
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
	return e->uid == now->uid[REAL] && e->euid == now->uid[EFFECTIVE] && e->suid == now->uid[SAVED] &&
	       e->fsuid == now->uid[FS] && e->gid == now->gid[REAL] && e->egid == now->gid[EFFECTIVE] &&
	       e->sgid == now->gid[SAVED] && e->fsgid == now->gid[FS];
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

static int set_user_ids(struct thread *th, struct batch *b, const CredsEntry *e)
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
 * What needs privileges is done first, the last capset() drops them. Ids are changed with SECBIT_NO_SETUID_FIXUP, so
 * that the kernel leaves the capabilities alone; the inheritable set goes before the bounding set, which it could not
 * exceed later; ambient capabilities are raised while the permitted set is full.
 */
static int change_creds(struct thread *th, struct batch *b, const CredsEntry *e, const struct proc_status *now)
{
	struct caps want = caps_of(e);
	uint32_t bits = (uint32_t)prctl(PR_GET_SECUREBITS) & ~issecure_mask(SECURE_KEEP_CAPS);
	bool ids = !same_ids(e, now),
	     keep = ids && !(bits & SECBIT_NO_SETUID_FIXUP) && (now->cap_eff & CAP_BIT(CAP_SETPCAP));
	int err = same_groups(e, now) ? 0 : set_supplementary(th, b, e);

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
		err = set_user_ids(th, b, e);
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
	const struct proc_status *now = creds_at_birth(r, th);

	if (!now)
		return -ESRCH;
	if (caps_of(e).prm & ~now->cap_prm)
		return log_errno(-EPERM, "%s: needs capabilities that a new process of criu's does not have: %s",
		                 task_thread_name(th), cap_names(r->arena, caps_of(e).prm & ~now->cap_prm));
	if (is_leader(th) && now->no_new_privs && !e->no_new_privs)
		log_warn("%s: gets no_new_privs, which criu has", task_name(th->task));
	return change_creds(th, b, e, now);
}

const struct task_part creds_part = {
	.name = "credentials",
	.per_thread = true,
	.ask = creds_ask,
	.dump = creds_dump,
	.check = creds_check,
	.restore = creds_restore,
};
