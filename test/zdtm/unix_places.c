/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names of unix sockets in odd places: as long as can be, with zero bytes in an abstract one, under another root, in a
 * folder that only its user may look into, one that goes up and down.
 *
 * zdtm: flavour pidns
 * zdtm: needs-root
 * zdtm: iters 2
 */
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "zdtm.h"

#define HEAD offsetof(struct sockaddr_un, sun_path)
#define N    5

static struct sockaddr_un addr[N];
static socklen_t len[N];
static int l[N];

static int listener(int i, size_t n)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	addr[i].sun_family = AF_UNIX;
	len[i] = HEAD + n;
	zdtm_must(fd >= 0 && !bind(fd, (struct sockaddr *)&addr[i], len[i]) && !listen(fd, 5));
	return fd;
}

static void look(int i)
{
	char name[300] = "";
	socklen_t n = sizeof(name);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), got;

	zdtm_check(!connect(fd, (struct sockaddr *)&addr[i], len[i]), "%d: connecting: %s", i, strerror(errno));
	got = accept(l[i], NULL, NULL);
	zdtm_check(got >= 0, "%d: accepting: %s", i, strerror(errno));
	/* The kernel adds a zero to a path that has none. */
	zdtm_check(!getsockname(got, (struct sockaddr *)name, &n) && (n == len[i] || n == len[i] + 1), "%d: %u bytes",
	           i, n);
	zdtm_check(!memcmp(name, &addr[i], len[i]), "%d: the name is '%s'", i, name + HEAD);
	close(got);
	close(fd);
}

int main(void)
{
	pid_t kid;
	int status;
	size_t n = strlen(zdtm_dir) + 1;

	zdtm_must(n < 100);
	memset(addr[0].sun_path, 'l', sizeof(addr[0].sun_path));
	memcpy(addr[0].sun_path, zdtm_dir, n - 1);
	addr[0].sun_path[n - 1] = '/';
	l[0] = listener(0, sizeof(addr[0].sun_path));
	memcpy(addr[1].sun_path, "\0a\0\0b", 5);
	memcpy(addr[1].sun_path + 5, &(int) { getpid() }, 4);
	addr[1].sun_path[9] = 0;
	l[1] = listener(1, 10);
	zdtm_must(!mkdir("jail", 0755) && !mkdir("jail/run", 0755) && !mkdir("own", 0755) && !mkdir("a", 0755));
	zdtm_must(!chown("own", 1234, 1234) && !chmod("own", 0700));
	strcpy(addr[2].sun_path, "/run/sock");
	strcpy(addr[3].sun_path, "own/sock");
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		zdtm_must(!chdir("jail") && !chroot("."));
		l[2] = listener(2, strlen(addr[2].sun_path) + 1);
		zdtm_must(!mkdir("/up", 0755) && !chdir("/up"));
		/* The test's own files cannot be seen from here. */
		while (access("/verify", F_OK))
			zdtm_nap();
		look(2);
		_exit(0);
	}
	while (access("jail/up", F_OK))
		zdtm_nap();
	l[3] = listener(3, strlen(addr[3].sun_path) + 1);
	/* Up two, down again: the same folder, and the file's own name. */
	zdtm_must(!chdir("a"));
	strcpy(addr[4].sun_path, "../a/./..//a/sock");
	l[4] = listener(4, strlen(addr[4].sun_path) + 1);
	zdtm_ready();
	zdtm_wait();
	zdtm_must(!chdir(zdtm_dir));
	look(0);
	look(1);
	look(3);
	zdtm_must(!chdir("a"));
	look(4);
	close(open("../jail/verify", O_WRONLY | O_CREAT, 0600));
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_pass();
}
