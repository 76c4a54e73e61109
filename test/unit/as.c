/* SPDX-License-Identifier: GPL-2.0-only */
/* Calls that are stamped with a process that is gone. (Of living ones: test/zdtm/unix_*.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "agent/impersonate.h"
#include "lib/log.h"
#include "unit_skip.h"

#define WHAT "the test"

static pid_t free_pid(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return pid;
}

static void peer_is(int fd, pid_t pid, uid_t uid, gid_t gid)
{
	struct ucred c;
	socklen_t len = sizeof(c);

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len), 0);
	assert_int_equal(c.pid, pid);
	assert_int_equal(c.uid, uid);
	assert_int_equal(c.gid, gid);
}

static struct identity somebody(void)
{
	static const uint32_t groups[] = { 7, 8, 9 };

	if (geteuid())
		unit_skip("needs root");
	return (struct identity) { .pid = VPID(free_pid()), .uid = 1234, .gid = 5678, .groups = groups, .n_groups = 3 };
}

/* Nothing of it stays with us. */
static void still_ourselves(void)
{
	assert_int_equal(geteuid(), 0);
	assert_int_equal(getegid(), 0);
	assert_int_equal(prctl(PR_GET_DUMPABLE), 1);
	assert_int_equal(waitpid(-1, NULL, __WALL | WNOHANG), -1);
}

static void pairs(void **state)
{
	struct restore r = { .arena = arena_new() };
	struct identity as = somebody();
	gid_t now[8] = { 0 };
	socklen_t len = sizeof(now);
	int p[2];

	assert_int_equal(impersonate_socketpair(&r, &as, SOCK_STREAM, p, WHAT), 0);
	for (int i = 0; i < 2; i++)
		peer_is(p[i], as.pid.v, 1234, 5678);
	assert_int_equal(fcntl(p[0], F_GETFD), FD_CLOEXEC);
	assert_int_equal(getsockopt(p[0], SOL_SOCKET, SO_PEERGROUPS, now, &len), 0);
	assert_int_equal(len, 3 * sizeof(gid_t));
	assert_int_equal(now[2], 9);
	still_ourselves();
	close(p[0]);
	close(p[1]);
	arena_free(r.arena);
}

/* In a directory that only root may enter: the path is looked up with our rights. */
static void connections(void **state)
{
	struct restore r = { .arena = arena_new() };
	struct sockaddr_un at = { .sun_family = AF_UNIX, .sun_path = "here" };
	socklen_t len = offsetof(struct sockaddr_un, sun_path) + 5;
	int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0), dir, cwd, a;
	struct identity as = somebody();
	char path[] = "/tmp/unit-as-XXXXXX";
	pid_t listener = as.pid.v;

	assert_non_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cwd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(fchdir(dir) | bind(l, (struct sockaddr *)&at, sizeof(at)) | fchdir(cwd), 0);
	assert_int_equal(impersonate_listen(&r, &as, l, 5, WHAT), 0);
	as = somebody();
	as.uid = 4321;
	assert_int_equal(impersonate_connect(&r, &as, c, dir, &at, len, WHAT), 0);
	peer_is(c, listener, 1234, 5678);
	a = accept(l, NULL, NULL);
	peer_is(a, as.pid.v, 4321, 5678);
	still_ourselves();
	assert_int_equal(unlinkat(dir, "here", 0) | rmdir(path), 0);
	for (int fd = l; fd <= a; fd++)
		close(fd);
	arena_free(r.arena);
}

/* A pid that somebody has: a warning, and it is ours. */
static void taken(void **state)
{
	struct restore r = { .arena = arena_new() };
	struct identity as = somebody();
	int p[2];

	log_init(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_ERROR);
	as.pid = VPID(1);
	assert_int_equal(impersonate_socketpair(&r, &as, SOCK_DGRAM, p, WHAT), 0);
	peer_is(p[0], getpid(), 0, 0);
	as.pid = VPID(0);
	assert_int_equal(impersonate_listen(&r, &as, p[0], 1, WHAT), -EOPNOTSUPP);
	arena_free(r.arena);
}

static void messages(void **state)
{
	struct restore r = { .arena = arena_new() };
	struct iovec iov = { (void *)"text", 4 };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct identity as = somebody();
	union {
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} c;
	struct ucred cred;
	char buf[10];
	int p[2], on = 1;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0);
	assert_int_equal(setsockopt(p[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
	assert_int_equal(impersonate_sendmsg(&r, &as, p[0], &mh, 0, WHAT), 4);
	iov.iov_base = buf;
	mh.msg_control = &c;
	mh.msg_controllen = sizeof(c);
	assert_int_equal(recvmsg(p[1], &mh, MSG_DONTWAIT), 4);
	memcpy(&cred, CMSG_DATA(&c.align), sizeof(cred));
	assert_int_equal(cred.pid, as.pid.v);
	assert_int_equal(cred.uid, 1234);
	assert_int_equal(cred.gid, 5678);
	still_ourselves();
	close(p[0]);
	close(p[1]);
	arena_free(r.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pairs),
		cmocka_unit_test(connections),
		cmocka_unit_test(taken),
		cmocka_unit_test(messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
