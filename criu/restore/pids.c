/* SPDX-License-Identifier: GPL-2.0-only */
#include <dirent.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#include "restore/job.h"
#include "restore/own_root.h"
#include "restore/pids.h"
#include "lib/log.h"
#include "lib/own_pids.h"
#include "proc/proc.h"
#include "tree/ns_ids.h"

#define REAP_TRIES 600 /* 3 s in all */

enum holding { HELD_NOT, HELD_FOR_A_MOMENT, HELD };

struct holder {
	pid_t pid;
	const char *as;
	char comm[32];
};

static void wait_a_tick(void)
{
	struct timespec t = { .tv_nsec = 5 * 1000 * 1000 };

	nanosleep(&t, NULL);
}

/* Zombies are reaped; a thread of criu's that has such a number is on its way out (lib/own_pids.c). */
static bool ends_soon(pid_t pid, const struct proc_stat *st)
{
	return st->state == 'Z' || st->state == 'X' || (pid != getpid() && !syscall(SYS_tgkill, getpid(), pid, 0));
}

static enum holding note_taken_pid(struct holder *h, pid_t pid, const struct proc_stat *st, const char *as)
{
	h->pid = pid;
	h->as = as;
	if (proc_comm(pid, h->comm, sizeof(h->comm)))
		snprintf(h->comm, sizeof(h->comm), "?");
	return ends_soon(pid, st) ? HELD_FOR_A_MOMENT : HELD;
}

/* A number lives on in the processes whose group or session it names. All of /proc: only when it is known to be taken.
 */
static enum holding find_in_proc(pid_t wanted, struct holder *h)
{
	enum holding found = HELD_NOT;
	DIR *dir = opendir("/proc");
	struct dirent *e;

	while (dir && found != HELD && (e = readdir(dir))) {
		struct proc_stat st;
		pid_t pid = atoi(e->d_name);

		if (pid <= 0 || proc_stat_of(pid, &st))
			continue;
		if (st.pgrp == wanted)
			found = note_taken_pid(h, pid, &st, "its process group");
		else if (st.session == wanted)
			found = note_taken_pid(h, pid, &st, "its session");
	}
	if (dir)
		closedir(dir);
	return found;
}

static enum holding find_holder(pid_t pid, bool everywhere, struct holder *h)
{
	struct proc_stat st;

	if (proc_stat_of(pid, &st) == 0)
		return note_taken_pid(h, pid, &st, "its pid");
	if (everywhere || kill(-pid, 0) == 0 || errno == EPERM)
		return find_in_proc(pid, h);
	return HELD_NOT;
}

static bool still_ends(const struct holder *h)
{
	struct proc_stat st;

	return proc_stat_of(h->pid, &st) == 0 && ends_soon(h->pid, &st);
}

/*
 * *tries: how often was waited so far, for all numbers together. All of /proc is looked through again only when the
 * holder has changed: on a busy machine with many processes the wait would take minutes.
 */
static enum holding wait_holder(pid_t pid, bool everywhere, unsigned *tries, struct holder *h)
{
	enum holding found = find_holder(pid, everywhere, h);

	while (found == HELD_FOR_A_MOMENT && (*tries)++ < REAP_TRIES) {
		wait_a_tick();
		if (!still_ends(h))
			found = find_holder(pid, everywhere, h);
	}
	return found;
}

static int compare_pids(const void *a, const void *b)
{
	const pid_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

void pids_avoid(struct restore *r)
{
	size_t n = 0, most = 0;
	pid_t *pids;

	if (ns_ids_own_pids(r))
		return;
	for (size_t i = 0; i < r->tree.n_tasks; i++)
		most += r->tree.tasks[i]->n_threads + 2;
	pids = arena_array(r->arena, pid_t, most);
	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];

		pids[n++] = t->vsid.v;
		pids[n++] = t->vpgid.v;
		for (size_t k = 0; k < t->n_threads; k++)
			pids[n++] = t->threads[k].vtid.v;
	}
	qsort(pids, n, sizeof(*pids), compare_pids);
	most = n;
	n = 0;
	for (size_t i = 0; i < most; i++)
		if (pids[i] > 0 && (!n || pids[i] != pids[n - 1]))
			pids[n++] = pids[i];
	own_pids_avoid(pids, n);
}

/* ---- criu's own ---- */

/*
 * The process that started criu waits for criu's number, which is taken until that process has got the exit status: so
 * criu itself cannot make place. Returns what can be done instead.
 */
static const char *way_out(const struct restore *r, const struct holder *h)
{
	static const char stay[] = ", without --restore-detached with any number (criu then becomes the root task)";
	pid_t last = own_pids_last_avoided();

	if (h->pid == 1)
		return "each pid namespace has such a first process already: dump the tree from outside of its pid "
		       "namespace, and it gets one of its own";
	if (h->pid != getpid())
		return "end that, or restore in a pid namespace of its own (unshare -pf --mount-proc)";
	return arena_printf(r->arena,
	                    "this is criu itself, whose number the process that started criu waits for: take the next "
	                    "numbers past those of the checkpoint (echo %d > " OWN_PIDS_LAST
	                    ") and start criu again%s, "
	                    "or restore in a pid namespace of its own (unshare -pf --mount-proc)",
	                    last, r->tree.tasks[0]->vpid.v == h->pid && r->opts->restore_detached ? stay : "");
}

/* Its leader is gone, or is a zombie: whose number would be criu's alone in a moment. */
static bool is_left_behind(pid_t id)
{
	struct proc_stat st;

	return id > 0 && id != getpid() && own_pids_avoided(id) && (proc_stat_of(id, &st) || ends_soon(id, &st));
}

/* A session's leader takes its terminal along when it ends, so there is nothing to lose. Not for the leader of a group.
 */
static void leave_session(void)
{
	if (getpgrp() == getpid() && setpgid(0, getpgid(getppid())))
		return;
	if (setsid() < 0)
		log_debug("setsid, to leave the session of a leader that is gone: %m");
}

/* As after `cat list | criu restore ...`: the keys of the terminal reach criu all the same. */
static void leave_group(pid_t group)
{
	if (setpgid(0, 0))
		log_debug("setpgid, to leave the process group of a leader that is gone: %m");
	else
		job_give_terminal(group, getpid());
}

static void leave_what_is_needed(const struct restore *r)
{
	if (!r->opts->shell_job && is_left_behind(getsid(0)))
		leave_session();
	if (is_left_behind(getpgrp()))
		leave_group(getpgrp());
}

/* ---- all that are needed ---- */

/* The number of a session or process group whose leader is gone: a helper needs it for a while. */
static int check_leader(struct restore *r, const struct task *t, vpid_t id, const char *what, unsigned *tries)
{
	const struct task *root = r->tree.tasks[0];
	struct holder h;

	if (id.v <= 0 || tree_find(&r->tree, id) ||
	    (r->opts->shell_job && (id.v == root->vsid.v || id.v == root->vpgid.v)))
		return 0;
	if (wait_holder(id.v, false, tries, &h) == HELD_NOT)
		return 0;
	return log_refusal(-EEXIST, "pid %d, which the %s of pid %d (%s) needs, is taken: pid %d (%s) has it as %s; %s",
	                   id.v, what, t->vpid.v, t->comm, h.pid, h.comm, h.as, way_out(r, &h));
}

/* Members come one after the other, most often: each number is asked for once. */
static int check_leaders(struct restore *r, unsigned *tries)
{
	vpid_t sid = { 0 }, pgid = { 0 };
	int err = 0, part;

	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];

		part = t->vsid.v == sid.v ? 0 : check_leader(r, t, t->vsid, "session", tries);
		err = err ?: part;
		part = t->vpgid.v == pgid.v || t->vpgid.v == t->vsid.v
		           ? 0
		           : check_leader(r, t, t->vpgid, "process group", tries);
		err = err ?: part;
		sid = t->vsid;
		pgid = t->vpgid;
	}
	return err;
}

int pids_check(struct restore *r)
{
	unsigned tries = 0;
	pid_t self = getpid();
	int err;

	if (ns_ids_own_pids(r))
		return 0;
	leave_what_is_needed(r);
	err = check_leaders(r, &tries);
	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];

		for (size_t k = 0; k < t->n_threads; k++) {
			pid_t pid = t->threads[k].vtid.v;
			struct holder h;

			if (pid == self && own_root_possible(r))
				continue;
			if (wait_holder(pid, false, &tries, &h) == HELD_NOT)
				continue;
			err = log_refusal(-EEXIST, "pid %d, which %s%s needs, is taken: pid %d (%s) has it as %s; %s",
			                  pid, k ? "a thread of " : "", t->comm, h.pid, h.comm, h.as, way_out(r, &h));
		}
	}
	return err;
}

int pids_wait_free(const struct restore *r, vpid_t pid, unsigned *tries)
{
	struct holder h = { .pid = 0, .as = "?", .comm = "unknown" };

	/*
	 * Whoever had it is out of sight before the number is free: the kernel throws away what /proc knew of it in
	 * between (release_task: proc_flush_pid, free_pids), which takes milliseconds after 10,000 descriptors were
	 * looked at.
	 */
	if (*tries)
		wait_a_tick();
	if ((*tries)++ >= REAP_TRIES)
		return log_errno(-EEXIST, "pid %d is taken by a process that /proc does not show%s", pid.v,
		                 ns_ids_given_pids(r) < 0
		                     ? ""
		                     : ", in the pid namespace that was given (maybe a child that its first process "
		                       "does not wait for)");
	/* In a namespace of the tree's own nothing but what criu has made and ended there can have it. */
	if (ns_ids_own_pids(r) || wait_holder(pid.v, true, tries, &h) == HELD_NOT)
		return 0;
	return log_errno(-EEXIST, "pid %d (see pstree.img) is taken: pid %d (%s) has it as %s", pid.v, h.pid, h.comm,
	                 h.as);
}
