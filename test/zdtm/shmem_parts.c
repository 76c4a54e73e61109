/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared memory without a file, of which mappings show a part, or more than there is: grown and shrunk by mremap(),
 * partly unmapped, other parts in parent and child, two views with different offsets, protections that differ and are
 * made equal again. Each is one mapping afterwards as before, what lies beyond the object is SIGBUS, and what no
 * mapping shows is found again when one is grown. Memory without reserve is larger than the machine's.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 * zdtm: restores 2
 */
#include <setjmp.h>
#include <sys/mman.h>

#include "zdtm.h"

#define PAGE 4096UL
#define GAP  (64 * PAGE)

static sigjmp_buf out;

static void on_bus(int sig)
{
	siglongjmp(out, 1);
}

/* Behind it, room to grow. */
static char *make(size_t pages)
{
	char *at = mmap(NULL, GAP, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *p;

	zdtm_must(at != MAP_FAILED && !munmap(at, GAP));
	at += GAP / 4 / PAGE * PAGE;
	p = mmap(at, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	zdtm_must(p == at);
	for (size_t i = 0; i < pages; i++)
		p[i * PAGE] = (char)(i + 1);
	return p;
}

static int n_mappings(const char *p, size_t pages)
{
	unsigned long start, end, from = (unsigned long)p, to = from + pages * PAGE;
	FILE *f = fopen("/proc/self/maps", "r");
	char line[600];
	int n = 0;

	zdtm_must(f);
	while (fgets(line, sizeof(line), f))
		n += sscanf(line, "%lx-%lx", &start, &end) == 2 && start < to && end > from;
	fclose(f);
	return n;
}

static int faults(const char *p)
{
	if (sigsetjmp(out, 1))
		return 1;
	return *(const volatile char *)p, 0;
}

static void *grow(char *p, size_t from, size_t to)
{
	return mremap(p, from * PAGE, to * PAGE, 0);
}

static char *grown, *shrunk, *cut, *inner, *twin_a, *twin_b, *child_grows, *child_cuts, *parent_cuts, *read_only, *huge;

static size_t huge_size;

static void set_up(void)
{
	grown = make(4);
	zdtm_must(grow(grown, 4, 8) == grown);
	shrunk = make(8);
	zdtm_must(!munmap(shrunk + 3 * PAGE, 5 * PAGE));
	cut = make(8);
	zdtm_must(!munmap(cut, 3 * PAGE));
	inner = make(8);
	zdtm_must(!munmap(inner, 2 * PAGE) && !munmap(inner + 6 * PAGE, 2 * PAGE));
	twin_a = make(8);
	twin_b = mremap(twin_a, 0, 8 * PAGE, MREMAP_MAYMOVE);
	zdtm_must(twin_b != MAP_FAILED && !munmap(twin_b, 5 * PAGE) && !munmap(twin_a + 2 * PAGE, 6 * PAGE));
	child_grows = make(4);
	child_cuts = make(8);
	parent_cuts = make(8);
	read_only = make(8);
	zdtm_must(!mprotect(read_only, 4 * PAGE, PROT_READ));
	huge_size = 2 * (size_t)sysconf(_SC_PHYS_PAGES) * PAGE;
	huge = mmap(NULL, huge_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	zdtm_must(huge != MAP_FAILED || errno == ENOMEM); /* vm.overcommit_memory is 2 */
	if (huge != MAP_FAILED)
		huge[huge_size - 1] = huge[huge_size / 2] = 'h';
}

static void check_data(const char *what, const char *p, size_t first, size_t n)
{
	for (size_t i = first; i < first + n; i++)
		if (!zdtm_check(!faults(p + i * PAGE) && p[i * PAGE] == (char)(i + 1), "%s: page %zu", what, i))
			return;
}

static void check_one(const char *what, const char *p, size_t first, size_t n)
{
	int now = n_mappings(p + first * PAGE, n);

	zdtm_check(now == 1, "%s: %d mappings", what, now);
}

static void check_common(void)
{
	check_one("grown", grown, 0, 8);
	check_data("grown", grown, 0, 4);
	zdtm_check(faults(grown + 4 * PAGE) && faults(grown + 7 * PAGE), "grown: its end can be read");
	check_one("shrunk", shrunk, 0, 3);
	check_data("shrunk", shrunk, 0, 3);
	check_one("cut", cut, 3, 5);
	check_data("cut", cut, 3, 5);
	check_one("inner", inner, 2, 4);
	check_data("inner", inner, 2, 4);
	check_data("twin a", twin_a, 0, 2);
	check_data("twin b", twin_b, 5, 3);
	zdtm_check(huge == MAP_FAILED || (huge[huge_size - 1] == 'h' && huge[huge_size / 2] == 'h'), "huge: its data");
}

static void check_grow_again(void)
{
	zdtm_check(grow(shrunk, 3, 8) == shrunk, "shrunk: mremap: %s", strerror(errno));
	check_one("shrunk, again large", shrunk, 0, 8);
	check_data("shrunk, again large", shrunk, 0, 8);
	zdtm_check(grow(inner + 2 * PAGE, 4, 6) == inner + 2 * PAGE, "inner: mremap: %s", strerror(errno));
	check_data("inner, again large", inner, 2, 6);
	zdtm_check(!mprotect(read_only, 4 * PAGE, PROT_READ | PROT_WRITE), "mprotect");
	check_one("read-only, written again", read_only, 0, 8);
	check_data("read-only, written again", read_only, 0, 8);
}

static int child(void)
{
	zdtm_must(grow(child_grows, 4, 12) == child_grows);
	zdtm_must(!munmap(child_cuts, 2 * PAGE) && !munmap(child_cuts + 6 * PAGE, 2 * PAGE));
	zdtm_touch("child");
	zdtm_wait();
	check_common();
	check_one("child grows", child_grows, 0, 12);
	check_data("child grows", child_grows, 0, 4);
	zdtm_check(faults(child_grows + 4 * PAGE), "child grows: its end can be read");
	check_one("child cuts", child_cuts, 2, 4);
	check_data("child cuts", child_cuts, 2, 4);
	check_one("parent cuts", parent_cuts, 0, 8);
	check_data("parent cuts", parent_cuts, 0, 8);
	child_grows[PAGE + 1] = parent_cuts[3 * PAGE + 1] = child_cuts[3 * PAGE + 1] = 'c';
	check_grow_again();
	return 0;
}

int main(void)
{
	pid_t pid;
	int status;

	signal(SIGBUS, on_bus);
	set_up();
	pid = fork();
	zdtm_must(pid >= 0);
	if (!pid)
		_exit(child());
	zdtm_must(!munmap(parent_cuts, 2 * PAGE) && !munmap(parent_cuts + 5 * PAGE, 3 * PAGE));
	while (access(zdtm_path("child"), F_OK))
		zdtm_nap();
	unlink(zdtm_path("child"));
	zdtm_ready();
	zdtm_wait();
	zdtm_check(waitpid(pid, &status, 0) == pid && !status, "the child: %x", status);
	check_common();
	check_one("child grows, in the parent", child_grows, 0, 4);
	check_one("child cuts, in the parent", child_cuts, 0, 8);
	check_data("child cuts, in the parent", child_cuts, 0, 8);
	check_one("parent cuts, in the parent", parent_cuts, 2, 3);
	check_data("parent cuts, in the parent", parent_cuts, 2, 3);
	zdtm_check(child_grows[PAGE + 1] == 'c' && parent_cuts[3 * PAGE + 1] == 'c' && child_cuts[3 * PAGE + 1] == 'c',
	           "parent and child have other memory");
	check_grow_again();
	zdtm_pass();
}
