/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Processes of many threads, of which one each has something of its own: directories and umask, capabilities,
 * no_new_privs, a seccomp filter. It keeps that, and no other thread gets it.
 *
 * zdtm: needs-root
 */
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "zdtm.h"
#include "zdtm_until.h"

#define THREADS 40
#define ODD     27 /* the one */
#define KINDS   4

struct caps {
	struct __user_cap_header_struct head;
	struct __user_cap_data_struct data[2];
};

static int kind;
static unsigned up, done;

static void own_directory(void)
{
	zdtm_must(!unshare(CLONE_FS) && !chdir("/proc"));
	umask(0147);
}

static void fewer_caps(void)
{
	struct caps c = { .head = { _LINUX_CAPABILITY_VERSION_3, 0 } };

	zdtm_must(!syscall(SYS_capget, &c.head, c.data));
	c.data[0].effective &= ~(1U << CAP_SYS_PACCT);
	c.data[0].permitted &= ~(1U << CAP_SYS_PACCT);
	zdtm_must(!syscall(SYS_capset, &c.head, c.data));
}

static void no_new_privs(void)
{
	zdtm_must(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

static void filter(void)
{
	struct sock_filter allow[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	struct sock_fprog prog = { 1, allow };

	zdtm_must(!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog));
}

static void (*const change[KINDS])(void) = { own_directory, fewer_caps, no_new_privs, filter };

/* Umask, seccomp, no_new_privs and capabilities of the calling thread, and its directory. */
static void state(char text[static 512])
{
	char line[200], cwd[100];
	FILE *f = fopen("/proc/thread-self/status", "re");

	zdtm_must(f && getcwd(cwd, sizeof(cwd)));
	snprintf(text, 512, "%s ", cwd);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, "Umask", 5) || !strncmp(line, "NoNewPrivs", 10) || !strncmp(line, "Seccomp:", 8) ||
		    !strncmp(line, "CapEff", 6) || !strncmp(line, "CapPrm", 6))
			strncat(text, line, 511 - strlen(text));
	fclose(f);
}

static void *thread(void *arg)
{
	char before[512], after[512];

	if (arg)
		change[kind]();
	state(before);
	__atomic_add_fetch(&up, 1, __ATOMIC_SEQ_CST);
	zdtm_wait();
	state(after);
	zdtm_check(!strcmp(before, after), "a thread had %s and has %s", before, after);
	__atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void wait_for(unsigned *count)
{
	while (__atomic_load_n(count, __ATOMIC_SEQ_CST) < THREADS)
		zdtm_nap();
}

static int child(void)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 * 1024);
	for (long i = 0; i < THREADS; i++)
		zdtm_must(!pthread_create(&t, &attr, thread, (void *)(long)(i == ODD)));
	wait_for(&up);
	zdtm_up();
	wait_for(&done);
	return 0;
}

int main(void)
{
	pid_t pids[KINDS];
	int status;

	for (kind = 0; kind < KINDS; kind++) {
		zdtm_must((pids[kind] = fork()) >= 0);
		if (!pids[kind])
			_exit(child());
	}
	zdtm_until_up(KINDS);
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < KINDS; i++)
		zdtm_check(waitpid(pids[i], &status, 0) == pids[i] && !status, "child %d: %x", i, status);
	zdtm_pass();
}
