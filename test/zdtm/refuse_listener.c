/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A seccomp filter that asks a supervisor, and the supervisor's listener, in the same tree.
 *
 * zdtm: refuse fd 100: .*listener of a seccomp filter
 * zdtm: refuse seccomp filter 0 asks a supervisor \(SECCOMP_RET_USER_NOTIF\)
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#include "zdtm.h"
#include "zdtm_until.h"

#define ANSWER 4711

/* From here on getpgid(2) is answered by who has the descriptor. */
static int make_listener(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { 4, f };

	zdtm_must(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &p);
}

static void *supervise(void *arg)
{
	struct seccomp_notif call = { 0 };
	struct seccomp_notif_resp answer = { .val = ANSWER };

	if (!ioctl(100, SECCOMP_IOCTL_NOTIF_RECV, &call)) {
		answer.id = call.id;
		ioctl(100, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	}
	return arg;
}

int main(void)
{
	int status, fd = make_listener();
	pthread_t t;
	pid_t kid;

	if (fd < 0)
		zdtm_skip("no listener of a filter can be made: %s", strerror(errno));
	zdtm_must(dup2(fd, 100) == 100);
	close(fd);
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		close(100);
		zdtm_up();
		zdtm_wait();
		zdtm_check(syscall(SYS_getpgid, 0) == ANSWER, "the supervisor did not answer");
		_exit(0);
	}
	zdtm_until_up(1);
	zdtm_must(!pthread_create(&t, NULL, supervise, NULL));
	zdtm_ready();
	zdtm_wait();
	pthread_join(t, NULL);
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_pass();
}
