/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that userfaultfd watches: missing pages, with pages of zeros among those that are there; write-protected ones,
 * also without a handler (WP_ASYNC); missing and minor ones of memfds; poisoned ones; locked memory;
 * UFFD_USER_MODE_ONLY. Handlers are a thread, and a child that got the descriptor by SCM_RIGHTS. One thread stands in a
 * fault that nobody has answered. Afterwards each page has its bytes, and exactly those fault that would have.
 *
 * zdtm: no-snapshot userfaultfd watches its memory
 * zdtm: iters 3
 * zdtm: needs-root
 */
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "zdtm.h"

#define PAGE  4096UL
#define PAGES 64

/* linux/userfaultfd.h of Linux 6.6 */
struct poison {
	struct uffdio_range range;
	uint64_t mode;
	int64_t updated;
};
#define DONTNEED_LOCKED 24 /* Linux 5.18 */
#define IOC_POISON      _IOWR(UFFDIO, 0x08, struct poison)
#define WP_UNPOPULATED  (1 << 13)
#define POISON          (1 << 14)
#define WP_ASYNC        (1 << 15)

/* One userfaultfd and its memory. */
struct area {
	const char *name;
	unsigned char *at, *other; /* other: a second mapping of the memfd */
	int fd, memfd;
	uint64_t mode, features;
	volatile int *faults; /* that a handler has answered */
};

enum { MISSING, LOCKED, WP, ASYNC, SHMEM, MINOR, POISONED, PASSED, USER, MODES, STUCK, N_AREAS };

static struct area area[N_AREAS];

static int has(uint64_t feature)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0)
		zdtm_skip("userfaultfd: %s", strerror(errno));
	zdtm_must(!ioctl(fd, UFFDIO_API, &api));
	close(fd);
	return (api.features & feature) == feature;
}

static int user_only; /* UFFD_USER_MODE_ONLY */

static void make(struct area *a, const char *name, uint64_t mode, uint64_t features, int memfd)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };

	a->name = name;
	a->mode = mode;
	a->features = features;
	a->memfd = memfd;
	a->fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | user_only);
	zdtm_must(a->fd >= 0 && !ioctl(a->fd, UFFDIO_API, &api));
	a->at = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, memfd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED,
	             memfd, 0);
	zdtm_must(a->at != MAP_FAILED);
}

static void watch(struct area *a)
{
	struct uffdio_register reg = { .range = { (uintptr_t)a->at, PAGES * PAGE }, .mode = a->mode };

	zdtm_must(!ioctl(a->fd, UFFDIO_REGISTER, &reg));
}

static struct uffdio_range page(const struct area *a, size_t i)
{
	return (struct uffdio_range) { (uintptr_t)(a->at + i * PAGE), PAGE };
}

static int copy(const struct area *a, size_t i, int byte)
{
	unsigned char buf[PAGE];
	struct uffdio_copy c = { .dst = (uintptr_t)(a->at + i * PAGE), .src = (uintptr_t)buf, .len = PAGE };

	memset(buf, byte, PAGE);
	return ioctl(a->fd, UFFDIO_COPY, &c);
}

/* Pages 0 to 15 have bytes, 16 to 23 zeros, the others are missing. */
static void bring_some(struct area *a)
{
	for (size_t i = 0; i < 16; i++)
		zdtm_must(!copy(a, i, (int)i + 1));
	for (size_t i = 16; i < 24; i++)
		zdtm_must(!copy(a, i, 0));
}

static void answer(struct area *a)
{
	struct uffd_msg m;
	size_t i;

	if (read(a->fd, &m, sizeof(m)) != sizeof(m) || m.event != UFFD_EVENT_PAGEFAULT)
		return;
	i = (m.arg.pagefault.address - (uintptr_t)a->at) / PAGE;
	++*a->faults;
	if (m.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) {
		struct uffdio_writeprotect wp = { .range = page(a, i) };

		zdtm_check(!ioctl(a->fd, UFFDIO_WRITEPROTECT, &wp), "%s: WRITEPROTECT: %s", a->name, strerror(errno));
	} else if (m.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_MINOR) {
		struct uffdio_continue c = { .range = page(a, i) };

		zdtm_check(!ioctl(a->fd, UFFDIO_CONTINUE, &c), "%s: CONTINUE: %s", a->name, strerror(errno));
	} else {
		zdtm_check(!copy(a, i, (int)i + 101), "%s: COPY to page %zu: %s", a->name, i, strerror(errno));
	}
}

static void handle(int first, int last)
{
	for (;;) {
		struct pollfd p[N_AREAS];
		int n = 0, of[N_AREAS];

		for (int i = first; i <= last; i++) {
			if (!area[i].at || area[i].fd < 0 || (i == STUCK && access(zdtm_path("verify"), F_OK)))
				continue;
			of[n] = i;
			p[n++] = (struct pollfd) { area[i].fd, POLLIN, 0 };
		}
		poll(p, (nfds_t)n, 20);
		for (int i = 0; i < n; i++)
			if (p[i].revents & POLLIN)
				answer(&area[of[i]]);
	}
}

static void *handler(void *arg)
{
	handle(0, STUCK);
	return NULL;
}

static int wait_in_fault;

static void *stuck(void *arg)
{
	wait_in_fault = 1;
	wait_in_fault = 1 + area[STUCK].at[40 * PAGE];
	return NULL;
}

static pid_t pass_to_child(void)
{
	union {
		struct cmsghdr h;
		char buf[CMSG_SPACE(sizeof(int))];
	} c = { .h = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	char buf[sizeof(area->at)];
	struct iovec io = { buf, sizeof(buf) };
	struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c) };
	int sk[2];
	pid_t pid;

	zdtm_must(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sk));
	pid = fork();
	zdtm_must(pid >= 0);
	if (!pid) {
		struct area *a = &area[PASSED];

		zdtm_must(recvmsg(sk[1], &m, 0) == sizeof(buf));
		memcpy(&a->fd, CMSG_DATA(&c.h), sizeof(int));
		memcpy(&a->at, buf, sizeof(a->at));
		handle(PASSED, PASSED);
	}
	make(&area[PASSED], "passed to a child", UFFDIO_REGISTER_MODE_MISSING, 0, -1);
	watch(&area[PASSED]);
	bring_some(&area[PASSED]);
	memcpy(CMSG_DATA(&c.h), &area[PASSED].fd, sizeof(int));
	memcpy(buf, &area[PASSED].at, sizeof(buf));
	zdtm_must(sendmsg(sk[0], &m, 0) == sizeof(buf));
	close(area[PASSED].fd);
	area[PASSED].fd = -1;
	close(sk[0]);
	close(sk[1]);
	return pid;
}

static uint64_t written(const struct area *a)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry[PAGES], bits = 0;

	zdtm_must(fd >= 0 && pread(fd, entry, sizeof(entry), (off_t)((uintptr_t)a->at / PAGE * 8)) == sizeof(entry));
	close(fd);
	for (size_t i = 0; i < PAGES; i++)
		bits |= (uint64_t) !(entry[i] >> 57 & 1) << i;
	return bits;
}

static void check_missing(struct area *a)
{
	int before = *a->faults;

	for (size_t i = 0; i < 24; i++)
		zdtm_check(a->at[i * PAGE + 9] == (i < 16 ? i + 1 : 0), "%s: page %zu has %d", a->name, i,
		           a->at[i * PAGE + 9]);
	zdtm_check(*a->faults == before, "%s: %d faults of pages that were there", a->name, *a->faults - before);
	for (size_t i = 24; i < PAGES; i++)
		zdtm_check(a->at[i * PAGE + 9] == i + 101, "%s: page %zu has %d", a->name, i, a->at[i * PAGE + 9]);
	zdtm_check(*a->faults == before + PAGES - 24, "%s: %d faults instead of %zu", a->name, *a->faults - before,
	           PAGES - 24UL);
}

static void check_wp(struct area *a)
{
	int before = *a->faults;

	for (size_t i = 0; i < PAGES; i++) {
		zdtm_check(a->at[i * PAGE] == i + 1, "%s: page %zu has %d", a->name, i, a->at[i * PAGE]);
		a->at[i * PAGE] = 7;
		zdtm_check(*a->faults - before == (int)(i / 3) + 1, "%s: %d faults after writing to page %zu", a->name,
		           *a->faults - before, i);
	}
}

static void check_minor(struct area *a)
{
	int before = *a->faults;

	for (size_t i = 0; i < PAGES; i++)
		zdtm_check(a->at[i * PAGE] == i + 1, "%s: page %zu has %d", a->name, i, a->at[i * PAGE]);
	zdtm_check(*a->faults - before == PAGES - 16, "%s: %d faults", a->name, *a->faults - before);
}

/* The kernel reads a missing page: it waits for the handler, or fails. */
static void check_kernel(struct area *a, ssize_t want)
{
	int before = *a->faults, p[2];
	ssize_t n;

	zdtm_must(!pipe(p));
	n = write(p[1], a->at + 60 * PAGE, 1);
	zdtm_check(n == want && (n > 0 || errno == EFAULT), "%s: write of a missing page: %zd, %s", a->name, n,
	           strerror(errno));
	zdtm_check(*a->faults - before == (want > 0), "%s: %d faults of the kernel", a->name, *a->faults - before);
	zdtm_must(!madvise(a->at + 60 * PAGE, PAGE, MADV_DONTNEED));
	close(p[0]);
	close(p[1]);
}

static void segv(int sig)
{
	zdtm_pass(); /* the last thing: there is no way back into the page */
}

static void protect(struct area *a, size_t step)
{
	for (size_t i = 0; i < PAGES; i++)
		a->at[i * PAGE] = (unsigned char)(i + 1);
	watch(a);
	for (size_t i = 0; i < PAGES; i += step) {
		struct uffdio_writeprotect wp = { .range = page(a, i), .mode = UFFDIO_WRITEPROTECT_MODE_WP };

		zdtm_must(!ioctl(a->fd, UFFDIO_WRITEPROTECT, &wp));
	}
}

static void set_up_memfds(void)
{
	struct area *a = &area[SHMEM];

	make(a, "memfd", UFFDIO_REGISTER_MODE_MISSING, 0, memfd_create("missing", MFD_CLOEXEC));
	zdtm_must(!ftruncate(a->memfd, PAGES * PAGE));
	watch(a);
	bring_some(a);
	if (!has(UFFD_FEATURE_MINOR_SHMEM))
		return;
	a = &area[MINOR];
	make(a, "minor", UFFDIO_REGISTER_MODE_MINOR, 0, memfd_create("minor", MFD_CLOEXEC));
	zdtm_must(!ftruncate(a->memfd, PAGES * PAGE));
	watch(a);
	a->other = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, a->memfd, 0);
	for (size_t i = 0; i < PAGES; i++)
		memset(a->other + i * PAGE, (int)i + 1, PAGE);
	for (size_t i = 0; i < 16; i++) {
		struct uffdio_continue c = { .range = page(a, i) };

		zdtm_must(!ioctl(a->fd, UFFDIO_CONTINUE, &c));
	}
}

/* One descriptor, two modes that meet; protected pages on both sides of where a mapping is cut by mprotect(2). */
static void set_up_modes(void)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_writeprotect wp = { .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	struct area *a = &area[MODES];

	make(a, "two modes", UFFDIO_REGISTER_MODE_WP, UFFD_FEATURE_PAGEFAULT_FLAG_WP, -1);
	memset(a->at, 'm', PAGES * PAGE);
	reg.range = (struct uffdio_range) { (uintptr_t)a->at, 32 * PAGE };
	zdtm_must(!ioctl(a->fd, UFFDIO_REGISTER, &reg));
	reg.mode = UFFDIO_REGISTER_MODE_WP;
	reg.range = (struct uffdio_range) { (uintptr_t)(a->at + 32 * PAGE), 32 * PAGE };
	zdtm_must(!ioctl(a->fd, UFFDIO_REGISTER, &reg));
	wp.range = (struct uffdio_range) { (uintptr_t)(a->at + 40 * PAGE), 10 * PAGE };
	zdtm_must(!ioctl(a->fd, UFFDIO_WRITEPROTECT, &wp));
	zdtm_must(!mprotect(a->at + 44 * PAGE, 4 * PAGE, PROT_READ));
}

static void set_up(void)
{
	make(&area[MISSING], "missing", UFFDIO_REGISTER_MODE_MISSING, UFFD_FEATURE_THREAD_ID, -1);
	watch(&area[MISSING]);
	bring_some(&area[MISSING]);
	make(&area[LOCKED], "locked", UFFDIO_REGISTER_MODE_MISSING, 0, -1);
	if (mlock(area[LOCKED].at, PAGES * PAGE))
		area[LOCKED].at = NULL;
	else if (madvise(area[LOCKED].at, PAGES * PAGE, DONTNEED_LOCKED))
		area[LOCKED].at = NULL;
	else
		watch(&area[LOCKED]);
	if (area[LOCKED].at)
		bring_some(&area[LOCKED]);
	make(&area[WP], "write-protected", UFFDIO_REGISTER_MODE_WP, UFFD_FEATURE_PAGEFAULT_FLAG_WP, -1);
	protect(&area[WP], 3);
	if (has(WP_ASYNC)) {
		make(&area[ASYNC], "asynchronous", UFFDIO_REGISTER_MODE_WP, WP_ASYNC | WP_UNPOPULATED, -1);
		protect(&area[ASYNC], 5);
		/* A mark without a page. */
		zdtm_must(!madvise(area[ASYNC].at + 5 * PAGE, PAGE, MADV_DONTNEED));
		zdtm_must(!ioctl(area[ASYNC].fd, UFFDIO_WRITEPROTECT,
		                 &(struct uffdio_writeprotect) { page(&area[ASYNC], 5), 1 }));
	}
	set_up_modes();
	set_up_memfds();
	if (has(POISON)) {
		struct poison poison;

		make(&area[POISONED], "poisoned", UFFDIO_REGISTER_MODE_MISSING, POISON, -1);
		watch(&area[POISONED]);
		bring_some(&area[POISONED]);
		poison = (struct poison) { .range = page(&area[POISONED], 30) };
		zdtm_must(!ioctl(area[POISONED].fd, IOC_POISON, &poison));
	}
	user_only = UFFD_USER_MODE_ONLY;
	make(&area[USER], "for faults of the program alone", UFFDIO_REGISTER_MODE_MISSING, 0, -1);
	user_only = 0;
	watch(&area[USER]);
	bring_some(&area[USER]);
	make(&area[STUCK], "stuck", UFFDIO_REGISTER_MODE_MISSING, 0, -1);
	watch(&area[STUCK]);
}

int main(void)
{
	pthread_t threads[2];
	int *faults;
	uint64_t before, after, modes;
	pid_t child;

	faults = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	zdtm_must(faults != MAP_FAILED);
	for (int i = 0; i < N_AREAS; i++)
		area[i].faults = &faults[i];
	has(0);
	child = pass_to_child();
	set_up();
	zdtm_must(!pthread_create(&threads[0], NULL, handler, NULL) && !pthread_create(&threads[1], NULL, stuck, NULL));
	before = written(&area[ASYNC]);
	modes = written(&area[MODES]);
	zdtm_must(modes == ~(0x3ffULL << 40));
	zdtm_ready();
	zdtm_wait();
	after = written(&area[ASYNC]);
	zdtm_check(before == after, "asynchronous: written pages are %llx instead of %llx", (unsigned long long)after,
	           (unsigned long long)before);
	after = written(&area[MODES]);
	zdtm_check(modes == after, "two modes: written pages are %llx instead of %llx", (unsigned long long)after,
	           (unsigned long long)modes);
	check_kernel(&area[MISSING], 1);
	check_kernel(&area[USER], 1); /* it is not shown, and another may be made here */
	check_missing(&area[MISSING]);
	check_missing(&area[USER]);
	if (area[LOCKED].at)
		check_missing(&area[LOCKED]);
	check_wp(&area[WP]);
	check_missing(&area[SHMEM]);
	if (area[MINOR].at)
		check_minor(&area[MINOR]);
	check_missing(&area[PASSED]);
	zdtm_must(!pthread_join(threads[1], NULL));
	zdtm_check(wait_in_fault == 1 + 141, "the thread in a fault got %d", wait_in_fault - 1);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	if (!area[POISONED].at)
		zdtm_pass();
	signal(SIGBUS, segv);
	zdtm_check(0, "the poisoned page has %d", area[POISONED].at[30 * PAGE]);
	return 1;
}
