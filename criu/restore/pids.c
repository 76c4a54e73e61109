/* SPDX-License-Identifier: GPL-2.0-only */
#include <dirent.h>
#include <signal.h>
#include <time.h>

#include "restore/pids.h"
#include "lib/log.h"
#include "proc/proc.h"

#define REAP_TRIES 600 /* 3 s in all */

enum holding { HELD_NOT, HELD_BY_ZOMBIES, HELD };

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

static bool is_zombie(const struct proc_stat *st)
{
	return st->state == 'Z' || st->state == 'X';
}

static enum holding note_taken_pid(struct holder *h, pid_t pid, const struct proc_stat *st, const char *as)
{
	h->pid = pid;
	h->as = as;
	if (proc_comm(pid, h->comm, sizeof(h->comm)))
		snprintf(h->comm, sizeof(h->comm), "?");
	return is_zombie(st) ? HELD_BY_ZOMBIES : HELD;
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

static enum holding wait_holder(pid_t pid, bool everywhere, struct holder *h)
{
	enum holding found = find_holder(pid, everywhere, h);

	for (int i = 0; found == HELD_BY_ZOMBIES && i < REAP_TRIES; i++) {
		wait_a_tick();
		found = find_holder(pid, everywhere, h);
	}
	return found;
}

/* The number of a session or process group whose leader is gone: a helper needs it for a while. */
static int check_leader(struct restore *r, const struct task *t, vpid_t id, const char *what)
{
	const struct task *root = r->tree.tasks[0];
	struct holder h;

	if (id.v <= 0 || tree_find(&r->tree, id) ||
	    (r->opts->shell_job && (id.v == root->vsid.v || id.v == root->vpgid.v)))
		return 0;
	if (wait_holder(id.v, false, &h) == HELD_NOT)
		return 0;
	return log_refusal(
	    -EEXIST,
	    "pid %d, which the %s of pid %d (%s) needs, is taken: pid %d (%s) has it as %s; end that, or "
	    "restore in a pid namespace of its own (unshare -pf --mount-proc)",
	    id.v, what, t->vpid.v, t->comm, h.pid, h.comm, h.as);
}

/* Members come one after the other, most often: each number is asked for once. */
static int check_leaders(struct restore *r)
{
	vpid_t sid = { 0 }, pgid = { 0 };
	int err = 0, part;

	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];

		part = t->vsid.v == sid.v ? 0 : check_leader(r, t, t->vsid, "session");
		err = err ?: part;
		part =
		    t->vpgid.v == pgid.v || t->vpgid.v == t->vsid.v ? 0 : check_leader(r, t, t->vpgid, "process group");
		err = err ?: part;
		sid = t->vsid;
		pgid = t->vpgid;
	}
	return err;
}

int pids_check(struct restore *r)
{
	int err = check_leaders(r);

	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];

		for (size_t k = 0; k < t->n_threads; k++) {
			pid_t pid = t->threads[k].vtid.v;
			struct holder h;

			if (wait_holder(pid, false, &h) == HELD_NOT)
				continue;
			err = log_refusal(-EEXIST,
			                  "pid %d, which %s%s needs, is taken: pid %d (%s) has it as %s; end that, or "
			                  "restore in a pid namespace of its own (unshare -pf --mount-proc)",
			                  pid, k ? "a thread of " : "", t->comm, h.pid, h.comm, h.as);
		}
	}
	return err;
}

int pids_wait_free(vpid_t pid, unsigned *tries)
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
		return log_errno(-EEXIST, "pid %d is taken by a process that /proc does not show", pid.v);
	if (wait_holder(pid.v, true, &h) == HELD_NOT)
		return 0;
	return log_errno(-EEXIST, "pid %d is taken: pid %d (%s) has it as %s", pid.v, h.pid, h.comm, h.as);
}
