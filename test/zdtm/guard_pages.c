/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guard pages (MADV_GUARD_INSTALL): in the stacks of threads, as glibc 2.42 makes them, and in memory of every kind:
 * private, shared, of files, of a memfd, read-only, without access, locked, locked on fault, droppable, the program's
 * own stack, 1000 in one mapping; in children that have their parent's, that took one away, that have one more. Each
 * must give SIGSEGV, pages beside it keep their bytes, and it can be taken away.
 *
 * zdtm: mode snapshot
 * zdtm: flavour ns
 * zdtm: iters 3
 * zdtm: restores 2
 */
#include <pthread.h>
#include <setjmp.h>
#include <sys/mman.h>

#include "zdtm.h"
#include "zdtm_until.h"

#define INSTALL   102
#define REMOVE    103
#define DROPPABLE 8
#define PAGE      4096UL
#define THREADS   4
#define MANY      1000
#define KIDS      4

static sigjmp_buf out;

/* What is looked at: a mapping, and for each page whether it has a guard. */
struct area {
	const char *name;
	unsigned char *p;
	unsigned n;
	int readable, keeps; /* may be read; keeps its bytes */
	unsigned char *guarded;
};

static struct area areas[20];
static int n_areas, threads_up;

static void fault(int sig)
{
	siglongjmp(out, 1);
}

/* Whether a touch of the page faults. */
static int faults(volatile unsigned char *p)
{
	unsigned char byte;

	if (sigsetjmp(out, 1))
		return 1;
	byte = *p;
	(void)byte;
	return 0;
}

static void guard(struct area *a, unsigned first, unsigned n)
{
	zdtm_must(!madvise(a->p + first * PAGE, n * PAGE, INSTALL));
	memset(a->guarded + first, 1, n);
}

/* Every page has its number in it, as far as it can be written. */
static struct area *add(const char *name, void *p, unsigned n, int write, int readable, int keeps)
{
	struct area *a = &areas[n_areas++];

	zdtm_must(p != MAP_FAILED && n_areas <= 20);
	*a = (struct area) { name, p, n, readable, keeps, calloc(n, 1) };
	for (unsigned i = 0; write && i < n; i++)
		*(unsigned *)(a->p + i * PAGE) = i + 1;
	return a;
}

static struct area *anon(const char *name, unsigned n, int flags)
{
	return add(name, mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0), n, 1, 1,
	           flags != DROPPABLE);
}

static void look(const struct area *a)
{
	for (unsigned i = 0; i < a->n; i++) {
		unsigned char *p = a->p + i * PAGE;
		int f = a->readable ? faults(p) : a->guarded[i];

		if (!zdtm_check(f == a->guarded[i], "%s: page %u %s", a->name, i, f ? "faults" : "has no guard"))
			return;
		if (!a->guarded[i] && a->keeps && a->readable &&
		    !zdtm_check(*(unsigned *)p == i + 1, "%s: page %u holds %u", a->name, i, *(unsigned *)p))
			return;
	}
}

/* As pagemap shows them, for what cannot be read. */
static void look_at_marks(const struct area *a)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t e;

	for (unsigned i = 0; i < a->n; i++) {
		zdtm_must(pread(fd, &e, 8, ((uintptr_t)a->p / PAGE + i) * 8) == 8);
		if (!zdtm_check((e >> 58 & 1) == a->guarded[i], "%s: page %u: pagemap has %llx", a->name, i,
		                (unsigned long long)e))
			break;
	}
	close(fd);
}

static void look_all(void)
{
	for (int i = 0; i < n_areas; i++) {
		look(&areas[i]);
		look_at_marks(&areas[i]);
	}
}

static unsigned char *file_map(const char *name, unsigned n, int prot, int flags)
{
	int fd = open(zdtm_path(name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	unsigned char *p;

	zdtm_must(fd >= 0);
	for (unsigned i = 0; i < n; i++) {
		unsigned number = i + 1;

		zdtm_must(pwrite(fd, &number, sizeof(number), i * PAGE) == sizeof(number));
	}
	zdtm_must(!ftruncate(fd, n * PAGE));
	p = mmap(NULL, n * PAGE, prot, flags, fd, 0);
	zdtm_must(p != MAP_FAILED && !close(fd));
	return p;
}

static unsigned char *memfd_map(unsigned n)
{
	int fd = memfd_create("guarded", 0);
	unsigned char *p;

	zdtm_must(fd >= 0 && !ftruncate(fd, n * PAGE));
	p = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	zdtm_must(p != MAP_FAILED && !close(fd));
	return p;
}

/* A thread's stack as glibc 2.42 makes it: one mapping, all of it writable, with guards at its low end. */
static void *on_guarded_stack(void *low)
{
	__atomic_fetch_add(&threads_up, 1, __ATOMIC_SEQ_CST);
	for (;;)
		zdtm_nap();
	return low;
}

static void start_threads(void)
{
	for (int i = 0; i < THREADS; i++) {
		pthread_attr_t attr;
		pthread_t thread;
		struct area *a = &areas[n_areas++];

		*a = (struct area) { "a thread's stack", NULL, 64, 1, 0, calloc(64, 1) };
		a->p = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE,
		            MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
		zdtm_must(a->p != MAP_FAILED);
		guard(a, 0, i + 1);
		zdtm_must(!pthread_attr_init(&attr) && !pthread_attr_setstack(&attr, a->p, 64 * PAGE));
		zdtm_must(!pthread_create(&thread, &attr, on_guarded_stack, a->p));
	}
	while (__atomic_load_n(&threads_up, __ATOMIC_SEQ_CST) < THREADS)
		zdtm_nap();
}

static void make_areas(void)
{
	struct area *a;
	unsigned char *p = mmap(NULL, 10 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	/* Away from others, which one that is mapped in its place could join. */
	zdtm_must(p != MAP_FAILED && !mprotect(p, PAGE, PROT_NONE) && !mprotect(p + 9 * PAGE, PAGE, PROT_NONE));
	guard(add("private", p + PAGE, 8, 1, 1, 1), 3, 2);
	guard(anon("private, whole", 4, MAP_PRIVATE), 0, 4);
	guard(anon("shared", 8, MAP_SHARED), 0, 1);
	a = anon("many", 2 * MANY, MAP_PRIVATE);
	zdtm_must(!madvise(a->p, a->n * PAGE, MADV_NOHUGEPAGE));
	for (unsigned i = 0; i < MANY; i++)
		guard(a, 2 * i, 1);
	guard(add("private file", file_map("a", 8, PROT_READ, MAP_PRIVATE), 8, 0, 1, 1), 7, 1);
	a = add("private file, written", file_map("b", 8, PROT_READ | PROT_WRITE, MAP_PRIVATE), 8, 1, 1, 1);
	guard(a, 2, 3);
	guard(add("shared file", file_map("c", 8, PROT_READ | PROT_WRITE, MAP_SHARED), 8, 1, 1, 1), 1, 1);
	guard(add("shared file, read-only", file_map("d", 8, PROT_READ, MAP_SHARED), 8, 0, 1, 1), 1, 2);
	guard(add("memfd", memfd_map(8), 8, 1, 1, 1), 4, 4);
	a = anon("read-only", 8, MAP_PRIVATE);
	guard(a, 5, 1);
	zdtm_must(!mprotect(a->p, 8 * PAGE, PROT_READ));
	a = anon("without access", 8, MAP_PRIVATE);
	guard(a, 6, 1);
	a->readable = 0;
	zdtm_must(!mprotect(a->p, 8 * PAGE, PROT_NONE));
	a = anon("locked", 8, MAP_PRIVATE);
	guard(a, 2, 1);
	zdtm_must(mlock(a->p, 8 * PAGE) < 0 && errno == ENOMEM); /* at the guard: and yet it is locked */
	a = anon("locked on fault", 8, MAP_PRIVATE);
	guard(a, 3, 1);
	zdtm_must(!syscall(SYS_mlock2, a->p, 8 * PAGE, 1));
	if (mmap(NULL, PAGE, PROT_READ, DROPPABLE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		guard(anon("droppable", 8, DROPPABLE), 2, 2);
}

/* Guards at the low end of the program's own stack, where it does not go, and where criu would put a frame. */
static void guard_stack(void)
{
	unsigned char room[64 * PAGE], *p = (unsigned char *)(((uintptr_t)room + PAGE) & ~(PAGE - 1));
	struct area *a = &areas[n_areas++];

	for (unsigned i = 0; i < 63; i++)
		*(volatile unsigned *)(p + i * PAGE) = i + 1;
	*a = (struct area) { "[stack]", p, 9, 1, 0, calloc(9, 1) };
	guard(a, 0, 4);
	guard(a, 6, 1);
}

/* 0: as its parent; 1: one was taken away, and written; 2: one more; 3: another mapping in place of one with guards */
static void child(int k)
{
	struct area *a = &areas[0];

	for (int i = 0; i < n_areas; i++)
		if (!strcmp(areas[i].name, "droppable")) /* it is wiped on fork, with its guards */
			memset(areas[i].guarded, 0, areas[i].n);
	if (k == 1) {
		zdtm_must(!madvise(a->p + 3 * PAGE, PAGE, REMOVE));
		a->guarded[3] = 0;
		*(unsigned *)(a->p + 3 * PAGE) = 4;
	} else if (k == 2) {
		guard(a, 6, 1);
	} else if (k == 3) {
		zdtm_must(mmap(a->p, a->n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		               0) == a->p);
		memset(a->guarded, 0, a->n);
		for (unsigned i = 0; i < a->n; i++)
			*(unsigned *)(a->p + i * PAGE) = i + 1;
	}
	zdtm_up();
	zdtm_wait();
	look_all();
	_exit(0);
}

int main(void)
{
	pid_t kids[KIDS];
	int status;

	signal(SIGSEGV, fault);
	signal(SIGBUS, fault);
	if (madvise(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), PAGE, INSTALL))
		zdtm_skip("this kernel has no guard pages in shared memory: %s", strerror(errno));
	make_areas();
	start_threads();
	guard_stack();
	look_all();
	for (int k = 0; k < KIDS; k++) {
		zdtm_must((kids[k] = fork()) >= 0);
		if (!kids[k])
			child(k);
	}
	zdtm_until_up(KIDS);
	zdtm_ready();
	zdtm_wait();
	look_all();
	for (int k = 0; k < KIDS; k++)
		zdtm_check(waitpid(kids[k], &status, 0) == kids[k] && !status, "child %d: %x", k, status);
	zdtm_check(!madvise(areas[0].p, 8 * PAGE, REMOVE) && !faults(areas[0].p + 3 * PAGE), "it cannot be taken away");
	zdtm_pass();
}
