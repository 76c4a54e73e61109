/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is dumped and restored by the benchmark: victim READY-FILE KIND [N]. It makes what the kind says, creates the
 * file, and sleeps.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MB   (1UL << 20)
#define PAGE 4096UL

static void must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static void rest(void)
{
	for (;;)
		pause();
}

/* Bytes that are all different pages, cheaply. fill: one page of so many is not zero. */
static unsigned char *memory(size_t len, int advice, int fill)
{
	unsigned char *p = mmap(NULL, len + 2 * MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(p != MAP_FAILED, "mmap");
	p += (2 * MB - (uintptr_t)p % (2 * MB)) % (2 * MB);
	madvise(p, len, advice);
	for (size_t i = 0; i < len; i += PAGE) {
		memset(p + i, 0, PAGE);
		if (i / PAGE % fill == 0)
			for (size_t k = 0; k < PAGE; k += 8)
				*(uint64_t *)(p + i + k) = i * 31 + k + 1;
	}
	return p;
}

static void cow(int kids)
{
	unsigned char *p = memory(128 * MB, MADV_NOHUGEPAGE, 1);

	for (int i = 0; i < kids; i++) {
		pid_t pid = fork();

		must(pid >= 0, "fork");
		if (pid)
			continue;
		for (size_t k = i * PAGE; k < 128 * MB; k += 64 * PAGE)
			p[k] ^= 0xff;
		rest();
	}
	usleep(300000);
}

static void procs(int n)
{
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();

		must(pid >= 0, "fork");
		if (!pid)
			rest();
	}
	usleep(100000);
}

static void *thread(void *arg)
{
	rest();
	return NULL;
}

static void threads(int n)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 * 1024);
	for (int i = 0; i < n; i++)
		must(!pthread_create(&t, &attr, thread, NULL), "pthread_create");
	usleep(100000);
}

static void maps(int n)
{
	unsigned char *p = memory(n * PAGE, MADV_NOHUGEPAGE, 1);

	for (int i = 0; i < n; i += 2)
		must(!mprotect(p + i * PAGE, PAGE, PROT_READ), "mprotect");
}

#define EACH 10000 /* descriptors of one process */

/* n of what make() makes, in as many processes as that takes. */
static void spread(int n, void (*make)(int n))
{
	struct rlimit lim = { EACH + 100, EACH + 100 };
	int ready[2], kids = 0;
	char c;

	setrlimit(RLIMIT_NOFILE, &lim);
	if (n > EACH)
		must(!pipe(ready), "pipe");
	for (; n > EACH; n -= EACH, kids++)
		if (!fork()) {
			make(EACH);
			must(write(ready[1], "x", 1) == 1, "write");
			close(ready[0]);
			close(ready[1]);
			rest();
		}
	make(n);
	if (!kids)
		return; /* with no number left out: a restore has more to do where one is */
	for (; kids; kids--)
		must(read(ready[0], &c, 1) == 1, "read");
	close(ready[0]);
	close(ready[1]);
}

static void files(int n)
{
	char name[32];

	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "f%d.%d", getpid(), i);
		must(open(name, O_RDWR | O_CREAT, 0600) >= 0, "open");
	}
}

/* With a page to be read in each. */
static void pipes(int n)
{
	static char page[PAGE];
	int p[2];

	for (int i = 0; i < n; i++)
		must(!pipe(p) && write(p[1], page, PAGE) == PAGE, "pipe");
}

/* What a container is: namespaces, n file systems, a pair of devices, ten processes. The child; the parent ends. */
static void container(int n, const char *ready)
{
	int made[2];
	char c;

	must(!unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP),
	     "unshare");
	must(!pipe2(made, O_CLOEXEC), "pipe");
	pid_t pid = fork();

	must(pid >= 0, "fork");
	if (pid) {
		FILE *f;

		must(read(made[0], &c, 1) == 1, "the container");
		must((f = fopen(ready, "w")) && fprintf(f, "%d", pid) > 0 && !fclose(f), ready);
		_exit(0);
	}
	setsid();
	must(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) && !mount("proc", "/proc", "proc", 0, NULL), "mount");
	must(!mount("m", "/mnt", "tmpfs", 0, NULL), "mount");
	for (int i = 1; i < n; i++) {
		char at[32];

		snprintf(at, sizeof(at), "/mnt/%d", i);
		must(!mkdir(at, 0755) && !mount("m", at, "tmpfs", 0, NULL), at);
	}
	must(!system("ip link set lo up && ip link add v0 type veth peer name v1 && ip addr add 10.9.8.1/24 dev v0 && "
	             "ip link set v0 up && ip link set v1 up"),
	     "ip");
	for (int i = 1; i < 10; i++)
		if (!fork())
			rest();
	usleep(100000);
	must(write(made[1], "x", 1) == 1, "write");
	rest();
}

/* The other ends: in a process that is not in the tree, and ends when one of them does. */
static void connect_one(int fd, const struct sockaddr_in *at)
{
	static char bytes[1024];

	must(fd >= 0 && !connect(fd, (const struct sockaddr *)at, sizeof(*at)), "connect");
	must(send(fd, bytes, sizeof(bytes), 0) == sizeof(bytes), "send");
}

static void others(const struct sockaddr_in *at, int n)
{
	struct pollfd *p = calloc(n, sizeof(*p));

	must(p != NULL, "calloc");
	setsid();
	if (fork())
		_exit(0);
	for (int i = 0; i < n; i++) {
		p[i] = (struct pollfd) { .fd = socket(AF_INET, SOCK_STREAM, 0), .events = POLLRDHUP };
		connect_one(p[i].fd, at);
	}
	while (poll(p, n, -1) <= 0)
		;
	_exit(0);
}

/* Connections with 1 KiB to be read in each; both: the other ends are here, too. */
static void tcp(int n, int both)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM, 0), bytes;
	struct rlimit lim = { 2 * n + 100, 2 * n + 100 };
	socklen_t len = sizeof(at);

	setrlimit(RLIMIT_NOFILE, &lim);
	must(!bind(l, (struct sockaddr *)&at, len) && !listen(l, 500) && !getsockname(l, (struct sockaddr *)&at, &len),
	     "listen");
	if (!both && !fork())
		others(&at, n);
	must(both || wait(NULL) > 0, "wait");
	for (int i = 0; i < n; i++) {
		int fd;

		if (both)
			connect_one(socket(AF_INET, SOCK_STREAM, 0), &at);
		fd = accept(l, NULL, NULL);
		must(fd >= 0, "accept");
		while (!ioctl(fd, FIONREAD, &bytes) && bytes < 1024)
			usleep(100);
	}
	close(l);
}

/*
 * Ten sockets: two pairs, one of them with bytes; two datagram sockets, one with an abstract name and one, connected to
 * it, with none; a listener with a file, and a connection that was accepted there; a listener with an abstract name.
 */
static void ten_unix(int number)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX }, name = at;
	socklen_t len = sizeof(at);
	int sv[2], fd, l;

	for (int i = 0; i < 2; i++)
		must(!socketpair(AF_UNIX, i ? SOCK_SEQPACKET : SOCK_STREAM, 0, sv), "socketpair");
	must(send(sv[0], "bytes", 5, 0) == 5, "send");
	snprintf(name.sun_path + 1, 64, "bench %d %d", getpid(), number);
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	must(fd >= 0 && !bind(fd, (struct sockaddr *)&name, len), "bind");
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	must(fd >= 0 && !connect(fd, (struct sockaddr *)&name, len), "connect");
	snprintf(at.sun_path, sizeof(at.sun_path), "s%d.%d", getpid(), number);
	l = socket(AF_UNIX, SOCK_STREAM, 0);
	must(l >= 0 && !bind(l, (struct sockaddr *)&at, len) && !listen(l, 8), "listen");
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	must(fd >= 0 && !connect(fd, (struct sockaddr *)&at, len) && accept(l, NULL, NULL) >= 0, "accept");
	l = socket(AF_UNIX, SOCK_STREAM, 0);
	must(l >= 0 && !bind(l, (struct sockaddr *)&name, len) && !listen(l, 8), "listen, abstract");
}

static void unixes(int n)
{
	for (int i = 0; i < n / 10; i++)
		ten_unix(i);
}

int main(int argc, char **argv)
{
	const char *kind = argc > 2 ? argv[2] : "";
	int n = argc > 3 ? atoi(argv[3]) : 0, fd;

	if (!strcmp(kind, "small-pages"))
		memory(n * MB, MADV_NOHUGEPAGE, 1);
	else if (!strcmp(kind, "huge-pages"))
		memory(n * MB, MADV_HUGEPAGE, 1);
	else if (!strcmp(kind, "sparse"))
		memory(n * MB, MADV_NOHUGEPAGE, 4);
	else if (!strcmp(kind, "cow"))
		cow(n);
	else if (!strcmp(kind, "procs"))
		procs(n);
	else if (!strcmp(kind, "threads"))
		threads(n);
	else if (!strcmp(kind, "maps"))
		maps(n);
	else if (!strcmp(kind, "files"))
		spread(n, files);
	else if (!strcmp(kind, "pipes"))
		spread(n, pipes);
	else if (!strcmp(kind, "container"))
		container(n, argv[1]);
	else if (!strcmp(kind, "tcp"))
		tcp(n, 0);
	else if (!strcmp(kind, "tcp-both"))
		tcp(n, 1);
	else if (!strcmp(kind, "unix"))
		spread(n, unixes);
	else
		must(!strcmp(kind, "smallest"), "kind");
	fd = open(argv[1], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	must(fd >= 0, argv[1]);
	close(fd);
	rest();
}
