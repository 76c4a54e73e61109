/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel needs for it at the least: floor KIND ARGUMENTS. Prints microseconds.
 *
 *	run COMMAND...		a command from vfork to its end (that is no floor but how the tool itself is timed)
 *	write FILE BYTES	write(2) of so many bytes from one hot buffer
 *	read FILE		two threads read the file into fresh huge pages
 *	exec N			fork and execve of an empty program
 *	fork N			fork of children that sleep
 *	copy MIB small|huge	fork of a process with so many MiB of memory, in pages of 4 KiB or huge ones
 *	clone N			threads, made and joined
 *	mmap N			N mappings of a page each, touched
 *	open N			N files by path
 *	pipes N			N pipes, with a page written into each
 *	container N		a process in new namespaces that mounts N file systems and forks ten processes
 *	ptrace PID		each thread: SEIZE, INTERRUPT, wait, registers, DETACH
 *	getfd PID		each descriptor: pidfd_getfd, fstat, its fdinfo
 *	repair PID		each TCP socket: pidfd_getfd, TCP_REPAIR on, TCP_INFO, window, both queues, off
 *	sockets N		N TCP sockets in TCP_REPAIR: bind, connect, 1 KiB into the receive queue, window, off
 *	calls COMMAND...	how many system calls it and its children make, but for waits (no floor either); nothing
 *				where the kernel does not count for us
 *	splice FILE BYTES	so many bytes sent from one hot buffer through a TCP connection, and spliced into the
 *				file
 *	fault FILE		the file read by 1 MiB, and put into missing memory with UFFDIO_COPY
 *	maps PID		/proc/PID/maps read, and every page of the writable mappings by process_vm_readv
 */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define HUGE (2UL << 20)
#define HOT  (1UL << 18)

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000ULL + ts.tv_nsec / 1000;
}

static void must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static int run(char **argv)
{
	uint64_t began = now();
	int status;
	pid_t pid = vfork();

	must(pid >= 0, "vfork");
	if (!pid) {
		int fd = open("/dev/null", O_RDWR);

		dup2(fd, 0);
		dup2(fd, 1);
		execv(argv[0], argv);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) != pid)
		;
	printf("%llu\n", (unsigned long long)(now() - began));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static void hot_write(const char *path, uint64_t left)
{
	static char buf[HOT];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	must(fd >= 0, path);
	memset(buf, 0x5a, sizeof(buf));
	for (ssize_t n; left; left -= n)
		must((n = write(fd, buf, left < HOT ? left : HOT)) > 0, "write");
	close(fd);
}

struct part {
	int fd;
	char *mem;
	uint64_t off, len;
};

static void *reader(void *arg)
{
	struct part *p = arg;

	for (ssize_t n; p->len; p->off += n, p->len -= n)
		must((n = pread(p->fd, p->mem + p->off, p->len < HUGE ? p->len : HUGE, p->off)) > 0, "pread");
	return NULL;
}

static void two_readers(const char *path)
{
	int fd = open(path, O_RDONLY);
	struct part part[2];
	struct stat st;
	pthread_t t[2];
	uint64_t half;
	char *p;

	must(fd >= 0 && !fstat(fd, &st), path);
	p = mmap(NULL, st.st_size + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(p != MAP_FAILED, "mmap");
	p += (HUGE - (uintptr_t)p % HUGE) % HUGE;
	madvise(p, st.st_size, MADV_HUGEPAGE);
	half = st.st_size / 2 / HUGE * HUGE;
	part[0] = (struct part) { fd, p, 0, half };
	part[1] = (struct part) { fd, p, half, st.st_size - half };
	for (int i = 0; i < 2; i++)
		must(!pthread_create(&t[i], NULL, reader, &part[i]), "pthread_create");
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
}

static void forks(int n, int exec)
{
	pid_t *kids = calloc(n, sizeof(*kids));

	must(kids != NULL, "calloc");
	for (int i = 0; i < n; i++) {
		kids[i] = fork();
		must(kids[i] >= 0, "fork");
		if (!kids[i]) {
			if (!exec)
				for (;;)
					pause();
			execl("/proc/self/exe", "floor", "nothing", NULL);
			_exit(1);
		}
		if (exec)
			waitpid(kids[i], NULL, 0);
	}
	for (int i = 0; i < n && !exec; i++)
		kill(kids[i], SIGKILL);
}

static void *nothing(void *arg)
{
	return NULL;
}

static void clones(int n)
{
	pthread_t *t = calloc(n, sizeof(*t));
	pthread_attr_t attr;

	must(t != NULL, "calloc");
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 * 1024);
	for (int i = 0; i < n; i++)
		must(!pthread_create(&t[i], &attr, nothing, NULL), "pthread_create");
	for (int i = 0; i < n; i++)
		pthread_join(t[i], NULL);
}

static void mmaps(int n)
{
	char *p = mmap(NULL, n * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(p != MAP_FAILED, "mmap");
	for (int i = 0; i < n; i++) {
		char *q =
		    mmap(p + i * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

		must(q != MAP_FAILED, "mmap");
		*q = 1;
		if (i % 2)
			must(!mprotect(q, PAGE, PROT_READ), "mprotect");
	}
}

static void opens(int n)
{
	const int each = 10000; /* as the victim's processes */
	struct rlimit lim = { each + 100, each + 100 };

	setrlimit(RLIMIT_NOFILE, &lim);
	for (int i = 0; i < n; i++) {
		must(open("/proc/self/exe", O_RDONLY) >= 0, "open");
		if (i % each == each - 1)
			close_range(3, ~0U, 0);
	}
}

/* The numbers in a /proc directory. */
static int *numbers(const char *path, int *count)
{
	DIR *d = opendir(path);
	int *out = NULL, n = 0;

	must(d != NULL, path);
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] == '.')
			continue;
		out = realloc(out, (n + 1) * sizeof(*out));
		must(out != NULL, "realloc");
		out[n++] = atoi(e->d_name);
	}
	closedir(d);
	*count = n;
	return out;
}

static void traces(int pid)
{
	struct user_regs_struct regs;
	struct iovec iov = { &regs, sizeof(regs) };
	char path[64];
	int n, *tids;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tids = numbers(path, &n);
	for (int i = 0; i < n; i++)
		must(!ptrace(PTRACE_SEIZE, tids[i], 0, 0) && !ptrace(PTRACE_INTERRUPT, tids[i], 0, 0), "seize");
	for (int i = 0; i < n; i++) {
		must(waitpid(tids[i], NULL, __WALL) == tids[i], "wait");
		must(!ptrace(PTRACE_GETREGSET, tids[i], NT_PRSTATUS, &iov), "registers");
	}
	for (int i = 0; i < n; i++)
		must(!ptrace(PTRACE_DETACH, tids[i], 0, 0), "detach");
}

static void getfds(int pid)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0), n, *fds;
	char path[64], buf[4096];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	fds = numbers(path, &n);
	for (int i = 0; i < n; i++) {
		int fd = syscall(SYS_pidfd_getfd, pidfd, fds[i], 0), info;

		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fds[i]);
		must(fd >= 0 && !fstat(fd, &st) && (info = open(path, O_RDONLY)) >= 0, "getfd");
		must(read(info, buf, sizeof(buf)) > 0, "fdinfo");
		close(info);
		close(fd);
	}
}

static void pipes(int n)
{
	struct rlimit lim = { 2 * n + 100, 2 * n + 100 };
	static char page[PAGE];
	int p[2];

	setrlimit(RLIMIT_NOFILE, &lim);
	for (int i = 0; i < n; i++)
		must(!pipe(p) && write(p[1], page, PAGE) == (ssize_t)PAGE, "pipe");
}

static int in_container(void *arg)
{
	must(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) && !mount("proc", "/proc", "proc", 0, NULL), "mount");
	must(!mount("m", "/mnt", "tmpfs", 0, NULL), "mount");
	for (int i = 1; i < *(int *)arg; i++) {
		char at[32];

		snprintf(at, sizeof(at), "/mnt/%d", i);
		must(!mkdir(at, 0755) && !mount("m", at, "tmpfs", 0, NULL), at);
	}
	for (int i = 1; i < 10; i++)
		if (!fork())
			pause();
	return 0;
}

/* Until it stands: its end, which takes all others with it, does not count. */
static void container(int n)
{
	static char stack[1 << 16] __attribute__((aligned(16)));
	uint64_t start = now();
	int pid = clone(in_container, stack + sizeof(stack),
	                CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP |
	                    CLONE_VFORK,
	                &n);

	must(pid > 0, "clone");
	printf("%llu\n", (unsigned long long)(now() - start));
	exit(0);
}

/* As many sockets as the victim's ten_unix() makes, of the same kinds. Closed at the end, with the process. */
static void ten_unix(long number)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX }, name = at;
	int sv[2], fd, l;

	must(!socketpair(AF_UNIX, SOCK_STREAM, 0, sv) && !socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), "socketpair");
	snprintf(name.sun_path + 1, 64, "floor %d %ld", getpid(), number);
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	must(fd >= 0 && !bind(fd, (struct sockaddr *)&name, sizeof(name)), "bind");
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	must(fd >= 0 && !connect(fd, (struct sockaddr *)&name, sizeof(name)), "connect");
	snprintf(at.sun_path, sizeof(at.sun_path), "floor.%d.%ld", getpid(), number);
	l = socket(AF_UNIX, SOCK_STREAM, 0);
	must(l >= 0 && !bind(l, (struct sockaddr *)&at, sizeof(at)) && !listen(l, 8), "listen");
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	must(fd >= 0 && !connect(fd, (struct sockaddr *)&at, sizeof(at)) && accept(l, NULL, NULL) >= 0, "accept");
	unlink(at.sun_path);
	l = socket(AF_UNIX, SOCK_STREAM, 0);
	must(l >= 0 && !bind(l, (struct sockaddr *)&name, sizeof(name)) && !listen(l, 8), "listen, abstract");
}

static void unixes(long n)
{
	struct rlimit lim = { 20000, 20000 };

	setrlimit(RLIMIT_NOFILE, &lim);
	for (long i = 0; i < n / 10; i++) {
		ten_unix(i);
		if (i % 1000 == 999)
			close_range(3, ~0U, 0);
	}
}

static void tcp_set(int fd, int name, int value)
{
	must(!setsockopt(fd, IPPROTO_TCP, name, &value, sizeof(value)), "TCP_REPAIR");
}

static void repairs(int pid)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0), n, *fds;
	char path[64], buf[4096];

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	fds = numbers(path, &n);
	for (int i = 0; i < n; i++) {
		int fd = syscall(SYS_pidfd_getfd, pidfd, fds[i], 0), on = 1;
		socklen_t len = sizeof(buf);

		if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on))) {
			close(fd);
			continue;
		}
		must(!getsockopt(fd, IPPROTO_TCP, TCP_INFO, buf, &len), "TCP_INFO");
		len = sizeof(struct tcp_repair_window);
		must(!getsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, buf, &len), "window");
		for (int queue = TCP_RECV_QUEUE; queue <= TCP_SEND_QUEUE; queue++) {
			tcp_set(fd, TCP_REPAIR_QUEUE, queue);
			len = sizeof(int);
			must(!getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, buf, &len), "sequence");
			recv(fd, buf, sizeof(buf), MSG_PEEK | MSG_DONTWAIT);
		}
		tcp_set(fd, TCP_REPAIR, -1);
		close(fd);
	}
}

static void sockets(int n)
{
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_port = htons(7) }, to = from;
	struct rlimit lim = { n + 100, n + 100 };
	struct tcp_repair_window w = { .rcv_wnd = 65536, .snd_wnd = 65536, .max_window = 65536 };
	static char buf[1024];

	setrlimit(RLIMIT_NOFILE, &lim);
	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < n; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		to.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + i);
		must(fd >= 0, "socket");
		tcp_set(fd, TCP_REPAIR, 1);
		must(!bind(fd, (struct sockaddr *)&from, sizeof(from)), "bind");
		must(!connect(fd, (struct sockaddr *)&to, sizeof(to)), "connect");
		tcp_set(fd, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE);
		must(send(fd, buf, sizeof(buf), 0) == sizeof(buf), "queue");
		tcp_set(fd, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE);
		w.rcv_wup = 0;
		setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &w, sizeof(w));
		/* Left in repair: nobody hears of their end. */
	}
}

static void send_hot(const struct sockaddr_in *to, uint64_t left)
{
	static char buf[HOT];
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	memset(buf, 0x5a, sizeof(buf));
	must(fd >= 0 && !connect(fd, (const struct sockaddr *)to, sizeof(*to)), "connect");
	for (ssize_t n; left; left -= n)
		must((n = send(fd, buf, left < HOT ? left : HOT, 0)) > 0, "send");
	_exit(0);
}

static void splices(const char *path, uint64_t left)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int l = socket(AF_INET, SOCK_STREAM, 0), out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600), in, p[2];

	must(l >= 0 && out >= 0 && !pipe(p), path);
	must(!bind(l, (struct sockaddr *)&at, len) && !listen(l, 1), "listen");
	must(!getsockname(l, (struct sockaddr *)&at, &len) && fcntl(p[1], F_SETPIPE_SZ, 1 << 20) > 0, "pipe");
	if (!fork())
		send_hot(&at, left);
	must((in = accept(l, NULL, NULL)) >= 0, "accept");
	for (ssize_t n; left; left -= n) {
		must((n = splice(in, NULL, p[1], NULL, 1 << 20, SPLICE_F_MOVE)) > 0, "splice from the socket");
		for (ssize_t k = n, m; k; k -= m)
			must((m = splice(p[0], NULL, out, NULL, k, SPLICE_F_MOVE)) > 0, "splice into the file");
	}
	close(out);
	wait(NULL);
}

static void faults(const char *path)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = open(path, O_RDONLY), uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	uint64_t size = lseek(fd, 0, SEEK_END);
	char *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
	     *buf = malloc(1 << 20);
	struct uffdio_register reg = { .range = { (uintptr_t)mem, size }, .mode = UFFDIO_REGISTER_MODE_MISSING };

	must(fd >= 0 && uffd >= 0 && mem != MAP_FAILED && buf && !ioctl(uffd, UFFDIO_API, &api), "userfaultfd");
	must(!ioctl(uffd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER");
	for (uint64_t at = 0, n; at < size; at += n) {
		struct uffdio_copy copy = { .dst = (uintptr_t)mem + at, .src = (uintptr_t)buf };

		n = copy.len = size - at < 1 << 20 ? size - at : 1 << 20;
		must(pread(fd, buf, n, at) == (ssize_t)n, "pread");
		must(!ioctl(uffd, UFFDIO_COPY, &copy), "UFFDIO_COPY");
	}
}

static void maps(int pid)
{
	char path[64], line[600], perms[8], *buf = malloc(HOT);
	unsigned long start, end;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	must((f = fopen(path, "r")) != NULL && buf != NULL, path);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx %7s", &start, &end, perms) != 3 || perms[0] != 'r' || perms[3] != 'p')
			continue;
		for (unsigned long n; start < end; start += n) {
			n = end - start < HOT ? end - start : HOT;
			process_vm_readv(pid, &(struct iovec) { buf, n }, 1, &(struct iovec) { (void *)start, n }, 1,
			                 0);
		}
	}
	fclose(f);
	free(buf);
}

/* ---- counting ---- */

static int tracepoint_id(void)
{
	static const char *const paths[] = { "/sys/kernel/tracing/events/raw_syscalls/sys_enter/id",
		                             "/sys/kernel/debug/tracing/events/raw_syscalls/sys_enter/id" };
	int id = -1;

	for (size_t i = 0; id < 0 && i < sizeof(paths) / sizeof(*paths); i++) {
		FILE *f = fopen(paths[i], "r");

		if (f && fscanf(f, "%d", &id) != 1)
			id = -1;
		if (f)
			fclose(f);
	}
	return id;
}

/* How often one waits depends on the other processor; how often one asks does not. */
static int count_calls_of(pid_t pid)
{
	static const int waits[] = { SYS_futex,           SYS_poll,           SYS_ppoll,        SYS_wait4,
		                     SYS_rt_sigtimedwait, SYS_waitid,         SYS_rt_sigreturn, 449,
		                     SYS_rt_sigprocmask,  SYS_sched_yield,    SYS_nanosleep,    SYS_clock_nanosleep,
		                     SYS_clock_gettime,   SYS_restart_syscall };
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr), .inherit = 1, .disabled = 1, .enable_on_exec = 1
	};
	int id = tracepoint_id(), fd;
	char filter[400] = "";

	attr.config = id;
	fd = id < 0 ? -1 : (int)syscall(SYS_perf_event_open, &attr, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
	for (size_t i = 0; i < sizeof(waits) / sizeof(*waits); i++)
		sprintf(filter + strlen(filter), "%sid != %d", i ? " && " : "", waits[i]);
	if (fd >= 0)
		must(!ioctl(fd, PERF_EVENT_IOC_SET_FILTER, filter), "PERF_EVENT_IOC_SET_FILTER");
	return fd;
}

static int calls(char **command)
{
	int go[2], status, fd;
	uint64_t n;
	pid_t pid;

	must(!pipe2(go, O_CLOEXEC) && (pid = fork()) >= 0, "fork");
	if (!pid) {
		char c;

		must(read(go[0], &c, 1) == 1, "read");
		execvp(command[0], command);
		_exit(127);
	}
	fd = count_calls_of(pid);
	must(write(go[1], "", 1) == 1, "write");
	must(waitpid(pid, &status, 0) == pid, "waitpid");
	if (fd >= 0 && read(fd, &n, sizeof(n)) == sizeof(n))
		printf("%llu\n", (unsigned long long)n);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* The fork alone, not the end of the child. */
static void copies(size_t len, int huge)
{
	unsigned char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t start, took;
	pid_t pid;

	must(p != MAP_FAILED, "mmap");
	madvise(p, len, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	memset(p, 1, len);
	start = now();
	pid = fork();
	took = now() - start;
	if (!pid)
		_exit(0);
	must(pid > 0 && waitpid(pid, NULL, 0) == pid, "fork");
	printf("%llu\n", (unsigned long long)took);
	exit(0);
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "nothing";
	long n = argc > 2 ? atol(argv[2]) : 0;
	uint64_t began = now();

	if (!strcmp(kind, "nothing"))
		return 0;
	if (!strcmp(kind, "run"))
		return run(argv + 2);
	if (!strcmp(kind, "calls") && argc > 2)
		return calls(argv + 2);
	if (!strcmp(kind, "write") && argc > 3)
		hot_write(argv[2], strtoull(argv[3], NULL, 0));
	else if (!strcmp(kind, "read"))
		two_readers(argv[2]);
	else if (!strcmp(kind, "exec") || !strcmp(kind, "fork"))
		forks(n, !strcmp(kind, "exec"));
	else if (!strcmp(kind, "copy") && argc > 3)
		copies((size_t)n << 20, !strcmp(argv[3], "huge"));
	else if (!strcmp(kind, "clone"))
		clones(n);
	else if (!strcmp(kind, "mmap"))
		mmaps(n);
	else if (!strcmp(kind, "open"))
		opens(n);
	else if (!strcmp(kind, "pipes"))
		pipes(n);
	else if (!strcmp(kind, "container"))
		container(n);
	else if (!strcmp(kind, "ptrace"))
		traces(n);
	else if (!strcmp(kind, "getfd"))
		for (int i = 2; i < argc; i++)
			getfds(atol(argv[i]));
	else if (!strcmp(kind, "unix"))
		unixes(n);
	else if (!strcmp(kind, "repair"))
		repairs(n);
	else if (!strcmp(kind, "sockets"))
		sockets(n);
	else if (!strcmp(kind, "splice") && argc > 3)
		splices(argv[2], strtoull(argv[3], NULL, 0));
	else if (!strcmp(kind, "fault"))
		faults(argv[2]);
	else if (!strcmp(kind, "maps"))
		maps(n);
	else
		return 2;
	printf("%llu\n", (unsigned long long)(now() - began));
	return 0;
}
