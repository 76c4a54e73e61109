/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Threads with one chain of filters still have one after a restore: a filter for all threads can be put on top of it,
 * which the kernel refuses where their filters are not the same objects. A long program in a thread with a chain of its
 * own.
 * zdtm: needs-root
 * zdtm: restores 2
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>

#include "zdtm.h"

#define LONG 3000

static volatile int go;

/* nr fails with err; n instructions, most of which do nothing. */
static long filter(unsigned nr, unsigned err, unsigned flags, int n)
{
	struct sock_filter *f = calloc(n, sizeof(*f));
	struct sock_fprog prog = { n, f };
	long r;

	for (int i = 0; i < n; i++)
		f[i] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	f[n - 3] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1);
	f[n - 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err);
	f[n - 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
	free(f);
	return r;
}

static int fails(int nr, int err)
{
	return syscall(nr) == -1 && errno == err;
}

static void *thread(void *arg)
{
	zdtm_wait();
	zdtm_check(fails(SYS_getppid, 40), "a thread without the first filter");
	while (!go)
		zdtm_nap();
	zdtm_check(fails(SYS_getuid, 41), "a thread without the later filter");
	return NULL;
}

static void *odd_thread(void *arg)
{
	zdtm_must(!filter(SYS_getgid, 42, 0, LONG));
	go = 1;
	zdtm_wait();
	zdtm_check(fails(SYS_getppid, 40) && fails(SYS_getgid, 42), "the odd thread lacks a filter");
	return NULL;
}

static void odd_process(void)
{
	pthread_t t;

	zdtm_must(!filter(SYS_getppid, 40, SECCOMP_FILTER_FLAG_LOG, 1000));
	zdtm_must(!pthread_create(&t, NULL, odd_thread, NULL));
	while (!go)
		zdtm_nap();
	zdtm_touch("odd");
	zdtm_wait();
	zdtm_check(fails(SYS_getppid, 40) && !fails(SYS_getgid, 42), "the odd process: its filters");
	pthread_join(t, NULL);
	_exit(0);
}

int main(void)
{
	pthread_t t[3];
	int status;
	pid_t pid;
	long r;

	zdtm_must(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && (pid = fork()) >= 0);
	if (!pid)
		odd_process();
	for (int i = 0; i < 3; i++)
		zdtm_must(!pthread_create(&t[i], NULL, thread, NULL));
	zdtm_must(!filter(SYS_getppid, 40, SECCOMP_FILTER_FLAG_TSYNC, 10));
	while (access(zdtm_path("odd"), F_OK))
		zdtm_nap();
	zdtm_ready();
	zdtm_wait();
	r = filter(SYS_getuid, 41, SECCOMP_FILTER_FLAG_TSYNC, 10);
	zdtm_check(!r, "a filter for all threads: %ld", r);
	go = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	zdtm_check(waitpid(pid, &status, 0) == pid && !status, "the odd process: %x", status);
	zdtm_pass();
}
