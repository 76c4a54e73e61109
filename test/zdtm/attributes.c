/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a task has beside all that: comm, limits, scheduler, nice, affinity, oom_score_adj, umask, cwd, parent-death
 * signal, subreaper, personality, coredump filter, timer slack; per thread where the kernel keeps them so.
 *
 * zdtm: needs-root
 * zdtm: restores 2
 * zdtm: no-userns raises a priority
 * zdtm: flavour pidns
 */
#include <pthread.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "zdtm.h"
#include "zdtm_until.h"

static void put(const char *path, const char *s)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	zdtm_must(fd >= 0 && write(fd, s, strlen(s)) > 0);
	close(fd);
}

static void *thread(void *arg)
{
	struct sched_param sp = { .sched_priority = 0 };
	cpu_set_t set, now;
	char name[16];

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	zdtm_must(!sched_setscheduler(0, SCHED_BATCH, &sp) && !setpriority(PRIO_PROCESS, 0, 9));
	zdtm_must(!sched_setaffinity(0, sizeof(set), &set) && !prctl(PR_SET_NAME, "th (odd) \n"));
	__atomic_store_n((int *)arg, 1, __ATOMIC_SEQ_CST);
	zdtm_wait();
	zdtm_check(sched_getscheduler(0) == SCHED_BATCH && getpriority(PRIO_PROCESS, 0) == 9,
	           "thread: scheduler or nice");
	zdtm_check(!sched_getaffinity(0, sizeof(now), &now) && CPU_EQUAL(&set, &now), "thread: affinity");
	zdtm_check(!prctl(PR_GET_NAME, name) && !strcmp(name, "th (odd) \n"), "thread: name %s", name);
	return NULL;
}

static void rt_child(void)
{
	struct sched_param sp = { .sched_priority = 3 };

	if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &sp))
		_exit(0); /* not permitted here */
	zdtm_up();
	zdtm_wait();
	sched_getparam(0, &sp);
	zdtm_check(sched_getscheduler(0) == (SCHED_RR | SCHED_RESET_ON_FORK) && sp.sched_priority == 3, "RR: %x %d",
	           sched_getscheduler(0), sp.sched_priority);
	_exit(0);
}

static void pdeath_child(void)
{
	int sig = 0;

	zdtm_must(!prctl(PR_SET_PDEATHSIG, SIGUSR2) && personality(0x0040000) != -1 &&
	          !setpriority(PRIO_PROCESS, 0, -5));
	zdtm_must(!prctl(PR_SET_TIMERSLACK, 123456));
	zdtm_up();
	zdtm_wait();
	zdtm_check(!prctl(PR_GET_PDEATHSIG, &sig) && sig == SIGUSR2, "parent-death signal %d", sig);
	zdtm_check(personality(0xffffffff) == 0x0040000, "personality %x", personality(0xffffffff));
	zdtm_check(getpriority(PRIO_PROCESS, 0) == -5, "nice %d", getpriority(PRIO_PROCESS, 0));
	_exit(0);
}

int main(void)
{
	static const struct rlimit lim[] = { { 1000, 2000 }, { 0, RLIM_INFINITY }, { 4096, 1 << 30 } };
	static const int what[] = { RLIMIT_NOFILE, RLIMIT_CORE, RLIMIT_MEMLOCK };
	char name[16], cwd[PATH_MAX], want[PATH_MAX];
	struct rlimit now;
	pthread_t t;
	pid_t kids[2];
	int status, up = 0;

	prctl(PR_SET_NAME, "main comm");
	zdtm_must((kids[0] = fork()) >= 0);
	if (!kids[0])
		rt_child();
	zdtm_must((kids[1] = fork()) >= 0);
	if (!kids[1])
		pdeath_child();
	for (int i = 0; i < 3; i++)
		if (setrlimit(what[i], &lim[i]))
			zdtm_must(errno == EPERM);
	zdtm_must(!mkdir("sub dir", 0700) && !chdir("sub dir") && umask(0137) != 0137);
	put("/proc/self/oom_score_adj", "321");
	put("/proc/self/coredump_filter", "0x15");
	zdtm_must(!pthread_create(&t, NULL, thread, &up));
	while (!__atomic_load_n(&up, __ATOMIC_SEQ_CST))
		zdtm_nap();
	zdtm_until_up(2);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(!prctl(PR_GET_NAME, name) && !strcmp(name, "main comm"), "name %s", name);
	getrlimit(RLIMIT_NOFILE, &now);
	zdtm_check(now.rlim_cur == 1000 && now.rlim_max == 2000, "RLIMIT_NOFILE %lu %lu", now.rlim_cur, now.rlim_max);
	snprintf(want, sizeof(want), "%s/sub dir", zdtm_dir);
	zdtm_check(getcwd(cwd, sizeof(cwd)) && !strcmp(cwd, want), "cwd %s", cwd);
	status = umask(0);
	zdtm_check(status == 0137, "umask %o", status);
	for (int i = 0; i < 2; i++)
		zdtm_check(waitpid(kids[i], &status, 0) == kids[i] && !status, "child %d: %x", i, status);
	pthread_join(t, NULL);
	zdtm_pass();
}
