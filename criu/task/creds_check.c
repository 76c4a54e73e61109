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
#include <sys/prctl.h>

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

/* In the user namespace of the thread, which will be made: what it does not know has to come along at the entry. */
static int check_inside(const struct thread *th, const struct user_ns *ns, const char *what, enum user_id kind,
                        const uint32_t ids[4], const uint32_t entrant[4])
{
	uint32_t outside;

	for (int i = CREDS_REAL; i <= CREDS_FS; i++) {
		if (!user_ns_outside(ns, kind, ids[i], &outside))
			return log_refusal(-EINVAL, "%s: its %s id %u is in none of the maps of userns-%u.img",
			                   task_thread_name(th), what, ids[i], ns->id);
		if (user_ns_is_unmapped(ns, kind, ids[i]) && ids[i] != entrant[i])
			return log_refusal(-EPERM,
			                   "%s: has the %s id %u, which its user namespace has no number for, and "
			                   "another process in there has another such one (%u): criu can enter the "
			                   "namespace with one of them only",
			                   task_thread_name(th), what, outside, entrant[i]);
	}
	return 0;
}

static int check_groups_inside(const struct thread *th, const struct user_ns *ns, const CredsEntry *e,
                               const struct proc_status *entrant)
{
	uint32_t outside;

	if (creds_same_groups(e, entrant))
		return 0;
	if (ns->deny_setgroups)
		return log_refusal(-EPERM,
		                   "%s: is in other supplementary groups than another process in its user namespace, "
		                   "where setgroups(2) is denied: criu can enter that with one list only",
		                   task_thread_name(th));
	for (size_t i = 0; i < e->n_groups; i++) {
		if (!user_ns_outside(ns, GROUP_ID, e->groups[i], &outside))
			return log_refusal(-EINVAL, "%s: its group %u is in none of the maps of userns-%u.img",
			                   task_thread_name(th), e->groups[i], ns->id);
		if (user_ns_is_unmapped(ns, GROUP_ID, e->groups[i]))
			return log_refusal(-EPERM,
			                   "%s: is in group %u, which its user namespace has no number for, and "
			                   "another process in there is in other such ones: criu can enter the "
			                   "namespace with one list only",
			                   task_thread_name(th), outside);
	}
	return 0;
}

static int check_in_its_ns(const struct thread *th, const struct user_ns *ns, const CredsEntry *e,
                           const struct proc_status *entrant)
{
	const uint32_t uids[] = { e->uid, e->euid, e->suid, e->fsuid }, gids[] = { e->gid, e->egid, e->sgid, e->fsgid };
	int err = check_inside(th, ns, "user", USER_ID, uids, entrant->uid);

	err = err ?: check_inside(th, ns, "group", GROUP_ID, gids, entrant->gid);
	return err ?: check_groups_inside(th, ns, e, entrant);
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
	uint64_t prm = own->caps_at_birth & ~own->lent, missing;

	missing = want->prm & ~prm;
	if (missing)
		return refuse_caps(a, th, "", missing);
	missing = want->inh & (~(st->cap_inh | st->cap_bnd) | own->lent);
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

int creds_can_give(struct arena *a, const struct own_rights *own, const struct user_ns *ns, const struct thread *th)
{
	const CredsEntry *e = th->core->thread_core->creds;
	struct creds_caps want = creds_caps_of(e);
	int err = ns ? check_in_its_ns(th, ns, e, &own->status) : check_mapped(th, e, &own->status), part;

	part = err || ns ? 0 : check_id_rights(th, e, own);
	err = err ?: part;
	part = check_sets(a, th, &want, own);
	err = err ?: part;
	part = check_setpcap(a, th, e, own);
	return err ?: part;
}

/* ---- user namespaces ---- */

static uint64_t all_caps(void)
{
	uint64_t all = 0;

	for (unsigned n = 0; n <= CREDS_CAP_MAX; n++)
		if (prctl(PR_CAPBSET_READ, n) >= 0)
			all |= CREDS_CAP_BIT(n);
	return all;
}

void creds_see_inside(struct arena *a, const struct user_ns *ns, struct proc_status *st)
{
	uint32_t *groups = arena_array(a, uint32_t, st->n_groups + 1);

	if (!ns)
		return;
	for (int i = CREDS_REAL; i <= CREDS_FS; i++) {
		user_ns_known(ns, USER_ID, st->uid[i], &st->uid[i]);
		user_ns_known(ns, GROUP_ID, st->gid[i], &st->gid[i]);
	}
	for (size_t i = 0; i < st->n_groups; i++)
		user_ns_known(ns, GROUP_ID, st->groups[i], &groups[i]);
	if (st->n_groups)
		qsort(groups, st->n_groups, sizeof(*groups), compare_u32);
	st->groups = groups;
}

void creds_of_entrant(struct arena *a, const struct user_ns *ns, const struct own_rights *own, struct own_rights *out)
{
	struct proc_status *st = &out->status;
	uint64_t all = all_caps();

	*out = (struct own_rights) { .caps_at_birth = all };
	st->no_new_privs = own->status.no_new_privs;
	st->cap_prm = st->cap_eff = st->cap_bnd = all;
	for (int i = CREDS_REAL; i <= CREDS_FS; i++) {
		st->uid[i] = ns->enter_as[USER_ID];
		st->gid[i] = ns->enter_as[GROUP_ID];
	}
	st->groups = ns->groups;
	st->n_groups = ns->n_groups;
	creds_see_inside(a, ns, st);
}
