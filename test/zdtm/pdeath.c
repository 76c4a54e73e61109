/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Signals for the death of a parent, in a chain of processes and different ones in the threads of one; the reapers of
 * their orphans. The root task has one too: its parent is criu, which ends right after the restore.
 *
 * zdtm: mode snapshot
 * zdtm: iters 3
 * zdtm: flavour ns
 */
#include <pthread.h>
#include <sys/prctl.h>

#include "zdtm.h"
#include "zdtm_until.h"

static volatile sig_atomic_t got[65];

static void note(int sig)
{
	got[sig]++;
}

static int death_signal(void)
{
	int sig = -1;

	prctl(PR_GET_PDEATHSIG, &sig);
	return sig;
}

static int up;

/* A signal for the process, from a thread that wants it. */
static void *thread(void *arg)
{
	int want = *(int *)arg;

	zdtm_must(!prctl(PR_SET_PDEATHSIG, want));
	__atomic_add_fetch(&up, 1, __ATOMIC_SEQ_CST);
	zdtm_wait();
	zdtm_check(death_signal() == want, "a thread's signal is %d, was %d", death_signal(), want);
	for (;;)
		zdtm_nap();
	return NULL;
}

static void wait_until_reaped_by(const char *who, pid_t reaper)
{
	for (int i = 0; i < 1000 && getppid() != reaper; i++)
		zdtm_nap();
	zdtm_check(getppid() == reaper, "%s: the parent is %d, not %d", who, getppid(), reaper);
}

static void wait_for_signals(const char *who, int first, int second)
{
	for (int i = 0; i < 1000 && !(got[first] && got[second]); i++)
		zdtm_nap();
	zdtm_check(got[first] && got[second], "%s: no signal came when the parent ended: %d %d", who, got[first],
	           got[second]);
}

/* Gets SIGUSR1 and SIGUSR2 when its parent ends, and is the reaper's then. */
static void grandchild(pid_t reaper)
{
	static int usr2 = SIGUSR2;
	pthread_t t;

	signal(SIGUSR1, note);
	signal(SIGUSR2, note);
	zdtm_must(!prctl(PR_SET_PDEATHSIG, SIGUSR1) && !pthread_create(&t, NULL, thread, &usr2));
	while (!__atomic_load_n(&up, __ATOMIC_SEQ_CST))
		zdtm_nap();
	zdtm_up();
	zdtm_wait();
	zdtm_check(death_signal() == SIGUSR1, "grandchild: the signal is %d", death_signal());
	wait_for_signals("grandchild", SIGUSR1, SIGUSR2);
	wait_until_reaped_by("grandchild", reaper);
	zdtm_touch("grandchild done");
	_exit(0);
}

/* Ends first, when all have looked. */
static void child(pid_t reaper)
{
	zdtm_must(!prctl(PR_SET_PDEATHSIG, SIGTERM));
	if (!fork())
		grandchild(reaper);
	zdtm_up();
	zdtm_wait();
	zdtm_check(death_signal() == SIGTERM, "child: the signal is %d", death_signal());
	_exit(0);
}

/* A reaper below a reaper: has the orphans of its child, and the root has none of them. */
static void reaper(void)
{
	int is = 0, status;
	pid_t kid;

	zdtm_must(!prctl(PR_SET_CHILD_SUBREAPER, 1) && (kid = fork()) >= 0);
	if (!kid)
		child(getppid());
	zdtm_up();
	zdtm_wait();
	zdtm_check(!prctl(PR_GET_CHILD_SUBREAPER, &is) && is == 1, "no subreaper any more");
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_check(waitpid(-1, &status, 0) > 0 && !status, "the orphan: %x", status);
	zdtm_check(!access(zdtm_path("grandchild done"), F_OK), "the orphan came to no end");
	_exit(0);
}

int main(void)
{
	int is = 0, status, sig;
	pid_t kid;

	zdtm_must(!prctl(PR_SET_CHILD_SUBREAPER, 1) && (kid = fork()) >= 0);
	if (!kid)
		reaper();
	zdtm_until_up(3);
	zdtm_must(!prctl(PR_SET_PDEATHSIG, SIGKILL));
	zdtm_ready();
	zdtm_wait();
	sig = death_signal();
	zdtm_check(sig == SIGKILL || sig == 0, "the root's signal is %d", sig);
	zdtm_check(!prctl(PR_GET_CHILD_SUBREAPER, &is) && is == 1, "the root is no subreaper any more");
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "reaper: %x", status);
	zdtm_pass();
}
