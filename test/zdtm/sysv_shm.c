/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * System V shared memory: segments with and without a key, one removed while it is attached, one of another user,
 * one attached twice, one read-only, one of which a part is unmapped and a part protected; in parent and child.
 * Numbers, keys, owners, modes, attach counts and data are as before, and shmdt() finds all parts of an attach. A
 * shared anonymous object has the number of a segment as its inode number, if one can be had.
 *
 * zdtm: iters 3
 * zdtm: restores 2
 * zdtm: needs-root
 * zdtm: no-userns gives away segments
 * zdtm: flavour pidns
 */
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include "zdtm.h"

#define PAGE    4096UL
#define N_PAGES 32
#define SIZE    (N_PAGES * PAGE - 100)
#define KEY     0x5a445401
#define N       6

enum { KEYED, PRIVATE, REMOVED, OTHERS, READ_ONLY, CUT };

static struct {
	int id;
	char *at;
	struct shmid_ds before;
} seg[N];

static char *twice, *loose;

static void fill(char *p, int with)
{
	for (size_t i = 0; i < N_PAGES; i += 2)
		p[i * PAGE] = (char)(with + (int)i + 1);
}

static void check_data(const char *p, int with, const char *what)
{
	for (size_t i = 0; i < N_PAGES; i++)
		if (!zdtm_check(p[i * PAGE] == (i % 2 ? 0 : (char)(with + (int)i + 1)), "%s: page %zu is %d", what, i,
		                p[i * PAGE]))
			return;
}

static int make(int which, int key, int mode)
{
	char *p;

	seg[which].id = shmget(key, SIZE, IPC_CREAT | IPC_EXCL | mode);
	zdtm_must(seg[which].id >= 0);
	p = shmat(seg[which].id, NULL, 0);
	zdtm_must(p != (char *)-1);
	fill(p, which);
	seg[which].at = p;
	return seg[which].id;
}

static void set_up(void)
{
	pid_t pid;
	int status;
	struct shmid_ds ds = { .shm_perm = { .uid = 1234, .gid = 2345, .mode = 0640 } };

	make(KEYED, KEY, 0600);
	make(PRIVATE, IPC_PRIVATE, 0666);
	make(REMOVED, IPC_PRIVATE, 0600);
	zdtm_must(!shmctl(seg[REMOVED].id, IPC_RMID, NULL));
	pid = fork();
	zdtm_must(pid >= 0);
	if (!pid)
		_exit(setregid(77, 77) || setreuid(88, 88) || shmget(KEY + 1, SIZE, IPC_CREAT | 0600) < 0);
	zdtm_must(waitpid(pid, &status, 0) == pid && !status);
	seg[OTHERS].id = shmget(KEY + 1, 0, 0);
	seg[OTHERS].at = shmat(seg[OTHERS].id, NULL, 0);
	zdtm_must(seg[OTHERS].at != (char *)-1 && !shmctl(seg[OTHERS].id, IPC_SET, &ds));
	fill(seg[OTHERS].at, OTHERS);
	make(READ_ONLY, IPC_PRIVATE, 0444);
	zdtm_must(!shmdt(seg[READ_ONLY].at));
	seg[READ_ONLY].at = shmat(seg[READ_ONLY].id, NULL, SHM_RDONLY);
	zdtm_must(seg[READ_ONLY].at != (char *)-1);
	make(CUT, IPC_PRIVATE, 0600);
	zdtm_must(!munmap(seg[CUT].at + 4 * PAGE, 4 * PAGE) && !munmap(seg[CUT].at, PAGE));
	zdtm_must(!mprotect(seg[CUT].at + 16 * PAGE, 4 * PAGE, PROT_READ));
	loose = mmap(seg[CUT].at + 5 * PAGE, PAGE, PROT_READ | PROT_WRITE,
	             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	zdtm_must(loose == seg[CUT].at + 5 * PAGE);
	*loose = 'l';
	twice = shmat(seg[KEYED].id, NULL, 0);
	zdtm_must(twice != (char *)-1);
}

static void check_one(int i)
{
	struct shmid_ds now, *b = &seg[i].before;

	if (!zdtm_check(!shmctl(seg[i].id, IPC_STAT, &now), "segment %d: IPC_STAT: %s", i, strerror(errno)))
		return;
	zdtm_check(now.shm_perm.__key == b->shm_perm.__key && now.shm_segsz == b->shm_segsz, "segment %d: key, size",
	           i);
	zdtm_check(now.shm_perm.uid == b->shm_perm.uid && now.shm_perm.gid == b->shm_perm.gid, "segment %d: owner", i);
	zdtm_check(now.shm_perm.cuid == b->shm_perm.cuid && now.shm_perm.cgid == b->shm_perm.cgid,
	           "segment %d: creator %d:%d, was %d:%d", i, now.shm_perm.cuid, now.shm_perm.cgid, b->shm_perm.cuid,
	           b->shm_perm.cgid);
	zdtm_check(now.shm_perm.mode == b->shm_perm.mode, "segment %d: mode %o, was %o", i, now.shm_perm.mode,
	           b->shm_perm.mode);
	zdtm_check(now.shm_nattch == b->shm_nattch, "segment %d: attached %lu times, was %lu", i, now.shm_nattch,
	           b->shm_nattch);
}

static void check_cut(void)
{
	char *p = seg[CUT].at;

	zdtm_check(p[2 * PAGE] == CUT + 3 && p[8 * PAGE] == CUT + 9 && p[16 * PAGE] == CUT + 17 && !p[17 * PAGE],
	           "the cut segment's data");
	zdtm_check(*loose == 'l', "what lies between its parts");
	zdtm_check(!mprotect(p + 16 * PAGE, PAGE, PROT_READ | PROT_WRITE), "its protected part: mprotect");
	zdtm_check(!shmdt(p), "shmdt of the cut segment: %s", strerror(errno));
	zdtm_check(msync(p + 8 * PAGE, PAGE, MS_ASYNC) && errno == ENOMEM,
	           "a part of the cut segment is still attached");
	zdtm_check(msync(p + 31 * PAGE, PAGE, MS_ASYNC) && errno == ENOMEM, "its last page is still attached");
}

static void check_all(void)
{
	for (int i = 0; i < CUT; i++)
		check_data(seg[i].at, i, "a segment");
	check_data(twice, KEYED, "attached twice");
	twice[3] = 't';
	zdtm_check(seg[KEYED].at[3] == 't', "two attaches show other memory");
	twice[3] = 0;
	zdtm_check(mprotect(seg[READ_ONLY].at, PAGE, PROT_READ | PROT_WRITE) && errno == EACCES,
	           "attached read-only, and can be made writable");
	check_cut();
}

int main(void)
{
	int status;
	pid_t pid;

	set_up();
	pid = fork();
	zdtm_must(pid >= 0);
	if (!pid) {
		zdtm_wait();
		check_all();
		seg[PRIVATE].at[5] = 'c';
		_exit(0);
	}
	for (int i = 0; i < N; i++)
		zdtm_must(!shmctl(seg[i].id, IPC_STAT, &seg[i].before));
	zdtm_ready();
	zdtm_wait();
	zdtm_check(waitpid(pid, &status, 0) == pid && !status, "the child: %x", status);
	zdtm_check(seg[PRIVATE].at[5] == 'c', "parent and child have other memory");
	pid = fork(); /* for the attach counts of before */
	if (!pid) {
		pause();
		_exit(0);
	}
	for (int i = 0; i < CUT; i++)
		check_one(i);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	check_all();
	for (int i = 0; i < N; i++)
		if (i != REMOVED)
			zdtm_check(!shmctl(seg[i].id, IPC_RMID, NULL), "IPC_RMID: %s", strerror(errno));
	zdtm_pass();
}
