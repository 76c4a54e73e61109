/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Everything that is not there yet is refused by its name, all at once: descriptors of many kinds, a lock, a mapping
 * of a deleted file, a memfd, a child with a segment of an ipc namespace that it has left, and another whose cwd was
 * removed (which is fine).
 *
 * zdtm: needs-root
 * zdtm: refuse fd 104: .*socket
 * zdtm: refuse (lock|flock)
 * zdtm: refuse segment [0-9]+ is not one of the ipc namespace that the task is in now
 */
#include <sched.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>

#include "zdtm.h"
#include "zdtm_until.h"

static void at(int number, int fd)
{
	zdtm_must(fd >= 0 && dup2(fd, number) == number);
	close(fd);
}

int main(void)
{
	pid_t ipc, cwd;
	int status, fd;

	fd = socket(AF_XDP, SOCK_RAW, 0);
	at(104, fd >= 0 ? fd : socket(AF_INET, SOCK_STREAM, 262)); /* MPTCP */
	at(105, memfd_create("a name", 0));
	at(106, syscall(SYS_pidfd_open, getpid(), 0));
	zdtm_must((fd = open("locked", O_RDWR | O_CREAT, 0600)) >= 0 && !flock(fd, LOCK_EX));
	zdtm_must((ipc = fork()) >= 0);
	if (!ipc) {
		int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);

		zdtm_must(id >= 0 && shmat(id, NULL, 0) != (void *)-1 && !shmctl(id, IPC_RMID, NULL));
		zdtm_must(!unshare(CLONE_NEWIPC));
		zdtm_up();
		zdtm_wait();
		_exit(0);
	}
	zdtm_must((cwd = fork()) >= 0);
	if (!cwd) {
		zdtm_must(!mkdir("away", 0700) && !chdir("away") && !rmdir(zdtm_path("away")));
		zdtm_up();
		zdtm_wait();
		_exit(0);
	}
	zdtm_until_up(2);
	zdtm_ready();
	zdtm_wait();
	for (int i = 104; i < 107; i++)
		zdtm_check(i == 101 || i == 102 || fcntl(i, F_GETFD) >= 0, "descriptor %d is gone", i);
	zdtm_check(waitpid(ipc, &status, 0) == ipc && !status && waitpid(cwd, &status, 0) == cwd && !status,
	           "children");
	zdtm_pass();
}
