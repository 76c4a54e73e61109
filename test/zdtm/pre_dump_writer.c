/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Writes to its memory in every way, without an end, and knows what each page has to hold: stores, read(2),
 * MADV_DONTNEED, MADV_FREE, MADV_PAGEOUT, MADV_COLLAPSE, mremap, munmap and mmap at the same place, mprotect, brk, fork
 * (children that write and end, and one that lives on and does the same), at SIGUSR1 execve; memory with and without
 * huge pages, of a file, and of a memfd.
 *
 * zdtm: frozen
 */
#include <sys/mman.h>
#include <sys/prctl.h>

#include "zdtm.h"
#include "uapi/madvise.h"

#define PAGE      4096UL
#define PIECE     16UL /* pages that are moved or mapped anew */
#define HEAP      512UL
#define FILE_WORD 0x66696c65U

enum { SMALL, HUGE, OF_FILE, OF_MEMFD, ON_HEAP, REGIONS };

static struct region {
	unsigned char *mem;
	size_t pages;
	unsigned *model; /* what each page holds */
	unsigned empty;  /* what a page holds that was given back */
} region[REGIONS];

static uint64_t seed;
static volatile sig_atomic_t begin_anew;
static pid_t kid;
static int loop[2], file;

static uint64_t any(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

static void fill(void *page, unsigned value)
{
	for (size_t k = 0; k < PAGE / 4; k++)
		((unsigned *)page)[k] = value;
}

static void write_page(struct region *r, size_t i)
{
	unsigned value = (unsigned)any(1U << 31) + 1;

	if (any(8)) {
		fill(r->mem + i * PAGE, value);
	} else {
		unsigned char bytes[PAGE];

		fill(bytes, value);
		zdtm_must(write(loop[1], bytes, PAGE) == (ssize_t)PAGE);
		zdtm_must(read(loop[0], r->mem + i * PAGE, PAGE) == (ssize_t)PAGE);
	}
	r->model[i] = value;
}

static void give_back(struct region *r, size_t i, size_t n)
{
	zdtm_must(!madvise(r->mem + i * PAGE, n * PAGE, MADV_DONTNEED));
	for (size_t k = i; k < i + n; k++)
		r->model[k] = r->empty;
}

/* There and back: the mapping is another one afterwards. */
static void move_piece(struct region *r, size_t i)
{
	unsigned char *from = r->mem + i * PAGE, *to;

	to = mmap(NULL, PIECE * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	zdtm_must(to != MAP_FAILED);
	zdtm_must(mremap(from, PIECE * PAGE, PIECE * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	fill(to, r->model[i] = (unsigned)any(1U << 31) + 1);
	zdtm_must(mremap(to, PIECE * PAGE, PIECE * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, from) == from);
}

static void map_anew(struct region *r, size_t i)
{
	unsigned char *at = r->mem + i * PAGE;

	zdtm_must(!munmap(at, PIECE * PAGE));
	zdtm_must(mmap(at, PIECE * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at);
	for (size_t k = i; k < i + PIECE; k++)
		r->model[k] = 0;
}

static void protect(struct region *r, size_t i)
{
	zdtm_must(!mprotect(r->mem + i * PAGE, PIECE * PAGE, any(2) ? PROT_NONE : PROT_READ));
	if (any(2))
		zdtm_nap();
	zdtm_must(!mprotect(r->mem + i * PAGE, PIECE * PAGE, PROT_READ | PROT_WRITE));
}

/* Grown by some pages, or given back to where it began. */
static void change_heap(void)
{
	struct region *r = &region[ON_HEAP];
	size_t n = any(8) ? 1 + any(8) : 0;

	if (r->pages + n > HEAP || !n) {
		zdtm_must(!brk(r->mem));
		r->pages = 0;
		return;
	}
	zdtm_must(!brk(r->mem + (r->pages + n) * PAGE));
	for (; n; n--)
		r->model[r->pages++] = 0;
}

static void check_all(void)
{
	for (struct region *r = region; r < region + REGIONS; r++)
		for (size_t i = 0; i < r->pages; i++) {
			const unsigned *w = (const void *)(r->mem + i * PAGE);

			if (w[0] != r->model[i] || w[PAGE / 8] != r->model[i] || w[PAGE / 4 - 1] != r->model[i])
				zdtm_fail(__LINE__, "pid %d, region %d, page %zu is %x and %x, not %x", getpid(),
				          (int)(r - region), i, w[0], w[PAGE / 4 - 1], r->model[i]);
		}
}

static void work(void);

/* One that writes to its copy and ends; or the one that lives on is another one from now on. */
static void fork_one(int lives)
{
	pid_t pid;

	if (lives && kid) {
		kill(kid, SIGKILL);
		waitpid(kid, NULL, 0);
		kid = 0;
	}
	pid = fork();
	zdtm_must(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		seed += (uint64_t)getpid();
		kid = -1;
		/* Of its own, before it writes: from one that two read, each gets what the other has written. */
		zdtm_must(!close(loop[0]) && !close(loop[1]) && !pipe(loop));
		for (int i = 0; i < 50; i++)
			write_page(&region[SMALL], any(region[SMALL].pages));
		/* Two processes cannot know what the other has written. */
		region[OF_MEMFD].pages = 0;
		if (lives)
			work();
		_exit(0);
	}
	if (lives)
		kid = pid;
	else
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
}

static void act_on(struct region *r)
{
	size_t i = any(r->pages), piece = r->pages < PIECE ? 0 : any(r->pages / PIECE) * PIECE;
	int moves = r == &region[SMALL];

	switch (any(100)) {
	case 0 ... 3:
		if (r != &region[OF_MEMFD])
			give_back(r, i, 1 + any(r->pages - i < 8 ? r->pages - i : 8));
		break;
	case 4:
		if (moves)
			madvise(r->mem + i * PAGE, PAGE, MADV_FREE);
		write_page(r, i);
		break;
	case 5:
		if (moves)
			move_piece(r, piece);
		break;
	case 6:
		if (moves)
			map_anew(r, piece);
		break;
	case 7:
		if (r->pages > PIECE && !any(8))
			protect(r, piece);
		break;
	case 8:
		madvise(r->mem + piece * PAGE, PAGE, MADV_PAGEOUT);
		break;
	default:
		write_page(r, i);
	}
}

static void anew(int sig)
{
	(void)sig;
	begin_anew = 1;
}

static void work(void)
{
	for (unsigned n = 1; access(zdtm_path("verify"), F_OK); n++) {
		if (begin_anew)
			execl("/proc/self/exe", "pre_dump_writer", "77", NULL);
		for (int k = 0; k < 32; k++) {
			struct region *r = &region[any(REGIONS)];

			if (r->pages)
				act_on(r);
		}
		if (!(n % 8))
			change_heap();
		if (!(n % 64))
			madvise(region[HUGE].mem, region[HUGE].pages * PAGE, any(2) ? MADV_COLLAPSE : MADV_PAGEOUT);
		if (kid >= 0 && !(n % 32))
			fork_one(!any(8));
		nanosleep(&(struct timespec) { .tv_nsec = 300000 }, NULL);
	}
	check_all();
}

static void add_region(int number, size_t pages, void *mem, unsigned empty)
{
	struct region *r = &region[number];

	zdtm_must(mem != MAP_FAILED);
	*r = (struct region) { .mem = mem, .pages = pages, .empty = empty };
	r->model = mmap(NULL, pages * sizeof(*r->model), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	zdtm_must(r->model != MAP_FAILED);
	for (size_t i = 0; i < pages; i++)
		r->model[i] = empty;
}

int main(int argc, char **argv)
{
	size_t file_pages = 128, memfd_pages = 64;
	int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS, memfd = memfd_create("shared", 0);
	unsigned char bytes[PAGE], *huge;
	int status = 0;

	signal(SIGUSR1, anew);
	seed = (argc > 1 ? strtoull(argv[1], NULL, 10) : 1) * 0x9e3779b97f4a7c15U + 1;
	zdtm_must(!pipe(loop));
	file = open("writer.data", O_RDWR | O_CREAT | O_TRUNC, 0600);
	fill(bytes, FILE_WORD);
	for (size_t i = 0; i < file_pages; i++)
		zdtm_must(write(file, bytes, PAGE) == (ssize_t)PAGE);
	zdtm_must(memfd >= 0 && !ftruncate(memfd, (off_t)(memfd_pages * PAGE)));
	add_region(SMALL, 1024, mmap(NULL, 1024 * PAGE, prot, flags, -1, 0), 0);
	huge = mmap(NULL, 2048 * PAGE, prot, flags, -1, 0);
	huge += -(uintptr_t)huge % (2UL << 20);
	madvise(huge, 1024 * PAGE, MADV_HUGEPAGE);
	add_region(HUGE, 1024, huge, 0);
	add_region(OF_FILE, file_pages, mmap(NULL, file_pages * PAGE, prot, MAP_PRIVATE, file, 0), FILE_WORD);
	add_region(OF_MEMFD, memfd_pages, mmap(NULL, memfd_pages * PAGE, prot, MAP_SHARED, memfd, 0), 0);
	region[ON_HEAP].model = mmap(NULL, HEAP * sizeof(unsigned), prot, flags, -1, 0);
	zdtm_must(region[ON_HEAP].model != MAP_FAILED);
	region[ON_HEAP].mem = sbrk(0);
	region[ON_HEAP].mem += -(uintptr_t)region[ON_HEAP].mem % PAGE;
	zdtm_ready();
	work();
	if (kid > 0)
		while (waitpid(kid, &status, 0) < 0 && errno == EINTR)
			;
	zdtm_check(!status, "the child ended with %x", status);
	zdtm_pass();
	return 0;
}
