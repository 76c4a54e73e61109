/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For hugetlb.py: memory in huge pages of hugetlb. Private (full, with holes, without a reserve, read-only, without
 * access, in two protections), shared, memfds (mapped shared, private, by a descriptor alone, sealed), files of a
 * mounted hugetlbfs (one of them deleted); a child shares what it has not written, page frames too. argv[1]: a mounted
 * hugetlbfs, or none.
 */
#include <sys/mman.h>

#include "../zdtm.h"
#include "../zdtm_until.h"

#define H     (2UL << 20)
#define FRAME ((1ULL << 55) - 1)

struct piece {
	const char *name;
	unsigned char *p;
	unsigned n;
	int kid_writes; /* the child has written page 0, privately */
	int quiet;      /* cannot be read now: protection to give it */
	char pages[8];  /* x: written; -: a hole; 0: read as zeros */
};

static struct piece pieces[24];
static int n_pieces;
static unsigned char *shared_words;

static unsigned char byte_of(int k, unsigned page, unsigned long off)
{
	return (unsigned char)(k * 31 + page * 7 + off / 4096 + 1);
}

static void fill(int k, unsigned page)
{
	for (unsigned long off = 0; off < H; off += 4096)
		pieces[k].p[page * H + off] = byte_of(k, page, off);
}

static struct piece *add(const char *name, void *p, const char *pages)
{
	struct piece *e = &pieces[n_pieces];

	if (p == MAP_FAILED)
		fprintf(stderr, "%s: %s\n", name, strerror(errno));
	zdtm_must(p != MAP_FAILED && n_pieces < 24);
	e->name = name;
	e->p = p;
	e->n = (unsigned)strlen(pages);
	memcpy(e->pages, pages, e->n);
	for (unsigned i = 0; i < e->n; i++)
		if (pages[i] == 'x')
			fill(n_pieces, i);
	n_pieces++;
	return e;
}

static void *map(unsigned n, int prot, int flags, int fd)
{
	return mmap(NULL, n * H, prot, flags, fd, 0);
}

static int memfd(const char *name, unsigned n)
{
	int fd = memfd_create(name, MFD_HUGETLB | MFD_ALLOW_SEALING);

	zdtm_must(fd >= 0 && !ftruncate(fd, n * H));
	return fd;
}

static uint64_t frame(pid_t pid, void *addr)
{
	char path[64];
	uint64_t e = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || pread(fd, &e, 8, (uintptr_t)addr / 4096 * 8) != 8)
		e = 0;
	close(fd);
	return e & FRAME;
}

static void look(int kid)
{
	for (int k = 0; k < n_pieces; k++) {
		struct piece *e = &pieces[k];

		if (e->quiet)
			zdtm_must(!mprotect(e->p, e->n * H, PROT_READ));
		for (unsigned i = 0; i < e->n; i++) {
			if (e->pages[i] == '-')
				continue;
			for (unsigned long off = 0; off < H; off += 4096) {
				unsigned char want = e->pages[i] == 'x' ? byte_of(k, i, off) : 0;

				if (kid && e->kid_writes && !i && !off)
					want = 0xee;
				if (!zdtm_check(e->p[i * H + off] == want, "%s%s: page %u at %lx is %x, not %x",
				                kid ? "child: " : "", e->name, i, off, e->p[i * H + off], want))
					break;
			}
		}
		if (e->quiet)
			zdtm_must(!mprotect(e->p, e->n * H, PROT_NONE));
	}
}

static void make_files(const char *dir)
{
	char path[200];
	int fd;

	snprintf(path, sizeof(path), "%s/linked", dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	zdtm_must(fd >= 0 && !ftruncate(fd, 2 * H));
	add("a file, shared", map(2, PROT_READ | PROT_WRITE, MAP_SHARED, fd), "x0");
	add("a file, private", map(2, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd), "-x");
	close(fd);
	snprintf(path, sizeof(path), "%s/deleted", dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	zdtm_must(fd >= 0 && !ftruncate(fd, 2 * H));
	add("a deleted file", map(2, PROT_READ | PROT_WRITE, MAP_SHARED, fd), "0x");
	zdtm_must(!unlink(path) && !close(fd));
}

static int number, sealed;

static void make(const char *dir)
{
	int rw = PROT_READ | PROT_WRITE, anon = MAP_ANONYMOUS | MAP_HUGETLB, fd;

	add("private", map(3, rw, MAP_PRIVATE | anon, -1), "x-x")->kid_writes = 1;
	add("private, of zeros", map(2, rw, MAP_PRIVATE | anon, -1), "00");
	add("private, not reserved", map(8, rw, MAP_PRIVATE | MAP_NORESERVE | anon, -1), "-x------");
	zdtm_must(!mprotect(add("read-only", map(1, rw, MAP_PRIVATE | anon, -1), "x")->p, H, PROT_READ));
	add("without access", map(1, rw, MAP_PRIVATE | anon, -1), "x")->quiet = 1;
	zdtm_must(!mprotect(pieces[n_pieces - 1].p, H, PROT_NONE));
	zdtm_must(!mprotect(add("in two parts", map(2, rw, MAP_PRIVATE | anon, -1), "xx")->p, H, PROT_READ));
	shared_words = add("shared", map(2, rw, MAP_SHARED | anon, -1), "x0")->p;
	fd = memfd("both", 2);
	add("a memfd, shared", map(2, rw, MAP_SHARED, fd), "x0");
	add("a memfd, private", map(2, rw, MAP_PRIVATE, fd), "-x");
	close(fd);
	number = memfd("by number", 1);
	add("a memfd, by number", map(1, rw, MAP_SHARED, number), "x");
	zdtm_must(!munmap(pieces[--n_pieces].p, H));
	sealed = memfd("sealed", 1);
	zdtm_must(!fcntl(sealed, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK));
	if (dir)
		make_files(dir);
}

int main(int argc, char **argv)
{
	unsigned char byte;
	uint64_t before;
	int status;
	pid_t kid;

	make(argc > 1 ? argv[1] : NULL);
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		pieces[0].p[0] = 0xee;
		zdtm_up();
		while (access(zdtm_path("look"), F_OK))
			zdtm_nap();
		look(1);
		shared_words[H + 1] = 7; /* seen by the parent: once it is the same memory */
		_exit(0);
	}
	zdtm_until_up(1);
	before = frame(getpid(), pieces[0].p + 2 * H);
	if (before)
		zdtm_must(before == frame(kid, pieces[0].p + 2 * H));
	zdtm_ready();
	zdtm_wait();
	if (before)
		zdtm_check(frame(getpid(), pieces[0].p + 2 * H) == frame(kid, pieces[0].p + 2 * H),
		           "the child has a copy of its own of a page that it shared");
	zdtm_touch("look");
	look(0);
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_check(shared_words[H + 1] == 7, "shared memory is not shared");
	zdtm_check(pread(number, &byte, 1, 4096) == 1 && byte == byte_of(9, 0, 4096), "the memfd's byte: %x", byte);
	zdtm_check(fcntl(sealed, F_GET_SEALS) == (F_SEAL_GROW | F_SEAL_SHRINK), "seals: %x",
	           fcntl(sealed, F_GET_SEALS));
	zdtm_check(ftruncate(sealed, 2 * H) < 0 && errno == EPERM, "the seal does not hold");
	pieces[0].p[H] = 1; /* the hole can be touched */
	zdtm_pass();
}
