/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Seccomp filters do not stop the agent, and come back: one that kills for mmap, futex and shmat, two on top of each
 * other in a child, one in a thread alone, strict mode in another child.
 *
 * zdtm: mode snapshot
 * zdtm: needs-root
 * zdtm: restores 2
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>

#include "zdtm.h"
#include "zdtm_until.h"

#define NR             offsetof(struct seccomp_data, nr)
#define LOAD           BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NR)
#define WHEN(nr, what) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), BPF_STMT(BPF_RET | BPF_K, what)
#define ALLOW          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define INSTALL(f)                                                                                                     \
	zdtm_must(                                                                                                     \
	    !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &(struct sock_fprog) { sizeof(f) / sizeof(*(f)), (f) }, 0, 0))

static void kill_filter(void)
{
	struct sock_filter f[] = { LOAD, WHEN(SYS_mmap, SECCOMP_RET_KILL_PROCESS),
		                   WHEN(SYS_shmat, SECCOMP_RET_KILL_PROCESS), WHEN(SYS_futex, SECCOMP_RET_KILL_PROCESS),
		                   ALLOW };

	INSTALL(f);
}

static void errno_filter(int nr, int err)
{
	struct sock_filter f[] = { LOAD, WHEN((unsigned)nr, SECCOMP_RET_ERRNO | (unsigned)err), ALLOW };

	INSTALL(f);
}

static void *thread(void *arg)
{
	zdtm_must(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	errno_filter(SYS_getppid, 77);
	__atomic_store_n((int *)arg, 1, __ATOMIC_SEQ_CST);
	zdtm_wait();
	zdtm_check(syscall(SYS_getppid) == -1 && errno == 77, "the thread's filter is gone");
	return NULL;
}

static void strict(int *pipes)
{
	char c;

	prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	syscall(SYS_write, pipes[3], "r", 1);
	syscall(SYS_read, pipes[0], &c, 1);
	syscall(SYS_exit, c);
}

int main(void)
{
	int pipes[4], status, up = 0;
	pid_t kids[4];
	pthread_t t;
	char c;

	zdtm_must(!pipe(pipes) && !pipe(pipes + 2));
	for (int i = 0; i < 4; i++) {
		zdtm_must((kids[i] = fork()) >= 0);
		if (kids[i])
			continue;
		if (i == 3)
			strict(pipes);
		if (i == 0)
			zdtm_must(!setresuid(1000, 1000, 1000));
		zdtm_must(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
		kill_filter();
		if (i == 1) {
			errno_filter(SYS_getuid, 5);
			errno_filter(SYS_getuid, 6);
			errno_filter(SYS_getgid, 7);
		}
		zdtm_up();
		zdtm_wait();
		if (i == 1) {
			zdtm_check(syscall(SYS_getuid) == -1 && errno == 6, "the later filter has the word: %d", errno);
			zdtm_check(syscall(SYS_getgid) == -1 && errno == 7, "the last filter: %d", errno);
		}
		if (i == 2)
			syscall(SYS_shmat, 0, 0, 0);
		else
			syscall(SYS_mmap, 0, 4096, 0, 0, -1, 0);
		_exit(1); /* not reached: the filter kills */
	}
	zdtm_must(!pthread_create(&t, NULL, thread, &up));
	while (!__atomic_load_n(&up, __ATOMIC_SEQ_CST))
		zdtm_nap();
	zdtm_must(read(pipes[2], &c, 1) == 1);
	zdtm_until_up(3);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(getppid() > 0, "the thread's filter is ours now");
	for (int i = 0; i < 3; i++)
		zdtm_check(waitpid(kids[i], &status, 0) == kids[i] && (status & 0x7f) == SIGSYS, "child %d: %x", i,
		           status);
	zdtm_check(write(pipes[1], "\007", 1) == 1, "pipe");
	zdtm_check(waitpid(kids[3], &status, 0) == kids[3] && status == 7 << 8, "strict child: %x", status);
	pthread_join(t, NULL);
	zdtm_pass();
}
