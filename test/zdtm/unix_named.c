/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names of unix sockets: a path (with owner and mode of its file), a deleted one, one that another socket has taken, a
 * relative one in another folder, abstract, given by the kernel; and those that accepted sockets have from their
 * listeners, asked for at both ends. Everything that could be connected to can be again, and nothing else.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 * zdtm: no-userns makes sockets where root alone may
 */
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "zdtm.h"

#define HEAD offsetof(struct sockaddr_un, sun_path)

static socklen_t address(struct sockaddr_un *a, const char *name)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	strcpy(a->sun_path, name);
	if (name[0] == '@')
		a->sun_path[0] = 0;
	return HEAD + strlen(name) + (name[0] != '@');
}

static char *here(char *path, const char *name)
{
	zdtm_must(strlen(zdtm_dir) < 90);
	return strcat(strcat(strcpy(path, zdtm_dir), "/"), name);
}

static int bound(int type, const char *name)
{
	struct sockaddr_un a;
	int fd = socket(AF_UNIX, type, 0);

	zdtm_must(fd >= 0 && !bind(fd, (struct sockaddr *)&a, address(&a, name)));
	if (type != SOCK_DGRAM)
		zdtm_must(!listen(fd, 3));
	return fd;
}

/* Connects anew; -1 where nobody is. */
static int reach(int type, const char *name)
{
	struct sockaddr_un a;
	int fd = socket(AF_UNIX, type, 0);

	if (!connect(fd, (struct sockaddr *)&a, address(&a, name)))
		return fd;
	close(fd);
	return -1;
}

static int joined(int listener, int type, const char *name, int *accepted)
{
	int fd = reach(type, name);

	zdtm_must(fd >= 0 && (*accepted = accept(listener, NULL, NULL)) >= 0);
	return fd;
}

static void named(const char *what, int peer, int fd, const char *name)
{
	struct sockaddr_un want, got;
	socklen_t len = sizeof(got), want_len = address(&want, name);

	if (!name[0])
		want_len = HEAD;
	memset(&got, 0, sizeof(got));
	zdtm_check(!(peer ? getpeername : getsockname)(fd, (struct sockaddr *)&got, &len), "%s: %s", what,
	           strerror(errno));
	zdtm_check(len == want_len && !memcmp(&want, &got, want_len), "%s%s: '%s' (%u) instead of '%s'", what,
	           peer ? ", its peer" : "", got.sun_path[0] ? got.sun_path : got.sun_path + 1, len, name);
}

static void talk(const char *what, int a, int b)
{
	char c = 0;

	zdtm_check(send(a, "x", 1, MSG_NOSIGNAL) == 1 && recv(b, &c, 1, MSG_DONTWAIT) == 1 && c == 'x', "%s: %s", what,
	           strerror(errno));
	zdtm_check(send(b, "y", 1, MSG_NOSIGNAL) == 1 && recv(a, &c, 1, MSG_DONTWAIT) == 1 && c == 'y', "%s, back: %s",
	           what, strerror(errno));
}

static void accepts(const char *what, int listener, int type, const char *name)
{
	int client = reach(type, name), fd;

	if (!zdtm_check(client >= 0, "%s: cannot be connected to: %s", what, strerror(errno)))
		return;
	fd = accept(listener, NULL, NULL);
	zdtm_check(fd >= 0, "%s: does not accept: %s", what, strerror(errno));
	talk(what, client, fd);
	named(what, 1, client, name);
	close(fd);
	close(client);
}

static int path, deleted, old, taken, rel, abstract, seq, gram, named_client, autobound, a[6], c[6], orphan, orphan_c;
static char full[200], sub[200], autoname[10] = "@";

static void setup(void)
{
	struct sockaddr_un ad;
	socklen_t len = sizeof(ad);

	here(full, "path.sock");
	here(sub, "gone.sock");
	umask(0);
	path = bound(SOCK_STREAM, full);
	zdtm_must(!chmod(full, 0640) && (getuid() || !chown(full, 0, 12)));
	c[0] = joined(path, SOCK_STREAM, full, &a[0]);
	deleted = bound(SOCK_STREAM, sub);
	c[1] = joined(deleted, SOCK_STREAM, sub, &a[1]);
	zdtm_must(!unlink(sub));
	old = bound(SOCK_SEQPACKET, "../taken");
	c[2] = joined(old, SOCK_SEQPACKET, "../taken", &a[2]);
	zdtm_must(!unlink("../taken"));
	taken = bound(SOCK_STREAM, "../taken");
	zdtm_must(!mkdir("folder", 0755) && !chdir("folder"));
	rel = bound(SOCK_STREAM, "./rel.sock");
	c[3] = joined(rel, SOCK_STREAM, "./rel.sock", &a[3]);
	snprintf(full, sizeof(full), "@an abstract name of %d", getpid());
	abstract = bound(SOCK_STREAM, full);
	c[4] = joined(abstract, SOCK_STREAM, full, &a[4]);
	snprintf(sub, sizeof(sub), "@seq of %d", getpid());
	seq = bound(SOCK_SEQPACKET, sub);
	/* A client with a name of its own. */
	named_client = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	zdtm_must(!bind(named_client, (struct sockaddr *)&ad, address(&ad, "client.sock")));
	zdtm_must(!connect(named_client, (struct sockaddr *)&ad, address(&ad, sub)) &&
	          (a[5] = accept(seq, NULL, NULL)) >= 0);
	gram = bound(SOCK_DGRAM, "gram.sock");
	autobound = socket(AF_UNIX, SOCK_DGRAM, 0);
	ad.sun_family = AF_UNIX;
	zdtm_must(!bind(autobound, (struct sockaddr *)&ad, sizeof(sa_family_t)));
	zdtm_must(!getsockname(autobound, (struct sockaddr *)&ad, &len) && len == HEAD + 6);
	memcpy(autoname + 1, ad.sun_path + 1, 5);
	/* Accepted, and the listener is gone. */
	int l = bound(SOCK_STREAM, "@orphan");

	orphan_c = joined(l, SOCK_STREAM, "@orphan", &orphan);
	close(l);
}

static void check_files(void)
{
	struct stat st;

	here(full, "path.sock");
	zdtm_check(!stat(full, &st) && S_ISSOCK(st.st_mode) && (st.st_mode & 07777) == 0640, "mode %o", st.st_mode);
	if (!setegid(12)) { /* in a new user namespace there is no such group */
		zdtm_check(st.st_gid == 12 && !setegid(0), "group %d", st.st_gid);
	}
	named("path", 0, path, full);
	named("path's accepted", 0, a[0], full);
	named("path's client", 1, c[0], full);
	named("path's accepted", 1, a[0], "");
	talk("path", c[0], a[0]);
	accepts("path", path, SOCK_STREAM, full);

	here(full, "gone.sock");
	named("deleted", 0, deleted, full);
	named("deleted, client", 1, c[1], full);
	named("deleted, accepted", 0, a[1], full);
	talk("deleted", c[1], a[1]);
	zdtm_check(lstat(full, &st) && errno == ENOENT, "a deleted name is there");
	named("replaced", 0, old, "../taken");
	named("replaced, client", 1, c[2], "../taken");
	talk("replaced", c[2], a[2]);
	zdtm_check(!chdir(zdtm_dir), "chdir");
	named("taken", 0, taken, "../taken");
	accepts("taken", taken, SOCK_STREAM, "../taken");
	zdtm_check(reach(SOCK_SEQPACKET, "../taken") == -1 && errno == EPROTOTYPE, "the replaced one can be reached");
	zdtm_check(!chdir("folder"), "chdir");
	named("relative", 0, rel, "./rel.sock");
	named("relative, client", 1, c[3], "./rel.sock");
	talk("relative", c[3], a[3]);
	accepts("relative", rel, SOCK_STREAM, "./rel.sock");
}

static void check_others(void)
{
	struct sockaddr_un ad;
	int l;

	snprintf(full, sizeof(full), "@an abstract name of %d", getpid());
	named("abstract", 0, abstract, full);
	named("abstract, accepted", 0, a[4], full);
	named("abstract, client", 1, c[4], full);
	talk("abstract", c[4], a[4]);
	accepts("abstract", abstract, SOCK_STREAM, full);
	named("client with a name", 0, named_client, "client.sock");
	named("his peer", 1, a[5], "client.sock");
	named("his peer", 0, a[5], sub);
	talk("client with a name", named_client, a[5]);
	accepts("seqpacket", seq, SOCK_SEQPACKET, sub);
	zdtm_check(reach(SOCK_DGRAM, "gram.sock") >= 0, "datagram: %s", strerror(errno));
	named("datagram", 0, gram, "gram.sock");
	named("autobound", 0, autobound, autoname);
	zdtm_check(reach(SOCK_DGRAM, autoname) >= 0, "autobound: %s", strerror(errno));
	named("orphan", 0, orphan, "@orphan");
	named("orphan's peer", 1, orphan_c, "@orphan");
	talk("orphan", orphan, orphan_c);
	l = socket(AF_UNIX, SOCK_STREAM, 0);
	zdtm_check(!bind(l, (struct sockaddr *)&ad, address(&ad, "@orphan")), "the orphan holds its name");
}

int main(void)
{
	setup();
	zdtm_ready();
	zdtm_wait();
	check_files();
	check_others();
	zdtm_pass();
}
