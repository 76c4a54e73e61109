/* SPDX-License-Identifier: GPL-2.0-only */
/* The parser of /proc/PID/smaps: real lines, odd ones, any bytes, a file in pieces, and our own mappings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "arch_page.h"
#include "lib/arena.h"
#include "proc/proc.h"
#include "proc/proc_maps.h"

struct maps {
	struct proc_map *m;
	size_t n;
};

static int setup(void **state)
{
	*state = arena_new();
	return *state ? 0 : 1;
}

static int teardown(void **state)
{
	arena_free(*state);
	return 0;
}

/* A copy without a zero at its end: AddressSanitizer sees a read behind it. */
static int parse_bytes(struct arena *a, const char *text, size_t len, struct maps *maps)
{
	char *copy = malloc(len ?: 1);
	int err;

	memcpy(copy, text, len);
	err = proc_parse_maps(copy, len, a, &maps->m, &maps->n);
	free(copy);
	return err;
}

static int parse(void **state, const char *text, struct maps *maps)
{
	*maps = (struct maps) { 0 };
	return parse_bytes(*state, text, strlen(text), maps);
}

static const char two[] =
    "00400000-0041f000 r--p 00001000 fe:00 395049983                          /a b\\012c (deleted)\n"
    "Size:                124 kB\n"
    "AnonHugePages:      2048 kB\n"
    "ProtectionKey:         3\n"
    "VmFlags: rd mr mw me lo zz hg \n"
    "7f0000000000-7f0000001000 -wxs 00000000 00:01 7                          \n"
    "VmFlags: mw gd io dd\n";

static void test_fields(void **state)
{
	struct maps maps;

	assert_int_equal(parse(state, two, &maps), 0);
	assert_int_equal(maps.n, 2);
	assert_int_equal(maps.m[0].start, 0x400000);
	assert_int_equal(maps.m[0].end, 0x41f000);
	assert_int_equal(maps.m[0].pgoff, 0x1000);
	assert_int_equal(maps.m[0].prot, PROT_READ);
	assert_false(maps.m[0].shared);
	assert_int_equal(maps.m[0].major, 0xfe);
	assert_int_equal(maps.m[0].minor, 0);
	assert_int_equal(maps.m[0].ino, 395049983);
	assert_string_equal(maps.m[0].name, "/a b\nc (deleted)");
	assert_int_equal(maps.m[0].anon_huge, 2 << 20);
	assert_int_equal(maps.m[0].pkey, 3);
	assert_true(maps.m[0].has_flags);
	assert_int_equal(maps.m[0].flags, VMF_mw | VMF_lo | VMF_hg);
	assert_int_equal(maps.m[1].start, 0x7f0000000000);
	assert_int_equal(maps.m[1].prot, PROT_WRITE | PROT_EXEC);
	assert_true(maps.m[1].shared);
	assert_string_equal(maps.m[1].name, "");
	assert_int_equal(maps.m[1].flags, VMF_mw | VMF_gd | VMF_io | VMF_dd);
	assert_int_equal(maps.m[1].anon_huge, 0);
}

static void test_maps_without_attributes(void **state)
{
	struct maps maps;

	assert_int_equal(
	    parse(state, "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]", &maps),
	    0);
	assert_int_equal(maps.n, 1);
	assert_int_equal(maps.m[0].end, 0xffffffffff601000);
	assert_string_equal(maps.m[0].name, "[vsyscall]");
	assert_false(maps.m[0].has_flags);
}

/* Cut between any two lines, the result is the same. */
static void test_pieces(void **state)
{
	for (size_t cut = 0; cut < sizeof(two) - 1; cut++) {
		struct maps maps = { 0 };

		if (cut && two[cut - 1] != '\n')
			continue;
		assert_int_equal(parse_bytes(*state, two, cut, &maps), 0);
		assert_int_equal(parse_bytes(*state, two + cut, sizeof(two) - 1 - cut, &maps), 0);
		assert_int_equal(maps.n, 2);
		assert_int_equal(maps.m[0].flags, VMF_mw | VMF_lo | VMF_hg);
		assert_int_equal(maps.m[1].flags, VMF_mw | VMF_gd | VMF_io | VMF_dd);
	}
}

static void test_odd_lines(void **state)
{
	static const char *const odd[] = {
		"\n",
		"VmFlags: rd\n",                                        /* of no mapping */
		"00400000-0041f000\n",                                  /* ends early */
		"00400000-0041f000 r--p 00000000 fe:00\n",              /* the same */
		"00400000-0041f000 r--p 00000000 fe:00 12x\n",          /* no blank */
		"00400000-0041f000 rwzp 00000000 fe:00 0\n",            /* permissions */
		"00400000-0041f000 r--q 00000000 fe:00 0\n",            /* the same */
		"0041f000-00400000 r--p 00000000 fe:00 0\n",            /* backwards */
		"00400000-00400000 r--p 00000000 fe:00 0\n",            /* empty */
		"00400001-0041f000 r--p 00000000 fe:00 0\n",            /* not at a page */
		"00400000-0041f000 r--p 00000001 fe:00 0\n",            /* the same */
		"1ffffffffffffffff-2ffffffffffffffff r--p 0 fe:00 0\n", /* too large */
		"00400000-0041f000 r--p 00000000 1ffffffff:00 0\n",     /* the same */
		"-00400000-0041f000 r--p 00000000 fe:00 0\n",           /* a sign */
		"00400000-0041f000 r--p 00000000 fe:00 0\nProtectionKey: x\n",
		"00400000-0041f000 r--p 00000000 fe:00 0\nAnonHugePages: 99999999999999999999 kB\n",
		"00400000-0041f000 r--p 00000000 fe:00 0\nNonsense\n",
		"00400000-0041f000 r--p 00000000 fe:00 0\n0041e000-0042f000 r--p 00000000 fe:00 0\n", /* overlap */
	};

	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		struct maps maps;

		if (parse(state, odd[i], &maps) != -EBADMSG)
			fail_msg("taken: %s", odd[i]);
	}
}

static void test_zero_in_name(void **state)
{
	static const char text[] = "00400000-0041f000 r--p 00000000 fe:00 1 /a\0b\n";
	struct maps maps = { 0 };

	assert_int_equal(parse_bytes(*state, text, sizeof(text) - 1, &maps), -EBADMSG);
}

/* Whatever is done to a text, the parser ends with 0 or -EBADMSG and what it gives is in order. */
static void test_any_bytes(void **state)
{
	uint32_t random = 4711;

	for (int round = 0; round < 20000; round++) {
		char text[sizeof(two)];
		struct maps maps = { 0 };
		size_t len;
		int err;

		memcpy(text, two, sizeof(two));
		random = random * 1664525 + 1013904223;
		len = (random >> 8) % sizeof(two);
		for (unsigned i = 0; i < 1 + round % 3U; i++) {
			random = random * 1664525 + 1013904223;
			text[(random >> 8) % sizeof(two)] = (char)(random >> 3);
		}
		err = parse_bytes(*state, text, len, &maps);
		assert_true(err == 0 || err == -EBADMSG);
		for (size_t i = 0; i < maps.n; i++) {
			assert_true(maps.m[i].start < maps.m[i].end);
			assert_true(!i || maps.m[i - 1].end <= maps.m[i].start);
		}
	}
}

/* More than the reader's buffer holds, so that lines are cut by its end. */
static void test_own_smaps(void **state)
{
	const size_t n = 600, size = 2 * n * PAGE_SIZE;
	/* One more page, so that the last mapping is not joined with a neighbour. */
	char *p = mmap(NULL, size + PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct maps maps = { 0 };
	size_t found = 0;
	int fd = proc_open(getpid());

	assert_true(p != MAP_FAILED && fd >= 0);
	assert_int_equal(mprotect(p, size, PROT_READ | PROT_WRITE), 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(mprotect(p + 2 * i * PAGE_SIZE, PAGE_SIZE, PROT_READ), 0);
	assert_int_equal(madvise(p, PAGE_SIZE, MADV_DONTFORK), 0);
	assert_int_equal(proc_read_maps(fd, "smaps", *state, &maps.m, &maps.n), 0);
	for (size_t i = 0; i < maps.n; i++) {
		const struct proc_map *m = &maps.m[i];

		assert_true(m->has_flags);
		if (m->start < (uintptr_t)p || m->end > (uintptr_t)p + size)
			continue;
		found++;
		assert_int_equal(m->end - m->start, PAGE_SIZE);
		assert_int_equal(m->prot, m->start / PAGE_SIZE % 2 == (uintptr_t)p / PAGE_SIZE % 2
		                              ? PROT_READ
		                              : PROT_READ | PROT_WRITE);
		assert_int_equal(!!(m->flags & VMF_dc), m->start == (uintptr_t)p);
	}
	assert_int_equal(found, 2 * n);
	munmap(p, size + PAGE_SIZE);
	close(fd);
}

static void test_no_such_file(void **state)
{
	struct maps maps = { 0 };
	int fd = proc_open(getpid());

	assert_int_equal(proc_read_maps(fd, "no-such-file", *state, &maps.m, &maps.n), -ENOENT);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_fields, setup, teardown),
		cmocka_unit_test_setup_teardown(test_maps_without_attributes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_odd_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_zero_in_name, setup, teardown),
		cmocka_unit_test_setup_teardown(test_any_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_own_smaps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_such_file, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
