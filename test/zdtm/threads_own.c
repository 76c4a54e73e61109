/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A process of many threads, each with a name and a tid address of its own, and with one thing that most others do not
 * have: an alternate stack, timer slack, a memory policy, a parent-death signal, I/O priority, a personality, a policy
 * for failed memory, securebits, a keyring for request_key(2), a TLS segment, a pending signal. What each has is what
 * only a thread itself can be asked, or its tracer.
 *
 * zdtm: needs-root
 */
#include <asm/ldt.h>
#include <linux/ioprio.h>
#include <linux/keyctl.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "zdtm.h"
#include "zdtm_until.h"

#define THREADS 60
#define KINDS   12

#define TLS_AT  12

static unsigned up, done;
static int words[THREADS]; /* tid addresses */
static char stacks[THREADS][16384];

static void change(long i)
{
	stack_t stack = { .ss_sp = stacks[i], .ss_size = sizeof(stacks[i]) };
	struct user_desc desc = { .entry_number = TLS_AT, .base_addr = 4096, .limit = 1, .seg_32bit = 1, .useable = 1 };
	unsigned long nodes = 1;
	sigset_t set;

	switch (i % KINDS) {
	case 0:
		zdtm_must(!sigaltstack(&stack, NULL));
		break;
	case 1:
		zdtm_must(!prctl(PR_SET_TIMERSLACK, 70000 + i, 0, 0, 0));
		break;
	case 2: /* ENOSYS: a kernel without NUMA */
		syscall(SYS_set_mempolicy, MPOL_BIND, &nodes, 2);
		break;
	case 3:
		zdtm_must(!prctl(PR_SET_PDEATHSIG, SIGRTMIN + 3, 0, 0, 0));
		break;
	case 4:
		zdtm_must(!syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 6)));
		break;
	case 5:
		zdtm_must(personality(ADDR_NO_RANDOMIZE) >= 0);
		break;
	case 6:
		zdtm_must(!prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0));
		break;
	case 7:
		zdtm_must(!prctl(PR_SET_SECUREBITS, 1 << 4, 0, 0, 0));
		break;
	case 8:
		zdtm_must(syscall(SYS_keyctl, KEYCTL_SET_REQKEY_KEYRING, KEY_REQKEY_DEFL_USER_KEYRING) >= 0);
		break;
	case 9: /* ENOSYS: a kernel without 32-bit programs */
		syscall(SYS_set_thread_area, &desc);
		break;
	case 10:
		sigemptyset(&set);
		sigaddset(&set, SIGUSR1);
		zdtm_must(!pthread_sigmask(SIG_BLOCK, &set, NULL));
		zdtm_must(!syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1));
		break;
	default: /* as most threads are */
		break;
	}
}

static void state(char text[static 512])
{
	struct user_desc desc = { .entry_number = TLS_AT };
	unsigned long nodes[16] = { 0 };
	int mode = -1, death = -1, *word = NULL;
	sigset_t pending;
	char name[20] = "";
	stack_t stack;

	sigaltstack(NULL, &stack);
	syscall(SYS_get_mempolicy, &mode, nodes, 1024, NULL, 0);
	syscall(SYS_get_thread_area, &desc);
	prctl(PR_GET_PDEATHSIG, &death, 0, 0, 0);
	prctl(PR_GET_TID_ADDRESS, &word, 0, 0, 0);
	prctl(PR_GET_NAME, name, 0, 0, 0);
	sigpending(&pending);
	snprintf(text, 512,
	         "%s word %p stack %p %zu %d slack %d policy %d %lx death %d io %lx persona %x mce %d bits %x key %ld "
	         "tls %x pending %d",
	         name, (void *)word, stack.ss_sp, stack.ss_size, stack.ss_flags, prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0),
	         mode, nodes[0], death, syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0), personality(0xffffffff),
	         prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), prctl(PR_GET_SECUREBITS, 0, 0, 0, 0),
	         syscall(SYS_keyctl, KEYCTL_SET_REQKEY_KEYRING, KEY_REQKEY_DEFL_NO_CHANGE), desc.base_addr,
	         sigismember(&pending, SIGUSR1));
}

static void *thread(void *arg)
{
	char before[512], after[512], name[16];
	long i = (long)arg;

	snprintf(name, sizeof(name), "own %ld", i);
	prctl(PR_SET_NAME, name, 0, 0, 0);
	zdtm_must(syscall(SYS_set_tid_address, &words[i]) > 0);
	change(i);
	state(before);
	__atomic_add_fetch(&up, 1, __ATOMIC_SEQ_CST);
	zdtm_wait();
	state(after);
	zdtm_check(!strcmp(before, after), "thread %ld had %s and has %s", i, before, after);
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
		zdtm_must(!pthread_create(&t, &attr, thread, (void *)i));
	wait_for(&up);
	zdtm_up();
	wait_for(&done);
	return 0;
}

/* Not the root task: criu, its parent, ends, and the parent-death signal is left out. */
int main(void)
{
	int status;
	pid_t pid;

	zdtm_must((pid = fork()) >= 0);
	if (!pid)
		_exit(child());
	zdtm_until_up(1);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(waitpid(pid, &status, 0) == pid && !status, "child: %x", status);
	zdtm_pass();
}
