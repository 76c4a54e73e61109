/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The helper of foreign.c: a fork of criu with the identity of a task. criu may have threads, so that here is nothing
 * but system calls. The helper may never come back from one, so first of all it gives up all that is criu's:
 * descriptors, directory, terminal, session.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "helper/foreign_serve.h"
#include "lib/rights.h"

static void give_up_all(int sock)
{
	sigset_t all;
	int null;

	sigfillset(&all);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof(uint64_t));
	prctl(PR_SET_NAME, "criu-foreign");
	syscall(SYS_setsid);
	if (sock != 3) {
		dup3(sock, 3, O_CLOEXEC);
		sock = 3;
	}
	syscall(SYS_close_range, 4, ~0U, 0);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; i < 3; i++)
		if (null >= 0)
			dup2(null, i);
		else
			close(i);
	if (null > 3)
		close(null);
	/* lint: allow: its own process; it is not to keep criu's directory busy */
	if (chdir("/"))
		return;
}

static int set_capabilities(const struct proc_status *who)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	for (int i = 0; i < 2; i++)
		data[i] = (struct __user_cap_data_struct) {
			.effective = (uint32_t)(who->cap_eff >> 32 * i),
			.permitted = (uint32_t)(who->cap_prm >> 32 * i),
			.inheritable = (uint32_t)(who->cap_inh >> 32 * i),
		};
	if (!syscall(SYS_capset, &head, data))
		return 0;
	for (int i = 0; i < 2; i++) /* criu may not pass on what can be inherited, which no file system looks at */
		data[i].inheritable = 0;
	return syscall(SYS_capset, &head, data) ? -errno : 0;
}

static bool is_identity(const struct proc_status *who)
{
	uid_t u[3];
	gid_t g[3];

	return !syscall(SYS_getresuid, &u[0], &u[1], &u[2]) && !syscall(SYS_getresgid, &g[0], &g[1], &g[2]) &&
	       u[0] == who->uid[0] && u[1] == who->uid[1] && u[2] == who->uid[2] && g[0] == who->gid[0] &&
	       g[1] == who->gid[1] && g[2] == who->gid[2];
}

/* An ordinary user's criu has the identity of its tasks, and may not set it. */
static int take_identity(const struct proc_status *who)
{
	if (syscall(SYS_setgroups, who->n_groups, who->groups))
		return is_identity(who) ? 0 : -errno;
	prctl(PR_SET_KEEPCAPS, 1);
	if (syscall(SYS_setresgid, who->gid[0], who->gid[1], who->gid[2]) ||
	    syscall(SYS_setresuid, who->uid[0], who->uid[1], who->uid[2]))
		return -errno;
	syscall(SYS_setfsgid, who->gid[3]);
	syscall(SYS_setfsuid, who->uid[3]);
	return set_capabilities(who);
}

static int send_reply(int sock, char *buf, int ret, size_t len, int out, bool keep)
{
	*(struct foreign_reply *)(void *)buf = (struct foreign_reply) { .ret = ret, .kept = keep ? out : -1 };
	return rights_send(sock, buf, sizeof(struct foreign_reply) + len, &out, out >= 0 && !keep);
}

static int serve_one(int sock, char *in, char *out)
{
	struct foreign_request *rq = (struct foreign_request *)(void *)in;
	struct foreign_job job = { .arg = in + sizeof(*rq), .result = out + sizeof(uint64_t), .out = -1 };
	int fds[FOREIGN_FDS_MAX] = { -1, -1 }, ret;
	size_t n = FOREIGN_FDS_MAX;
	ssize_t got = rights_receive(sock, in, sizeof(*rq) + FOREIGN_DATA_MAX, fds, &n);

	if (got < (ssize_t)sizeof(*rq) || rq->result_len > FOREIGN_DATA_MAX)
		return -ESRCH;
	memset(job.result, 0, rq->result_len);
	job.fds = fds;
	ret = rq->fn(&job);
	memmove(out + sizeof(struct foreign_reply), job.result, rq->result_len);
	ret = send_reply(sock, out, ret, rq->result_len, job.out, rq->keep);
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	if (job.out >= 0 && !rq->keep)
		close(job.out);
	return ret;
}

int foreign_serve(void *birth)
{
	_Alignas(16) char in[sizeof(struct foreign_request) + FOREIGN_DATA_MAX];
	_Alignas(16) char out[sizeof(uint64_t) + FOREIGN_DATA_MAX];
	struct foreign_birth b = *(struct foreign_birth *)birth;
	pid_t parent = (pid_t)syscall(SYS_getppid);
	int err;

	give_up_all(b.sock);
	err = b.who ? take_identity(b.who) : 0;
	/* A change of identity has taken the death signal away. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || syscall(SYS_getppid) != parent)
		return 1;
	err = send_reply(3, out, err, 0, -1, false) ?: err;
	while (!err)
		err = serve_one(3, in, out);
	return 0;
}
