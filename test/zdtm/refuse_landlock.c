/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Threads that have restricted themselves with Landlock: as root, and as another user without capabilities. A thread of
 * that user that has not is not named.
 *
 * zdtm: needs-root
 * zdtm: refuse pid [0-9]+ \(refuse_landlock\) thread [0-9]+: is restricted by Landlock
 * zdtm: refuse pid [0-9]+ \(user's own\): is restricted by Landlock
 * zdtm: refuse : 2 reasons against this dump
 * zdtm: no-userns changes the mode of a directory of root
 * zdtm: flavour no pidns
 */
#include <linux/landlock.h>
#include <pthread.h>
#include <sys/prctl.h>

#include "zdtm.h"
#include "zdtm_until.h"

static int up;

static int restrict_now(void)
{
	struct landlock_ruleset_attr attr = { .handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_SOCK };
	int fd = syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0), ret;

	if (fd < 0)
		return fd;
	ret = syscall(SYS_landlock_restrict_self, fd, 0);
	close(fd);
	return ret;
}

static void *thread(void *arg)
{
	zdtm_must(!restrict_now());
	__atomic_store_n(&up, 1, __ATOMIC_SEQ_CST);
	zdtm_wait();
	return arg;
}

static void user(const char *name, int restricted)
{
	zdtm_must(!syscall(SYS_setgroups, 0, NULL) && !setresgid(1234, 1234, 1234) && !setresuid(1234, 1235, 1236));
	zdtm_must(!prctl(PR_SET_NAME, name) && !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	zdtm_must(!restricted || !restrict_now());
	zdtm_up();
	zdtm_wait();
	_exit(0);
}

int main(void)
{
	int status;
	pthread_t t;
	pid_t kids[2];

	if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 1)
		zdtm_skip("the kernel has no Landlock: %s", strerror(errno));
	zdtm_must(!chmod(zdtm_dir, 0777));
	for (int i = 0; i < 2; i++) {
		zdtm_must((kids[i] = fork()) >= 0);
		if (!kids[i])
			user(i ? "user's own" : "user's free", i);
	}
	zdtm_must(!pthread_create(&t, NULL, thread, NULL));
	while (!__atomic_load_n(&up, __ATOMIC_SEQ_CST))
		zdtm_nap();
	zdtm_until_up(2);
	zdtm_ready();
	zdtm_wait();
	pthread_join(t, NULL);
	for (int i = 0; i < 2; i++)
		zdtm_check(waitpid(kids[i], &status, 0) == kids[i] && !status, "child: %x", status);
	zdtm_pass();
}
