/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Each refused by its name: shared memory that is open through /proc/PID/map_files and no longer mapped; the file of a
 * unix socket, opened by its path and deleted; a lease on a deleted file; a listening socket with MD5 signatures; a
 * userfaultfd of a process that has ended, where nothing else is watched.
 *
 * zdtm: needs-root
 * zdtm: dump -l
 * zdtm: refuse fd 100: shared memory \(opened through /proc/PID/map_files\) that no task of the tree has mapped
 * zdtm: refuse fd 101: .*: the file of a socket, opened by its path and deleted
 * zdtm: refuse fd 102: .*: a lease is held on it, a deleted file
 * zdtm: refuse fd 105: a TCP socket listening at .* with MD5 signatures
 * zdtm: refuse fd 106: a userfaultfd for the memory of a process outside of the tree, or of one that has ended
 * zdtm: no-userns makes what root alone may
 */
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "zdtm.h"

static void at(int number, int fd)
{
	zdtm_must(fd >= 0 && dup2(fd, number) == number && !close(fd));
}

static void unmapped(void)
{
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), path[80];

	zdtm_must(p != MAP_FAILED);
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (long)p, (long)p + 4096);
	at(100, open(path, O_RDWR));
	zdtm_must(!munmap(p, 4096));
}

static void deleted_files(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "name" };
	int sk = socket(AF_UNIX, SOCK_DGRAM, 0);

	zdtm_must(sk >= 0 && !bind(sk, (struct sockaddr *)&name, sizeof(name)));
	at(101, open("name", O_PATH));
	zdtm_must(!close(sk) && !unlink("name"));
	at(102, open("leased", O_RDWR | O_CREAT, 0600));
	zdtm_must(!fcntl(102, F_SETLEASE, F_WRLCK) && !unlink("leased"));
}

static void signed_listener(void)
{
	struct tcp_md5sig sig = { .tcpm_keylen = 6, .tcpm_key = "secret" };
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	at(105, socket(AF_INET, SOCK_STREAM, 0));
	memcpy(&sig.tcpm_addr, &any, sizeof(any));
	zdtm_must(!bind(105, (struct sockaddr *)&any, sizeof(any)));
	if (setsockopt(105, IPPROTO_TCP, TCP_MD5SIG, &sig, sizeof(sig)))
		zdtm_skip("TCP_MD5SIG: %s", strerror(errno));
	zdtm_must(!listen(105, 1));
}

static void ended(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	pid_t pid = (pid_t)syscall(SYS_clone, 0x400 /* CLONE_FILES */ | SIGCHLD, 0, 0, 0, 0);

	zdtm_must(pid >= 0);
	if (!pid) {
		int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

		zdtm_must(!ioctl(fd, UFFDIO_API, &api));
		at(106, fd);
		_exit(0);
	}
	zdtm_must(waitpid(pid, NULL, 0) == pid);
}

int main(void)
{
	unmapped();
	deleted_files();
	signed_listener();
	ended();
	zdtm_ready();
	zdtm_wait();
	for (int i = 100; i < 107; i += i == 102 ? 3 : 1)
		zdtm_check(fcntl(i, F_GETFD) >= 0, "descriptor %d is gone", i);
	zdtm_pass();
}
