/* SPDX-License-Identifier: GPL-2.0-only */
/* Whether credentials of an image can be given by this tool, in its user namespace: user_namespaces(7),
 * capabilities(7). */
#include <inttypes.h>
#include <string.h>
#include <sys/capability.h>

#include "lib/log.h"
#include "task/answer.h"
#include "task/creds.h"

static uint64_t join(const uint32_t *words, size_t n)
{
	return (n > 0 ? words[0] : 0) | (n > 1 ? (uint64_t)words[1] << 32 : 0);
}

struct caps creds_caps(const CredsEntry *e)
{
	return (struct caps) {
		.inh = join(e->cap_inh, e->n_cap_inh),
		.prm = join(e->cap_prm, e->n_cap_prm),
		.eff = join(e->cap_eff, e->n_cap_eff),
		.bnd = join(e->cap_bnd, e->n_cap_bnd),
		.amb = join(e->cap_amb, e->n_cap_amb),
	};
}

const char *creds_cap_names(struct arena *a, uint64_t set)
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

/* The kernel sorts them. */
bool creds_same_groups(const CredsEntry *e, const struct proc_status *now)
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

/* ---- ids ---- */

/* Whether one of the ids has no place in a map (/proc/self/uid_map or gid_map): the first is in *missing. */
static int unmapped(int proc_fd, const char *map, const uint32_t *ids, size_t n, uint32_t *missing)
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

static int check_map(const struct thread *th, int proc_fd, const char *map, const char *what, const uint32_t *ids,
                     size_t n)
{
	uint32_t missing = 0;
	int err = unmapped(proc_fd, map, ids, n, &missing);

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
	int err = check_map(th, proc_fd, "uid_map", "user", uids, ARRAY_SIZE(uids));

	if (!err)
		err = check_map(th, proc_fd, "gid_map", "group", gids, ARRAY_SIZE(gids));
	if (err || creds_same_groups(e, own))
		return err;
	if (!proc_read(proc_fd, "setgroups", &setgroups, NULL) && !strncmp(setgroups, "deny", 4))
		return log_refusal(
		    -EPERM,
		    "%s: it is in %zu supplementary groups, this tool in %zu, and setgroups(2) is denied in "
		    "this user namespace",
		    task_thread_name(th), e->n_groups, own->n_groups);
	return check_map(th, proc_fd, "gid_map", "group", e->groups, e->n_groups);
}

/* ---- capabilities ---- */

static int check_caps(struct restore *r, const struct thread *th, const CredsEntry *e, const struct proc_status *own)
{
	struct caps want = creds_caps(e);
	/* What an execve() leaves, by which tasks begin. */
	uint64_t have = own->uid[EFFECTIVE] ? own->cap_amb : own->cap_bnd;

	if (want.prm & ~have)
		return log_refusal(-EPERM,
		                   "%s: it had capabilities that this tool cannot give: %s; restore it with them, or "
		                   "dump it without",
		                   task_thread_name(th), creds_cap_names(r->arena, want.prm & ~have));
	if (is_leader(th) && !th->task->parent && (want.bnd & ~own->cap_bnd))
		log_warn("%s: its bounding set had more than this tool's, and loses %s", task_thread_name(th),
		         creds_cap_names(r->arena, want.bnd & ~own->cap_bnd));
	return 0;
}

static int check_here(struct restore *r, const struct thread *th, const CredsEntry *e)
{
	struct proc_status own;
	_cleanup_close_ int proc_fd = proc_open(getpid());
	int err = proc_fd < 0 ? proc_fd : proc_read_status(proc_fd, 0, r->arena, &own), part;

	if (err)
		return log_errno(err, "reading this tool's own credentials");
	err = check_ids(th, proc_fd, e, &own);
	part = check_caps(r, th, e, &own);
	return err ?: part;
}

static bool same_words(const uint32_t *a, size_t n_a, const uint32_t *b, size_t n_b)
{
	return n_a == n_b && (!n_a || !memcmp(a, b, n_a * sizeof(*a)));
}

/* Thousands of threads have the same ones: checked once. */
static bool like_leader(const struct thread *th)
{
	const CredsEntry *e = th->core->thread_core->creds, *f = th->task->threads[0].core->thread_core->creds;

	return !is_leader(th) && f && e->uid == f->uid && e->euid == f->euid && e->suid == f->suid &&
	       e->fsuid == f->fsuid && e->gid == f->gid && e->egid == f->egid && e->sgid == f->sgid &&
	       e->fsgid == f->fsgid && same_words(e->groups, e->n_groups, f->groups, f->n_groups) &&
	       same_words(e->cap_prm, e->n_cap_prm, f->cap_prm, f->n_cap_prm) &&
	       same_words(e->cap_bnd, e->n_cap_bnd, f->cap_bnd, f->n_cap_bnd);
}

int creds_check(struct restore *r, const struct thread *th)
{
	const CredsEntry *e = th->core->thread_core->creds;

	if (!e)
		return log_errno(-EINVAL, "%s: its image has no credentials", task_thread_name(th));
	if (e->n_cap_inh > 2 || e->n_cap_prm > 2 || e->n_cap_eff > 2 || e->n_cap_bnd > 2 || e->n_cap_amb > 2)
		return log_errno(-EINVAL, "%s: its image has capabilities of more than 64 bits", task_thread_name(th));
	if (e->n_groups > CREDS_GROUPS_MAX)
		return log_refusal(-EOPNOTSUPP, "%s: it is in %zu groups; this tool can restore %d",
		                   task_thread_name(th), e->n_groups, CREDS_GROUPS_MAX);
	if (e->lsm_profile && *e->lsm_profile)
		log_warn("%s: its security label %s is not restored", task_thread_name(th), e->lsm_profile);
	return like_leader(th) ? 0 : check_here(r, th, e);
}
