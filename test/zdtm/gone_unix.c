/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Unix sockets bound in directories that were removed since: a listening one, connected ones that were accepted from
 * it, datagram sockets, one bound by a relative name in a working directory that is gone; and a name left in a
 * directory that was renamed, and in one that another has replaced.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 * zdtm: restores 3
 */
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "zdtm.h"

static struct sockaddr_un address(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	strcpy(a.sun_path, name);
	return a;
}

static int bound(int type, const char *name)
{
	struct sockaddr_un a = address(name);
	int fd = socket(AF_UNIX, type, 0);

	zdtm_must(fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof(a)) && (type == SOCK_DGRAM || !listen(fd, 4)));
	return fd;
}

static int joined(int type, const char *name)
{
	struct sockaddr_un a = address(name);
	int fd = socket(AF_UNIX, type, 0);

	zdtm_must(fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof(a)));
	return fd;
}

static void named(int fd, const char *want)
{
	struct sockaddr_un a = { 0 };
	socklen_t len = sizeof(a);

	zdtm_check(!getsockname(fd, (struct sockaddr *)&a, &len) && !strcmp(a.sun_path, want),
	           "fd %d: \"%s\", not \"%s\"", fd, a.sun_path, want);
}

static void talk(int from, int to, const char *what)
{
	char buf[8] = "";

	zdtm_check(send(from, what, strlen(what), 0) == (ssize_t)strlen(what), "%s: sending: %s", what,
	           strerror(errno));
	zdtm_check(recv(to, buf, 7, MSG_DONTWAIT) > 0 && !strcmp(buf, what), "%s: \"%s\"", what, buf);
}

int main(void)
{
	int listener, client, accepted, gram, to_gram, rel, to_rel, moved, to_moved, fd;
	struct stat st;

	zdtm_must(!mkdir("dir", 0700) && !mkdir("cwd", 0700) && !mkdir("old", 0700));
	listener = bound(SOCK_STREAM, "dir/listener");
	client = joined(SOCK_STREAM, "dir/listener");
	zdtm_must((accepted = accept(listener, NULL, NULL)) >= 0);
	gram = bound(SOCK_DGRAM, "dir/gram");
	to_gram = joined(SOCK_DGRAM, "dir/gram");
	moved = bound(SOCK_DGRAM, "old/moved");
	to_moved = joined(SOCK_DGRAM, "old/moved");
	zdtm_must(!chdir("cwd"));
	rel = bound(SOCK_DGRAM, "relative");
	to_rel = joined(SOCK_DGRAM, "relative");
	zdtm_must(!unlink("relative") && !rmdir(zdtm_path("cwd")));
	zdtm_must(!unlink(zdtm_path("dir/listener")) && !unlink(zdtm_path("dir/gram")) && !rmdir(zdtm_path("dir")));
	zdtm_must((fd = open("..", O_RDONLY)) >= 0 && !renameat(fd, "old", fd, "new") && !mkdirat(fd, "old", 0700));
	zdtm_must(send(client, "waits", 5, 0) == 5 && send(to_gram, "so too", 6, 0) == 6);
	zdtm_ready();
	zdtm_wait();
	named(listener, "dir/listener");
	named(accepted, "dir/listener");
	named(gram, "dir/gram");
	named(rel, "relative");
	named(moved, "old/moved");
	talk(accepted, client, "stream");
	zdtm_check(recv(accepted, (char[8]) { 0 }, 8, MSG_DONTWAIT) == 5, "what waited");
	zdtm_check(recv(gram, (char[8]) { 0 }, 8, MSG_DONTWAIT) == 6, "the datagram that waited");
	talk(to_gram, gram, "gram");
	talk(to_rel, rel, "rel");
	talk(to_moved, moved, "moved");
	zdtm_check(stat(zdtm_path("dir"), &st) && stat(zdtm_path("cwd"), &st), "a directory is there");
	zdtm_check(fstatat(fd, "new/moved", &st, 0) == 0 && S_ISSOCK(st.st_mode), "the file in the renamed directory");
	zdtm_check(fstatat(fd, "old/moved", &st, 0), "a file in the new directory");
	zdtm_pass();
}
