/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Threads with a descriptor table, with namespaces and with semaphores to undo of their own, and a process with a local
 * descriptor table.
 *
 * zdtm: needs-root
 * zdtm: refuse thread [0-9]+: has a descriptor table of its own
 * zdtm: refuse thread [0-9]+: is in another net namespace than its process
 * zdtm: refuse thread [0-9]+: is in another uts namespace than its process
 * zdtm: refuse thread [0-9]+: is in another pid namespace than its process \(for its children\)
 * zdtm: refuse thread [0-9]+: has semaphore operations of its own to undo
 * zdtm: refuse has a local descriptor table \(modify_ldt\)
 */
#include <asm/ldt.h>
#include <pthread.h>
#include <sched.h>
#include <sys/sem.h>

#include "zdtm.h"
#include "zdtm_until.h"

static const int flags[] = { CLONE_FILES, CLONE_NEWNET, CLONE_NEWUTS, CLONE_NEWPID, CLONE_SYSVSEM };

#define N (sizeof(flags) / sizeof(*flags))

static int sem;
static unsigned up, done;

static void *thread(void *arg)
{
	int flag = *(const int *)arg;

	zdtm_must(!unshare(flag));
	zdtm_must(flag != CLONE_NEWUTS || !sethostname("other", 5));
	zdtm_must(flag != CLONE_SYSVSEM || !semop(sem, &(struct sembuf) { 0, 1, SEM_UNDO }, 1));
	__atomic_add_fetch(&up, 1, __ATOMIC_SEQ_CST);
	zdtm_wait();
	__atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

int main(void)
{
	struct user_desc desc = { .entry_number = 3, .base_addr = 0x1000, .limit = 0xff, .useable = 1 };
	pthread_t t;
	int status;
	pid_t kid = fork();

	zdtm_must(kid >= 0);
	if (!kid) {
		zdtm_must(!syscall(SYS_modify_ldt, 1, &desc, sizeof(desc)));
		zdtm_up();
		zdtm_wait();
		_exit(0);
	}
	zdtm_must((sem = semget(IPC_PRIVATE, 1, 0600)) >= 0);
	for (size_t i = 0; i < N; i++)
		zdtm_must(!pthread_create(&t, NULL, thread, (void *)&flags[i]));
	while (__atomic_load_n(&up, __ATOMIC_SEQ_CST) < N)
		zdtm_nap();
	zdtm_until_up(1);
	zdtm_ready();
	zdtm_wait();
	while (__atomic_load_n(&done, __ATOMIC_SEQ_CST) < N)
		zdtm_nap();
	zdtm_check(!semctl(sem, 0, IPC_RMID), "IPC_RMID: %s", strerror(errno));
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_pass();
}
