/* SPDX-License-Identifier: GPL-2.0-only */
/* /proc/PID/maps and smaps: lines of all sorts, and this process's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "core/proc_maps.h"

static int parse(const char *text, struct map_entry *e)
{
	static char line[16384];

	snprintf(line, sizeof(line), "%s", text);
	return parse_map_line(line, strlen(line), e);
}

static void lines(void **state)
{
	struct map_entry e;
	char longest[9000];

	assert_int_equal(
	    parse("7f12e000-7f12f000 r-xs 00003000 fd:0a 1234567                 /lib/a b\\012 (deleted)", &e), 0);
	assert_int_equal(e.start, 0x7f12e000);
	assert_int_equal(e.end, 0x7f12f000);
	assert_int_equal(e.prot, PROT_READ | PROT_EXEC);
	assert_true(e.shared);
	assert_int_equal(e.pgoff, 0x3000);
	assert_int_equal(e.major, 0xfd);
	assert_int_equal(e.minor, 0x0a);
	assert_int_equal(e.ino, 1234567);
	assert_string_equal(e.name, "/lib/a b\\012 (deleted)");
	assert_int_equal(parse("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0    [vsyscall]", &e), 0);
	assert_int_equal(e.prot, PROT_EXEC);
	assert_int_equal(parse("1000-2000 ---p 00000000 00:00 0 ", &e), 0);
	assert_string_equal(e.name, "");
	assert_int_equal(parse("1000-2000 ---p 00000000 00:00 0", &e), 0);
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "1000-2000 rw-p 00000000 00:00 7 /", 33);
	longest[sizeof(longest) - 1] = 0;
	assert_int_equal(parse(longest, &e), 0);
	assert_int_equal(strlen(e.name), sizeof(longest) - 1 - 32);
}

static void odd_lines(void **state)
{
	static const char *const bad[] = { "",
		                           "x",
		                           "1000",
		                           "1000-",
		                           "2000-1000 rw-p 00000000 00:00 0",
		                           "1000-1000 rw-p 00000000 00:00 0",
		                           "1001-2000 rw-p 00000000 00:00 0",
		                           "1000-2000 rw-q 00000000 00:00 0",
		                           "1000-2000 rw-p 00000000 00:00",
		                           "1000-2000 rw-p 00000000 0000 0",
		                           "1000-2000 rw-p 00000000 00:00 x",
		                           "1000-2000 rw-p 00000000 00:00 1x",
		                           "1000-2000 rw",
		                           "11111111111111111000-2000 rw-p 00000000 00:00 0" };
	struct map_entry e;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse(bad[i], &e), -EBADMSG);
}

static void flags(void **state)
{
	assert_int_equal(parse_vm_flags(" rd wr  nr\t"), VMF(rd) | VMF(wr) | VMF(nr));
	assert_int_equal(parse_vm_flags(" rd zz"), VMF(rd) | VMF_UNKNOWN);
	assert_int_equal(parse_vm_flags(" long"), VMF_UNKNOWN);
	assert_int_equal(parse_vm_flags(""), 0);
}

struct found {
	raddr_t want;
	struct map_entry e;
	bool there;
	unsigned n;
};

static int look(void *arg, const struct map_entry *e)
{
	struct found *f = arg;

	f->n++;
	if (e->start <= f->want && f->want < e->end) {
		f->e = *e;
		f->there = true;
	}
	return 0;
}

static void own(void **state)
{
	char *p = mmap(NULL, 8 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct found f = { .want = (uintptr_t)p + PAGE_SIZE }, maps = f;
	_cleanup_close_ int dir = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(p != MAP_FAILED && dir >= 0);
	assert_int_equal(mprotect(p + PAGE_SIZE, PAGE_SIZE, PROT_READ), 0);
	assert_int_equal(madvise(p + PAGE_SIZE, PAGE_SIZE, MADV_DONTDUMP), 0);
	assert_int_equal(mlock(p + PAGE_SIZE, PAGE_SIZE), 0);
	assert_int_equal(proc_each_map(dir, "smaps", look, &f), 0);
	assert_true(f.there && f.e.has_flags);
	assert_int_equal(f.e.start, (uintptr_t)p + PAGE_SIZE);
	assert_int_equal(f.e.end - f.e.start, PAGE_SIZE);
	assert_int_equal(f.e.flags & (VMF(rd) | VMF(wr) | VMF(dd) | VMF(lo) | VMF(ac) | VMF(gd)),
	                 VMF(rd) | VMF(dd) | VMF(lo) | VMF(ac));
	assert_false(f.e.flags & VMF_UNKNOWN);
	assert_int_equal(proc_each_map(dir, "maps", look, &maps), 0);
	assert_true(maps.there && !maps.e.has_flags);
	assert_int_equal(maps.n, f.n);
	assert_int_equal(proc_each_map(dir, "nothing", look, &maps), -ENOENT);
	munmap(p, 8 * PAGE_SIZE);
}

static int file_with(const char *text)
{
	int fd = memfd_create("maps", MFD_CLOEXEC);

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	return fd;
}

static int read_text(const char *text, struct found *f)
{
	_cleanup_close_ int fd = file_with(text);
	char path[64];

	memset(f, 0, sizeof(*f));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return proc_each_map(AT_FDCWD, path, look, f);
}

static void files(void **state)
{
	struct found f;

	assert_int_equal(read_text("", &f), 0);
	assert_int_equal(f.n, 0);
	assert_int_equal(read_text("1000-2000 rw-p 00000000 00:00 0\nNewKey: 7 kB\nVmFlags: rd\n", &f), 0);
	assert_int_equal(f.n, 1);
	assert_int_equal(read_text("NewKey: 7 kB\n", &f), -EBADMSG);
	assert_int_equal(read_text("2000-3000 rw-p 0 00:00 0\n1000-2000 rw-p 0 00:00 0\n", &f), -EBADMSG);
	assert_int_equal(read_text("1000-2000 rw-p 00000000 00:00 0\n2000", &f), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines), cmocka_unit_test(odd_lines), cmocka_unit_test(flags),
		cmocka_unit_test(own),   cmocka_unit_test(files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
