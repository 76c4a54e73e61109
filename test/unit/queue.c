/* SPDX-License-Identifier: GPL-2.0-only */
/* Socket queues: through a dump and into another socket, damaged images, and calls stamped with a process that is gone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "files/files.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "sock/queue.h"
#include "uapi/scm.h"
#include "uapi/sock_bits.h"
#include "sk-packet.pb-c.h"
#include "unit_skip.h"

extern const struct subsys files_dump_subsys, files_restore_subsys, queue_dump_subsys;

#define WHAT "the test"

struct world {
	char dir[64];
	struct dump d;
	struct restore r;
	struct stats stats;
	struct options opts;
	struct task task;
	struct thread thread;
	uint32_t file; /* a description that the messages are said to be for */
};

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	int fd;

	log_init(-1, LOG_ERROR);
	strcpy(w->dir, "/tmp/unit-queue-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->task = (struct task) { .pid = getpid(), .vpid = VPID(getpid()), .comm = "test", .threads = &w->thread };
	w->thread.task = &w->task;
	w->d = (struct dump) { .opts = &w->opts, .arena = arena_new(), .stats = &w->stats };
	w->r = (struct restore) { .opts = &w->opts, .arena = arena_new(), .stats = &w->stats };
	assert_int_equal(guardian_start(&w->d.guardian), 0);
	assert_int_equal(image_dir_create(w->dir, &w->d.dir), 0);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(files_dump_in_flight(&w->d, &w->task, fd, WHAT, &w->file), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;
	char cmd[100];

	guardian_stop(w->d.guardian, false);
	files_restore_subsys.undo(&w->r);
	arena_free(w->d.arena);
	arena_free(w->r.arena);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", w->dir);
	free(w);
	return system(cmd);
}

static int dump(struct world *w, int fd, int type)
{
	struct fd_info info = { .task = &w->task, .number = 7, .fd = fd, .st.st_mode = S_IFSOCK };

	return queue_dump(&w->d, &info, w->file, type);
}

/* From the dump's images to a restore that has read them. */
static int turn(struct world *w)
{
	int err;

	assert_int_equal(queue_write_images(&w->d), 0);
	assert_int_equal(files_dump_subsys.write_images(&w->d), 0);
	files_dump_subsys.rollback(&w->d);
	assert_int_equal(image_dir_seal(w->d.dir), 0);
	image_dir_close(w->d.dir);
	assert_int_equal(image_dir_open(w->dir, true, &w->r.dir), 0);
	err = files_read(&w->r);
	return err ?: queue_read_images(&w->r);
}

static void pair(int type, int p[2])
{
	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, p), 0);
}

static void set(int fd, int name, int v)
{
	assert_int_equal(setsockopt(fd, SOL_SOCKET, name, &v, sizeof(v)), 0);
}

static int get(int fd, int name)
{
	socklen_t len = sizeof(int);
	int v;

	assert_int_equal(getsockopt(fd, SOL_SOCKET, name, &v, &len), 0);
	return v;
}

static void put(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_DONTWAIT), strlen(text));
}

static void put_fd(int fd, const char *text, int passed)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} c = { .align = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct iovec iov = { (void *)text, strlen(text) };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c) };

	memcpy(CMSG_DATA(&c.align), &passed, sizeof(int));
	assert_int_equal(sendmsg(fd, &mh, MSG_DONTWAIT), strlen(text));
}

struct got {
	ssize_t n;
	char text[100];
	struct ucred cred;
	int fd;
};

/* One recvmsg of `want` bytes at most. */
static struct got take(int fd, size_t want)
{
	union {
		char bytes[256];
		struct cmsghdr align;
	} c;
	struct got g = { .fd = -1 };
	struct iovec iov = { g.text, MIN(want, sizeof(g.text) - 1) };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c) };

	g.n = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	for (struct cmsghdr *m = g.n < 0 ? NULL : CMSG_FIRSTHDR(&mh); m; m = CMSG_NXTHDR(&mh, m)) {
		if (m->cmsg_type == SCM_CREDENTIALS)
			memcpy(&g.cred, CMSG_DATA(m), sizeof(g.cred));
		if (m->cmsg_type == SCM_RIGHTS)
			memcpy(&g.fd, CMSG_DATA(m), sizeof(g.fd));
	}
	return g;
}

static void expect(int fd, const char *text, pid_t pid, uid_t uid)
{
	struct got g = take(fd, sizeof(g.text));

	assert_int_equal(g.n, strlen(text));
	assert_string_equal(g.text, text);
	assert_int_equal(g.cred.pid, pid);
	assert_int_equal(g.cred.uid, uid);
	assert_int_equal(g.cred.gid, uid);
}

/* A process that sends and ends; its pid. */
static pid_t sent_by_other(int fd, const char *text, uid_t uid)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(setresgid(uid, uid, uid) || setresuid(uid, uid, uid) || send(fd, text, strlen(text), 0) < 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return pid;
}

/* ---- datagrams ---- */

static void datagrams_of(struct world *w, int type)
{
	static char large[65536], back[65537];
	int p[2], q[2];
	pid_t dead, other;

	pair(type, p);
	pair(type, q);
	memset(large, 'L', sizeof(large));
	set(p[0], SO_SNDBUF, 1 << 20);
	put(p[0], "one");
	put(p[0], "");
	put(p[0], "");
	assert_int_equal(send(p[0], large, sizeof(large), 0), sizeof(large));
	put(p[0], "three");
	set(p[1], SO_PASSCRED, 1);
	put(p[0], "mine");
	dead = sent_by_other(p[0], "", 0);
	other = sent_by_other(p[0], "theirs", 1234);
	set(p[1], SO_PASSCRED, 0);
	put(p[0], "");
	assert_int_equal(dump(w, p[1], type), 0);
	assert_int_equal(get(p[1], SO_PASSCRED), 0);
	assert_int_equal(get(p[1], SO_PEEK_OFF), -1);
	assert_int_equal(turn(w), 0);
	assert_int_equal(queue_count(&w->r, w->file), 9);
	assert_int_equal(queue_count(&w->r, w->file + 1), 0);
	set(q[0], SO_PASSCRED, 1);
	set(q[0], SO_SNDBUF, 50000);
	assert_int_equal(queue_send(&w->r, w->file, 0, 5, q[0]), 0);
	assert_int_equal(queue_send(&w->r, w->file, 5, 4, q[0]), 0);
	assert_int_equal(get(q[0], SO_SNDBUF), 100000);
	assert_int_equal(get(q[0], SO_PASSCRED), 1);
	assert_int_equal(queue_send(&w->r, w->file, 9, 1, q[0]), -EINVAL);
	set(q[1], SO_PASSCRED, 1);
	/* The first is the victim's own, which still has its queue. */
	for (int i = 0; i < 2; i++) {
		int fd = i ? q[1] : p[1];

		set(fd, SO_PASSCRED, 1);
		expect(fd, "one", 0, 65534);
		expect(fd, "", 0, 65534);
		expect(fd, "", 0, 65534);
		assert_int_equal(recv(fd, back, sizeof(back), MSG_DONTWAIT), sizeof(large));
		assert_memory_equal(back, large, sizeof(large));
		expect(fd, "three", 0, 65534);
		expect(fd, "mine", getpid(), 0);
		expect(fd, "", dead, 0);
		expect(fd, "theirs", other, 1234);
		expect(fd, "", 0, 65534);
		assert_int_equal(take(fd, 10).n, -1);
	}
	for (int i = 0; i < 2; i++) {
		close(p[i]);
		close(q[i]);
	}
}

static void datagrams(void **state)
{
	datagrams_of(*state, SOCK_DGRAM);
}

static void seqpackets(void **state)
{
	datagrams_of(*state, SOCK_SEQPACKET);
}

static void address(struct sockaddr_un *a, const char *name)
{
	*a = (struct sockaddr_un) { .sun_family = AF_UNIX };
	snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, "%s-%d", name, getpid());
}

static void senders(void **state)
{
	struct world *w = *state;
	int to = socket(AF_UNIX, SOCK_DGRAM, 0), from = socket(AF_UNIX, SOCK_DGRAM, 0),
	    nobody = socket(AF_UNIX, SOCK_DGRAM, 0);
	struct sockaddr_un at, by;
	const void *addr;
	size_t len;

	address(&at, "to");
	address(&by, "by");
	assert_int_equal(bind(to, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(connect(from, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(connect(nobody, (struct sockaddr *)&at, sizeof(at)), 0);
	put(nobody, "unnamed");
	close(nobody);
	assert_int_equal(bind(from, (struct sockaddr *)&by, sizeof(by)), 0);
	put(from, "named");
	close(from);
	assert_int_equal(dump(w, to, SOCK_DGRAM), 0);
	close(to);
	assert_int_equal(turn(w), 0);
	assert_int_equal(queue_count(&w->r, w->file), 2);
	assert_null(queue_sender(&w->r, w->file, 0, &len));
	assert_int_equal(len, 0);
	addr = queue_sender(&w->r, w->file, 1, &len);
	assert_int_equal(len, sizeof(by));
	assert_memory_equal(addr, &by, sizeof(by));
	assert_null(queue_sender(&w->r, w->file, 2, &len));
}

static void udp(void **state)
{
	struct world *w = *state;
	int to = socket(AF_INET, SOCK_DGRAM, 0), from = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, by;
	socklen_t len = sizeof(at);
	char buf[10];
	size_t n;

	assert_int_equal(bind(to, (struct sockaddr *)&at, len) | getsockname(to, (struct sockaddr *)&at, &len), 0);
	assert_int_equal(connect(from, (struct sockaddr *)&at, len), 0);
	assert_int_equal(getsockname(from, (struct sockaddr *)&by, &len), 0);
	put(from, "one");
	put(from, "");
	put(from, "three");
	assert_int_equal(dump(w, to, SOCK_DGRAM), 0);
	assert_int_equal(get(to, SO_PEEK_OFF), -1);
	assert_int_equal(recv(to, buf, sizeof(buf), MSG_DONTWAIT), 3);
	assert_int_equal(recv(to, buf, sizeof(buf), MSG_DONTWAIT), 0);
	assert_int_equal(recv(to, buf, sizeof(buf), MSG_DONTWAIT), 5);
	assert_int_equal(turn(w), 0);
	assert_int_equal(queue_count(&w->r, w->file), 3);
	assert_memory_equal(queue_sender(&w->r, w->file, 1, &n), &by, sizeof(by));
	assert_int_equal(n, sizeof(by));
	close(to);
	close(from);
}

static void hidden(void **state)
{
	struct world *w = *state;
	int p[2], off = 0;
	char c;

	log_init(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_WARN);
	pair(SOCK_DGRAM, p);
	put(p[0], "");
	put(p[0], "x");
	set(p[1], SO_PEEK_OFF, off);
	assert_int_equal(recv(p[1], &c, 1, MSG_PEEK), 0);
	assert_int_equal(dump(w, p[1], SOCK_DGRAM), DUMP_REFUSED);
	assert_int_equal(get(p[1], SO_PEEK_OFF), 0);
	close(p[0]);
	close(p[1]);
	pair(SOCK_SEQPACKET, p);
	put(p[0], "answer");
	put(p[1], "never read");
	close(p[0]);
	assert_int_equal(dump(w, p[1], SOCK_SEQPACKET), DUMP_REFUSED);
	assert_int_equal(recv(p[1], &c, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_int_equal(dump(w, p[1], SOCK_SEQPACKET), 0);
	close(p[1]);
}

/* ---- streams ---- */

static void fill_stream(int fd, int pass_to, int file)
{
	put(fd, "nobody's,");
	put_fd(fd, "with", file);
	put(fd, "out;");
	set(pass_to, SO_PASSCRED, 1);
	put(fd, "mine");
	put_fd(fd, "F", file);
	put_fd(fd, "G", file);
	set(pass_to, SO_PASSCRED, 0);
	put(fd, "end");
	assert_int_equal(send(fd, "yO", 2, MSG_OOB), 2);
	put(fd, "last");
}

static void expect_fd(int fd, const char *text, pid_t pid, const struct stat *file)
{
	struct got g = take(fd, strlen(text));
	struct stat st;

	assert_string_equal(g.text, text);
	assert_int_equal(g.cred.pid, pid);
	if ((g.fd >= 0) != !!file)
		fail_msg("'%s' comes %s a descriptor", text, g.fd >= 0 ? "with" : "without");
	if (!file)
		return;
	assert_int_equal(fstat(g.fd, &st), 0);
	assert_int_equal(st.st_ino, file->st_ino);
	assert_int_equal(lseek(g.fd, 0, SEEK_CUR), 3);
	close(g.fd);
}

static void check_stream(int fd, const struct stat *st)
{
	int mark;
	char c;

	set(fd, SO_PASSCRED, 1);
	expect_fd(fd, "nobody's", 0, NULL);
	/* The descriptor comes with the first byte of what it was sent with. */
	expect_fd(fd, ",", 0, NULL);
	expect_fd(fd, "w", 0, st);
	expect(fd, "ithout;", 0, 65534);
	expect_fd(fd, "mine", getpid(), NULL);
	expect_fd(fd, "F", getpid(), st);
	expect_fd(fd, "G", getpid(), st);
	assert_int_equal(recv(fd, &c, 1, MSG_OOB), 1);
	assert_int_equal(c, 'O');
	expect(fd, "endy", 0, 65534);
	expect(fd, "last", 0, 65534);
	assert_int_equal(ioctl(fd, FIONREAD, &mark), 0);
	assert_int_equal(mark, 0);
}

static void streams(void **state)
{
	struct world *w = *state;
	char path[100];
	struct stat st;
	int p[2], q[2], file;

	snprintf(path, sizeof(path), "%s/file", w->dir);
	file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(file, "abc", 3), 3);
	assert_int_equal(fstat(file, &st), 0);
	pair(SOCK_STREAM, p);
	fill_stream(p[0], p[1], file);
	close(file);
	assert_int_equal(dump(w, p[1], SOCK_STREAM), 0);
	assert_int_equal(get(p[1], SO_OOBINLINE), 0);
	check_stream(p[1], &st);
	assert_int_equal(turn(w), 0);
	pair(SOCK_STREAM, q);
	assert_int_equal(queue_send(&w->r, w->file, 0, queue_count(&w->r, w->file), q[0]), 0);
	check_stream(q[1], &st);
	for (int i = 0; i < 2; i++) {
		close(p[i]);
		close(q[i]);
	}
}

static void long_stream(void **state)
{
	struct world *w = *state;
	static char bytes[3 << 20], back[3 << 20];
	size_t at = 0;
	int p[2], q[2], v = 8 << 20;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 7 + i / 4096);
	pair(SOCK_STREAM, p);
	if (setsockopt(p[0], SOL_SOCKET, SO_SNDBUFFORCE, &v, sizeof(v)))
		unit_skip("no long queues: %s", strerror(errno));
	for (size_t n; at < sizeof(bytes); at += n) {
		n = MIN(sizeof(bytes) - at, 100001);
		assert_int_equal(send(p[0], bytes + at, n, MSG_DONTWAIT), n);
	}
	assert_int_equal(recv(p[1], back, 12345, 0), 12345);
	assert_int_equal(dump(w, p[1], SOCK_STREAM), 0);
	assert_int_equal(turn(w), 0);
	pair(SOCK_STREAM, q);
	assert_int_equal(queue_send(&w->r, w->file, 0, queue_count(&w->r, w->file), q[0]), 0);
	for (at = 12345; at < sizeof(back);) {
		ssize_t n = recv(q[1], back + at, sizeof(back) - at, MSG_DONTWAIT);

		assert_true(n > 0);
		at += (size_t)n;
	}
	assert_memory_equal(back, bytes, sizeof(back));
	assert_int_equal(recv(q[1], back, 1, MSG_DONTWAIT), -1);
}

static int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* As many descriptors as a message can have, all the same; none of ours is left, nor the sender's pidfd. */
static void many_rights(void **state)
{
	union {
		char bytes[CMSG_SPACE(SCM_MAX_FD * sizeof(int))];
		struct cmsghdr align;
	} c = { .align = { CMSG_LEN(SCM_MAX_FD * sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct iovec iov = { (void *)"x", 1 };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c) };
	struct world *w = *state;
	int p[2], q[2], before, on = 1;

	pair(SOCK_SEQPACKET, p);
	pair(SOCK_SEQPACKET, q);
	setsockopt(p[1], SOL_SOCKET, SO_PASSPIDFD, &on, sizeof(on));
	for (int i = 0; i < SCM_MAX_FD; i++)
		memcpy(CMSG_DATA(&c.align) + i * sizeof(int), &(int) { open("/dev/zero", O_RDONLY) }, sizeof(int));
	for (int i = 0; i < 3; i++)
		assert_int_equal(sendmsg(p[0], &mh, MSG_DONTWAIT), 1);
	before = open_fds();
	assert_int_equal(dump(w, p[1], SOCK_SEQPACKET), 0);
	/* Each of the descriptions is held once, and the image is open. */
	assert_int_equal(open_fds(), before + SCM_MAX_FD + 1);
	for (int i = 0; i < SCM_MAX_FD; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(&c.align) + i * sizeof(int), sizeof(int));
		close(fd);
	}
	assert_int_equal(turn(w), 0);
	assert_int_equal(queue_send(&w->r, w->file, 0, 3, q[0]), 0);
	for (int i = 0; i < 3; i++) {
		int got[SCM_MAX_FD];

		memset(&c, 0, sizeof(c));
		mh.msg_controllen = sizeof(c);
		iov.iov_base = &on;
		assert_int_equal(recvmsg(q[1], &mh, MSG_DONTWAIT), 1);
		assert_int_equal(c.align.cmsg_len, CMSG_LEN(sizeof(got)));
		memcpy(got, CMSG_DATA(&c.align), sizeof(got));
		for (int k = 0; k < SCM_MAX_FD; k++)
			close(got[k]);
	}
	for (int i = 0; i < 2; i++) {
		close(p[i]);
		close(q[i]);
	}
}

/* The tool is killed in the middle: its guardian puts the switches back. */
static void killed(void **state)
{
	struct world *w = *state;

	for (unsigned at = 1; at <= 2; at++) {
		int p[2], ready[2], status, tries = 0;
		pid_t pid;

		pair(SOCK_STREAM, p);
		assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
		set(p[1], SO_PEEK_OFF, 3);
		put(p[0], "bytes");
		assert_int_equal(send(p[0], "!", 1, MSG_OOB), 1);
		pid = fork();
		if (!pid) {
			if (guardian_start(&w->d.guardian))
				_exit(1);
			fault_init(at);
			_exit(dump(w, p[1], SOCK_STREAM));
		}
		close(ready[1]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		/* The guardian has the other end of the pipe until it is through. */
		assert_int_equal(read(ready[0], &tries, 1), 0);
		assert_int_equal(get(p[1], SO_PEEK_OFF), 3);
		assert_int_equal(get(p[1], SO_PASSCRED), 0);
		assert_int_equal(get(p[1], SO_OOBINLINE), 0);
		close(p[0]);
		close(p[1]);
		close(ready[0]);
	}
}

/* ---- damage ---- */

static int read_damaged(void **state, SkPacketEntry *e)
{
	struct image **img;
	struct world *w;
	int err;

	set_up(state);
	w = *state;
	log_init(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_WARN);
	if (!e->id_for)
		e->id_for = w->file;
	img = dump_state(&w->d, &queue_dump_subsys);
	assert_int_equal(image_create(w->d.dir, IMG_SK_QUEUES, 0, img), 0);
	assert_int_equal(image_write(*img, e), 0);
	assert_int_equal(image_write_raw(*img, "1234", 4), 0);
	err = turn(w);
	tear_down(state);
	return err;
}

static void damaged(void **state)
{
	uint32_t ids[254] = { 1 };
	ScmEntry scm = SCM_ENTRY__INIT, *list[2] = { &scm, &scm };
	SkPacketEntry good = SK_PACKET_ENTRY__INIT, e;
	uint8_t addr[200] = { 0 };

	good.length = 4;
	e = good;
	assert_int_equal(read_damaged(state, &e), 0);
	e.id_for = 4242;
	assert_int_equal(read_damaged(state, &e), -ENOENT);
	e = good;
	e.length = 5;
	assert_int_equal(read_damaged(state, &e), -EINVAL);
	e.length = UINT32_MAX;
	assert_int_equal(read_damaged(state, &e), -EINVAL);
	e = good;
	e.has_sender = true;
	e.sender = (ProtobufCBinaryData) { sizeof(addr), addr };
	assert_int_equal(read_damaged(state, &e), -EINVAL);
	e = good;
	e.has_pid = true;
	e.pid = 1U << 31;
	assert_int_equal(read_damaged(state, &e), -EINVAL);
	e = good;
	e.has_oob = e.oob = true;
	assert_int_equal(read_damaged(state, &e), -EINVAL);
	e = good;
	e.n_scm = 1;
	e.scm = list;
	scm.type = SCM_CREDENTIALS;
	assert_int_equal(read_damaged(state, &e), -EINVAL);
	scm.type = SCM_RIGHTS;
	scm.rights = ids;
	scm.n_rights = 1;
	assert_int_equal(read_damaged(state, &e), 0);
	ids[0] = 77;
	assert_int_equal(read_damaged(state, &e), -ENOENT);
	ids[0] = 1;
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		ids[i] = 1;
	scm.n_rights = 254;
	assert_int_equal(read_damaged(state, &e), -EINVAL);
	scm.n_rights = 127;
	e.n_scm = 2;
	assert_int_equal(read_damaged(state, &e), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(datagrams, set_up, tear_down),
		cmocka_unit_test_setup_teardown(seqpackets, set_up, tear_down),
		cmocka_unit_test_setup_teardown(senders, set_up, tear_down),
		cmocka_unit_test_setup_teardown(udp, set_up, tear_down),
		cmocka_unit_test_setup_teardown(many_rights, set_up, tear_down),
		cmocka_unit_test_setup_teardown(hidden, set_up, tear_down),
		cmocka_unit_test_setup_teardown(streams, set_up, tear_down),
		cmocka_unit_test_setup_teardown(long_stream, set_up, tear_down),
		cmocka_unit_test_setup_teardown(killed, set_up, tear_down),
		cmocka_unit_test(damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
