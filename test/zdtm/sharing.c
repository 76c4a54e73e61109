/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What processes share: CLONE_FILES, CLONE_FS, CLONE_VM | CLONE_SIGHAND, each alone and together, between a parent
 * and a child and between two children; and a thread-less control that shares nothing.
 *
 * zdtm: mode snapshot
 * zdtm: flavour ns
 * zdtm: restores 2
 * zdtm: no-userns its processes share directories (CLONE_FS), which is refused there
 */
#include <sched.h>
#include <sys/mman.h>

#include "zdtm.h"

#define N 5

static const int flags[N] = { CLONE_FILES, CLONE_FS, CLONE_FILES | CLONE_FS, CLONE_VM | CLONE_SIGHAND, 0 };
static volatile int *turn;
static char vmstack[65536] __attribute__((aligned(16)));

static void handler(int sig)
{
}

static int child(void *arg)
{
	int i = (long)arg;

	while (*turn != i + 1)
		zdtm_nap();
	if (i != 3)
		umask(0100 + i);
	dup2(0, 50 + i);
	signal(SIGRTMIN + i, handler);
	*turn = -1;
	while (*turn != 100)
		zdtm_nap();
	_exit(0);
}

int main(void)
{
	struct sigaction sa;
	pid_t kids[N];
	int status;

	turn = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	zdtm_must(turn != MAP_FAILED);
	umask(022);
	for (long i = 0; i < N; i++) {
		if (flags[i] & CLONE_VM) {
			zdtm_must((kids[i] = clone(child, vmstack + sizeof(vmstack), flags[i] | SIGCHLD, (void *)i)) >
			          0);
			continue;
		}
		zdtm_must((kids[i] = syscall(SYS_clone, flags[i] | SIGCHLD, 0, 0, 0, 0)) >= 0);
		if (!kids[i])
			child((void *)i);
	}
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < N; i++) {
		int shares_fs = !!(flags[i] & CLONE_FS), shares_files = !!(flags[i] & CLONE_FILES), mask;

		umask(022);
		*turn = i + 1;
		for (int k = 0; k < 300 && *turn != -1; k++)
			zdtm_nap();
		zdtm_check(*turn == -1, "child %d does not answer", i);
		mask = umask(022);
		zdtm_check((mask == 0100 + i) == shares_fs, "child %d: CLONE_FS %d, umask %o", i, shares_fs, mask);
		zdtm_check((fcntl(50 + i, F_GETFD) >= 0) == shares_files, "child %d: CLONE_FILES %d", i, shares_files);
		sigaction(SIGRTMIN + i, NULL, &sa);
		zdtm_check((sa.sa_handler == handler) == !!(flags[i] & CLONE_SIGHAND), "child %d: CLONE_SIGHAND", i);
	}
	*turn = 100;
	for (int i = 0; i < N; i++)
		zdtm_check(waitpid(kids[i], &status, 0) == kids[i] && !status, "child %d: %x", i, status);
	zdtm_pass();
}
