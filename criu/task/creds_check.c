/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What criu can give to a task, by its own credentials: setresuid(2), setgroups(2), capset(2), prctl(2). A restored
 * task begins with what an execve(2) leaves (proc/own_rights.h), and changes to what it had.
 */
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/capability.h>

#include "lib/log.h"
#include "task/creds.h"

/* ---- credentials of an image ---- */

static uint64_t join_words(const uint32_t *words, size_t n)
{
	return (n > 0 ? words[0] : 0) | (n > 1 ? (uint64_t)words[1] << 32 : 0);
}

struct creds_caps creds_caps_of(const CredsEntry *e)
{
	return (struct creds_caps) {
		.inh = join_words(e->cap_inh, e->n_cap_inh),
		.prm = join_words(e->cap_prm, e->n_cap_prm),
		.eff = join_words(e->cap_eff, e->n_cap_eff),
		.bnd = join_words(e->cap_bnd, e->n_cap_bnd),
		.amb = join_words(e->cap_amb, e->n_cap_amb),
	};
}

const char *creds_cap_names(struct arena *a, uint64_t set)
{
	const char *text = "";

	for (unsigned n = 0; n <= CREDS_CAP_MAX; n++) {
		char *name = set & CREDS_CAP_BIT(n) ? cap_to_name((cap_value_t)n) : NULL;

		if (name)
			text = arena_printf(a, "%s%s%s", text, *text ? "," : "", name);
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

static bool same_words(const uint32_t *a, size_t n_a, const uint32_t *b, size_t n_b)
{
	return n_a == n_b && (!n_a || !memcmp(a, b, n_a * sizeof(*a)));
}

bool creds_same(const CredsEntry *e, const CredsEntry *f)
{
	return e->uid == f->uid && e->euid == f->euid && e->suid == f->suid && e->fsuid == f->fsuid &&
	       e->gid == f->gid && e->egid == f->egid && e->sgid == f->sgid && e->fsgid == f->fsgid &&
	       e->secbits == f->secbits && same_words(e->groups, e->n_groups, f->groups, f->n_groups) &&
	       same_words(e->cap_inh, e->n_cap_inh, f->cap_inh, f->n_cap_inh) &&
	       same_words(e->cap_prm, e->n_cap_prm, f->cap_prm, f->n_cap_prm) &&
	       same_words(e->cap_bnd, e->n_cap_bnd, f->cap_bnd, f->n_cap_bnd) &&
	       same_words(e->cap_amb, e->n_cap_amb, f->cap_amb, f->n_cap_amb);
}

/* ---- ids ---- */

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

static int check_mapped(const struct thread *th, const CredsEntry *e, const struct proc_status *own)
{
	const uint32_t uids[] = { e->uid, e->euid, e->suid, e->fsuid }, gids[] = { e->gid, e->egid, e->sgid, e->fsgid };
	_cleanup_free_ char *setgroups = NULL;
	_cleanup_close_ int proc_fd = proc_open(getpid());
	int err = proc_fd < 0 ? log_errno(proc_fd, "open of /proc/self")
	                      : check_id_map(th, proc_fd, "uid_map", "user", uids, ARRAY_SIZE(uids));

	if (!err)
		err = check_id_map(th, proc_fd, "gid_map", "group", gids, ARRAY_SIZE(gids));
	if (err || creds_same_groups(e, own))
		return err;
	if (!proc_read(proc_fd, "setgroups", &setgroups, NULL) && !strncmp(setgroups, "deny", 4))
		return log_refusal(-EPERM,
		                   "%s: is in %zu supplementary groups, criu in %zu, and setgroups(2) is denied in "
		                   "this user namespace",
		                   task_thread_name(th), e->n_groups, own->n_groups);
	return check_id_map(th, proc_fd, "gid_map", "group", e->groups, e->n_groups);
}

/* Without a capability ids only change places; the saved one of a new process is its effective one. */
static bool can_take(const uint32_t want[4], const uint32_t now[4])
{
	for (unsigned i = CREDS_REAL; i <= CREDS_SAVED; i++)
		if (want[i] != now[CREDS_REAL] && want[i] != now[CREDS_EFFECTIVE])
			return false;
	return want[CREDS_FS] == want[CREDS_REAL] || want[CREDS_FS] == want[CREDS_EFFECTIVE] ||
	       want[CREDS_FS] == want[CREDS_SAVED];
}

static int refuse_ids(const struct thread *th, const char *what, const uint32_t want[4], const uint32_t now[4],
                      const char *cap)
{
	return log_refusal(-EPERM,
	                   "%s: has the %s ids %u/%u/%u/%u (real, effective, saved, file system), which criu, with %u, "
	                   "cannot give it at restore without %s: restore as root, or setcap %s,...+ep criu",
	                   task_thread_name(th), what, want[0], want[1], want[2], want[3], now[CREDS_EFFECTIVE], cap,
	                   cap);
}

static int check_id_rights(const struct thread *th, const CredsEntry *e, const struct own_rights *own)
{
	const struct proc_status *now = &own->status;
	const uint32_t uids[] = { e->uid, e->euid, e->suid, e->fsuid }, gids[] = { e->gid, e->egid, e->sgid, e->fsgid };
	bool setgid = own_rights_have(own, CAP_SETGID);
	int err = 0, part = 0;

	if (!own_rights_have(own, CAP_SETUID) && !can_take(uids, now->uid))
		err = refuse_ids(th, "user", uids, now->uid, "cap_setuid");
	if (!setgid && !can_take(gids, now->gid))
		part = refuse_ids(th, "group", gids, now->gid, "cap_setgid");
	err = err ?: part;
	if (setgid || creds_same_groups(e, now))
		return err;
	part = log_refusal(-EPERM,
	                   "%s: is in %zu supplementary groups, and criu in other ones (%zu), which criu cannot change "
	                   "at restore without cap_setgid: restore as root, or setcap cap_setgid,...+ep criu",
	                   task_thread_name(th), e->n_groups, now->n_groups);
	return err ?: part;
}

/* ---- capabilities and securebits ---- */

/* Why criu cannot give a set, with the way out. */
static int refuse_caps(struct arena *a, const struct thread *th, const char *what, uint64_t set)
{
	const char *names = creds_cap_names(a, set);

	return log_refusal(
	    -EPERM,
	    "%s: had %scapabilities that criu cannot give it at restore: %s; restore as root with all of "
	    "them, or setcap %s,...+ep criu, or dump a task without them",
	    task_thread_name(th), what, names, names);
}

static int check_sets(struct arena *a, const struct thread *th, const struct creds_caps *want,
                      const struct own_rights *own)
{
	const struct proc_status *st = &own->status;
	uint64_t prm = own->caps_at_birth, missing;

	missing = want->prm & ~prm;
	if (missing)
		return refuse_caps(a, th, "", missing);
	missing = want->inh & ~(st->cap_inh | st->cap_bnd);
	if (!own_rights_have(own, CAP_SETPCAP))
		missing |= want->inh & ~(st->cap_inh | prm);
	if (missing)
		return refuse_caps(a, th, "inheritable ", missing);
	missing = own->securebits & SECBIT_NO_CAP_AMBIENT_RAISE ? want->amb & ~st->cap_amb : 0;
	return missing ? refuse_caps(a, th, "ambient ", missing) : 0;
}

/* Without CAP_SETPCAP the kernel neither drops a capability from the bounding set nor changes securebits. */
static int check_setpcap(struct arena *a, const struct thread *th, const CredsEntry *e, const struct own_rights *own)
{
	uint32_t changed = (e->secbits ^ own->securebits) & ~(uint32_t)SECBIT_KEEP_CAPS;
	uint32_t locks = own->securebits & SECURE_ALL_LOCKS;
	uint64_t dropped = own->status.cap_bnd & ~creds_caps_of(e).bnd;
	bool can = own_rights_have(own, CAP_SETPCAP);

	if (dropped && !can)
		return log_refusal(-EPERM,
		                   "%s: its bounding set is without %s, which criu cannot drop at restore without "
		                   "cap_setpcap: restore as root, or setcap cap_setpcap,...+ep criu",
		                   task_thread_name(th), creds_cap_names(a, dropped));
	if (!changed || (can && !(changed & (locks >> 1 | locks))))
		return 0;
	return log_refusal(-EPERM, "%s: its securebits are %#x, which criu, with %#x, cannot give it at restore %s",
	                   task_thread_name(th), e->secbits, own->securebits,
	                   can ? "since criu's are locked: restore from a shell with others"
	                       : "without cap_setpcap: restore as root, or setcap cap_setpcap,...+ep criu");
}

int creds_can_give(struct arena *a, const struct own_rights *own, const struct thread *th)
{
	const CredsEntry *e = th->core->thread_core->creds;
	struct creds_caps want = creds_caps_of(e);
	int err = check_mapped(th, e, &own->status), part;

	part = err ? 0 : check_id_rights(th, e, own);
	err = err ?: part;
	part = check_sets(a, th, &want, own);
	err = err ?: part;
	part = check_setpcap(a, th, e, own);
	return err ?: part;
}
