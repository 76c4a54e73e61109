/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Process groups and sessions: groups of the root's session, a group whose leader is gone, a session of its own, one
 * whose leader is gone, and an orphan that a subreaper took.
 *
 * zdtm: flavour ns
 * zdtm: restores 2
 * zdtm: flavour pidns
 */
#include <sys/mman.h>
#include <sys/prctl.h>

#include "zdtm.h"

enum { PLAIN, OWN_GROUP, MEMBER, GONE_LEADER_GROUP, OWN_SESSION, IN_SESSION, GONE_LEADER_SESSION, ORPHAN, N };

static struct {
	pid_t pid[N], ppid[N], pgid[N], sid[N];
} * sh;

static void stay(int who)
{
	sh->pgid[who] = getpgid(0);
	sh->sid[who] = getsid(0);
	sh->ppid[who] = getppid();
	__atomic_store_n(&sh->pid[who], getpid(), __ATOMIC_SEQ_CST);
	zdtm_wait();
	zdtm_check(getpid() == sh->pid[who], "%d: pid %d", who, getpid());
	zdtm_check(getpgid(0) == sh->pgid[who], "%d: group %d is %d", who, sh->pgid[who], getpgid(0));
	zdtm_check(getsid(0) == sh->sid[who], "%d: session %d is %d", who, sh->sid[who], getsid(0));
	zdtm_check(getppid() == sh->ppid[who], "%d: parent %d is %d", who, sh->ppid[who], getppid());
	while (wait(NULL) > 0) /* our own children look who their parent is */
		;
	_exit(0);
}

static void await(int who)
{
	while (!__atomic_load_n(&sh->pid[who], __ATOMIC_SEQ_CST))
		zdtm_nap();
}

static void spawn(int who, void (*before)(void))
{
	pid_t pid = fork();

	zdtm_must(pid >= 0);
	if (!pid) {
		if (before)
			before();
		stay(who);
	}
	await(who);
}

static void own_group(void)
{
	zdtm_must(!setpgid(0, 0));
}

static void join_group(void)
{
	zdtm_must(!setpgid(0, sh->pid[OWN_GROUP]));
}

static void own_session(void)
{
	pid_t pid;

	zdtm_must(setsid() == getpid());
	zdtm_must((pid = fork()) >= 0);
	if (!pid)
		stay(IN_SESSION);
	await(IN_SESSION);
}

/* A leader that makes a child and goes away; the child is ours then (we are a subreaper). */
static void leave_behind(int who, void (*as)(void))
{
	pid_t leader = fork();

	zdtm_must(leader >= 0);
	if (!leader) {
		pid_t me = getpid();

		if (as)
			as();
		if (!fork()) {
			while (getppid() == me)
				zdtm_nap();
			stay(who);
		}
		_exit(0);
	}
	zdtm_must(waitpid(leader, NULL, 0) == leader);
	await(who);
}

static void only_setsid(void)
{
	zdtm_must(setsid() > 0);
}

int main(void)
{
	int status, n = 0;

	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	zdtm_must(sh != MAP_FAILED && !prctl(PR_SET_CHILD_SUBREAPER, 1));
	spawn(PLAIN, NULL);
	spawn(OWN_GROUP, own_group);
	spawn(MEMBER, join_group);
	leave_behind(GONE_LEADER_GROUP, own_group);
	spawn(OWN_SESSION, own_session);
	leave_behind(GONE_LEADER_SESSION, only_setsid);
	leave_behind(ORPHAN, NULL);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(prctl(PR_GET_CHILD_SUBREAPER, &status) == 0 && status == 1, "no subreaper any more");
	for (pid_t pid; (pid = wait(&status)) > 0; n++)
		zdtm_check(!status, "%d: status %x", pid, status);
	zdtm_check(n == N - 1, "%d children of %d", n, N - 1);
	zdtm_pass();
}
