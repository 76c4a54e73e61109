/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A thread alone has a seccomp filter that traps calls which criu makes in it (prctl, sigaltstack, getitimer and
 * others); the first thread has none. Its name and all else come back, and the filter traps as before.
 *
 * zdtm: mode snapshot
 * zdtm: flavour pidns
 * zdtm: needs-root
 * zdtm: iters 2
 * zdtm: restores 2
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>

#include "zdtm.h"

#define TRAP(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP)

static volatile int trapped, set_up;

static void on_sys(int sig)
{
	trapped++;
}

static void *filtered(void *arg)
{
	struct sock_filter f[] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		                   TRAP(SYS_prctl),
		                   TRAP(SYS_sigaltstack),
		                   TRAP(SYS_sched_getattr),
		                   TRAP(SYS_get_robust_list),
		                   TRAP(SYS_recvmsg),
		                   TRAP(SYS_getitimer),
		                   BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	struct sock_fprog p = { sizeof(f) / sizeof(*f), f };
	char name[20] = "";
	int fd;

	zdtm_must(!prctl(PR_SET_NAME, "filtered") && !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	zdtm_must(!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p));
	set_up = 1;
	zdtm_wait();
	fd = open("/proc/thread-self/comm", O_RDONLY);
	zdtm_check(read(fd, name, sizeof(name) - 1) > 0 && !strcmp(name, "filtered\n"), "its name is %s", name);
	close(fd);
	zdtm_check(!trapped, "%d calls were trapped", trapped);
	prctl(PR_GET_NAME, name);
	syscall(SYS_getitimer, 0, name);
	zdtm_check(trapped == 2, "the filter has trapped %d calls", trapped);
	return NULL;
}

int main(void)
{
	pthread_t t;

	signal(SIGSYS, on_sys);
	zdtm_must(!pthread_create(&t, NULL, filtered, NULL));
	while (!set_up)
		zdtm_nap();
	zdtm_ready();
	zdtm_wait();
	pthread_join(t, NULL);
	zdtm_pass();
}
