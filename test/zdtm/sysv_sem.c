/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * System V semaphore sets: with and without a key, of another user, with values up to the highest. Parent and child
 * hold some by SEM_UNDO, upwards and downwards; a third process sleeps on one. Numbers, keys, owners, modes, values and
 * the processes that changed each last are as before; the one that sleeps is woken by what it waits for; when a process
 * ends, its undo is carried out, neither more nor less.
 *
 * zdtm: iters 3
 * zdtm: restores 2
 * zdtm: needs-root
 * zdtm: no-userns gives away semaphores
 * zdtm: flavour no pidns
 */
#include <sys/ipc.h>
#include <sys/sem.h>

#include "zdtm.h"

#define KEY 0x5a445402
#define N   7

enum { PLAIN, OURS, CHILDS, BOTH, UPWARDS, HIGHEST, SLEPT_ON };

static int keyed, others;
static pid_t child, sleeper;
static struct semid_ds before[2];
static unsigned short values[N];
static const unsigned short first_values[N] = { 3, 10, 10, 20, 5, 32767, 0 };

static int operate(int sem, int op, int flags)
{
	struct sembuf s = { (unsigned short)sem, (short)op, (short)flags };

	return semop(keyed, &s, 1);
}

static void run_child(void)
{
	zdtm_must(!operate(CHILDS, -3, SEM_UNDO) && !operate(BOTH, -4, SEM_UNDO) && !operate(UPWARDS, 2, SEM_UNDO));
	zdtm_touch("child");
	for (;;)
		zdtm_nap();
}

static void run_sleeper(void)
{
	zdtm_touch("sleeper");
	while (operate(SLEPT_ON, -1, 0))
		if (errno != EINTR)
			_exit(2);
	_exit(0);
}

static void make_sets(void)
{
	struct semid_ds ds = { .sem_perm = { .uid = 1234, .gid = 2345, .mode = 0640 } };
	int status;
	pid_t pid;

	keyed = semget(KEY, N, IPC_CREAT | IPC_EXCL | 0600);
	zdtm_must(keyed >= 0 && !semctl(keyed, 0, SETALL, first_values));
	pid = fork();
	zdtm_must(pid >= 0);
	if (!pid)
		_exit(setregid(77, 77) || setreuid(88, 88) || semget(KEY + 1, 300, IPC_CREAT | 0600) < 0);
	zdtm_must(waitpid(pid, &status, 0) == pid && !status);
	others = semget(KEY + 1, 0, 0);
	zdtm_must(others >= 0 && !semctl(others, 0, IPC_SET, &ds) && !semctl(others, 299, SETVAL, 77));
}

static void set_up(void)
{
	make_sets();
	zdtm_must(!operate(OURS, -1, SEM_UNDO) && !operate(BOTH, -1, SEM_UNDO) && !operate(PLAIN, -1, 0));
	zdtm_must(!operate(HIGHEST, -32767, SEM_UNDO) && !operate(HIGHEST, 32767, 0));
	child = fork();
	zdtm_must(child >= 0);
	if (!child)
		run_child();
	sleeper = fork();
	zdtm_must(sleeper >= 0);
	if (!sleeper)
		run_sleeper();
	while (access(zdtm_path("child"), F_OK) || access(zdtm_path("sleeper"), F_OK) ||
	       semctl(keyed, SLEPT_ON, GETNCNT) != 1)
		zdtm_nap();
	zdtm_must(!semctl(keyed, 0, IPC_STAT, &before[0]) && !semctl(others, 0, IPC_STAT, &before[1]));
	zdtm_must(!semctl(keyed, 0, GETALL, values));
}

static void check_set(int id, const struct semid_ds *was)
{
	struct semid_ds ds = { 0 };

	zdtm_check(!semctl(id, 0, IPC_STAT, &ds), "set %d: semctl: %s", id, strerror(errno));
	zdtm_check(ds.sem_perm.__key == was->sem_perm.__key && ds.sem_nsems == was->sem_nsems,
	           "set %d: another key or size", id);
	zdtm_check(ds.sem_perm.uid == was->sem_perm.uid && ds.sem_perm.gid == was->sem_perm.gid &&
	               ds.sem_perm.cuid == was->sem_perm.cuid && ds.sem_perm.cgid == was->sem_perm.cgid &&
	               ds.sem_perm.mode == was->sem_perm.mode,
	           "set %d: other owners: %u %u %u %u %o", id, ds.sem_perm.uid, ds.sem_perm.gid, ds.sem_perm.cuid,
	           ds.sem_perm.cgid, ds.sem_perm.mode);
}

static void check_value(int sem, int want, const char *when)
{
	int value = semctl(keyed, sem, GETVAL);

	zdtm_check(value == want, "semaphore %d is %d %s, not %d", sem, value, when, want);
}

static void check_pid(int sem, pid_t want)
{
	int pid = semctl(keyed, sem, GETPID);

	zdtm_check(pid == want, "semaphore %d: changed last by %d, not %d", sem, pid, want);
}

static void check_undo(void)
{
	int status;

	zdtm_must(!kill(child, SIGKILL) && waitpid(child, NULL, 0) == child);
	check_value(CHILDS, values[CHILDS] + 3, "when the child has ended");
	check_value(BOTH, values[BOTH] + 4, "when the child has ended");
	check_value(UPWARDS, values[UPWARDS] - 2, "when the child has ended");
	check_value(OURS, values[OURS], "when the child has ended");
	zdtm_must(!operate(SLEPT_ON, 1, 0));
	zdtm_check(waitpid(sleeper, &status, 0) == sleeper && !status, "the sleeper ended with %x", status);
}

static void work(void)
{
	set_up();
	zdtm_ready();
	zdtm_wait();
	check_set(keyed, &before[0]);
	check_set(others, &before[1]);
	for (int i = 0; i < N; i++)
		check_value(i, values[i], "after the restore");
	zdtm_check(semctl(others, 299, GETVAL) == 77 && semctl(others, 298, GETVAL) == 0,
	           "another user's set: other values");
	check_pid(PLAIN, getpid());
	check_pid(CHILDS, child);
	check_pid(HIGHEST, getpid());
	check_undo();
	_exit(operate(HIGHEST, -32767, 0));
}

/* What has made the sets ends with what it holds: its parent looks at them afterwards. */
int main(void)
{
	pid_t worker = fork();
	int status;

	zdtm_must(worker >= 0);
	if (!worker)
		work();
	zdtm_must(waitpid(worker, &status, 0) == worker && !status);
	keyed = semget(KEY, 0, 0);
	check_value(OURS, first_values[OURS], "when all have ended");
	check_value(BOTH, first_values[BOTH], "when all have ended");
	check_value(HIGHEST, 32767, "when all have ended");
	semctl(keyed, 0, IPC_RMID);
	semctl(semget(KEY + 1, 0, 0), 0, IPC_RMID);
	zdtm_pass();
	return 0;
}
