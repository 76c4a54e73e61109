/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Another kernel's vdso: ours, with its functions under each other's names, becomes memory whose functions jump to the
 * real ones. They are called then.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include <cmocka.h>

#include "arch_page.h"
#include "proc/proc_maps.h"
#include "mm/vdso_redirect.h"
#include "unit_skip.h"

#define MAX_FUNCTIONS 64

struct image {
	uint8_t *bytes;
	size_t size;
	Elf64_Sym *syms;
	const char *names;
	Elf64_Sym *functions[MAX_FUNCTIONS]; /* one for each name: some functions have two */
	size_t n;
};

struct state {
	const uint8_t *own;
	size_t size;
	struct image old; /* a copy that can be written and executed */
};

static bool is_function(const Elf64_Sym *sym)
{
	return ELF64_ST_TYPE(sym->st_info) == STT_FUNC && sym->st_shndx;
}

static void read_symbols(struct image *im)
{
	const Elf64_Ehdr *eh = (void *)im->bytes;
	const Elf64_Phdr *ph = (void *)(im->bytes + eh->e_phoff);
	const Elf64_Dyn *dyn = NULL;
	size_t n = 0;

	for (size_t i = 0; i < eh->e_phnum; i++)
		if (ph[i].p_type == PT_DYNAMIC)
			dyn = (void *)(im->bytes + ph[i].p_offset);
	assert_non_null(dyn);
	for (; dyn->d_tag != DT_NULL; dyn++) {
		if (dyn->d_tag == DT_SYMTAB)
			im->syms = (void *)(im->bytes + dyn->d_un.d_ptr);
		if (dyn->d_tag == DT_STRTAB)
			im->names = (void *)(im->bytes + dyn->d_un.d_ptr);
		if (dyn->d_tag == DT_HASH)
			n = ((uint32_t *)(void *)(im->bytes + dyn->d_un.d_ptr))[1];
	}
	if (!n && im->syms) /* no such table: the names follow the symbols */
		n = (size_t)(im->names - (const char *)im->syms) / sizeof(*im->syms);
	assert_true(im->syms && im->names && n);
	for (size_t i = 0; i < n && im->n < MAX_FUNCTIONS; i++)
		if (is_function(&im->syms[i]))
			im->functions[im->n++] = &im->syms[i];
}

static int setup(void **statep)
{
	struct state *s = calloc(1, sizeof(*s));
	struct arena *a = arena_new();
	struct proc_map *m = NULL;
	size_t n = 0;

	*statep = s;
	s->own = (void *)getauxval(AT_SYSINFO_EHDR);
	assert_int_equal(proc_read_maps(AT_FDCWD, "/proc/self/maps", a, &m, &n), 0);
	for (size_t i = 0; i < n; i++)
		if (m[i].start == (uintptr_t)s->own)
			s->size = m[i].end - m[i].start;
	arena_free(a);
	if (!s->own)
		return 0;
	s->old.bytes = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(s->size && s->old.bytes != MAP_FAILED);
	memcpy(s->old.bytes, s->own, s->size);
	s->old.size = s->size;
	read_symbols(&s->old);
	return 0;
}

static int teardown(void **statep)
{
	struct state *s = *statep;

	if (s->own)
		munmap(s->old.bytes, s->size);
	free(s);
	return 0;
}

/* Moves every function to the place of another, under all of its names, so that no offset is the one that it is in
 * ours. */
static void rotate(struct image *im)
{
	uint64_t to[MAX_FUNCTIONS], lowest = UINT64_MAX;

	for (size_t i = 0; i < im->n; i++)
		lowest = MIN(lowest, im->functions[i]->st_value);
	for (size_t i = 0; i < im->n; i++) {
		to[i] = UINT64_MAX;
		for (size_t k = 0; k < im->n; k++)
			if (im->functions[k]->st_value > im->functions[i]->st_value)
				to[i] = MIN(to[i], im->functions[k]->st_value);
		if (to[i] == UINT64_MAX)
			to[i] = lowest;
	}
	for (size_t i = 0; i < im->n; i++)
		im->functions[i]->st_value = to[i];
}

static void *function(const struct image *im, const char *name)
{
	for (size_t i = 0; i < im->n; i++)
		if (!strcmp(im->names + im->functions[i]->st_name, name))
			return im->bytes + im->functions[i]->st_value;
	return NULL;
}

static void call_all(const struct image *im)
{
	int (*gettime)(clockid_t, struct timespec *) = function(im, "__vdso_clock_gettime");
	time_t (*now)(time_t *) = function(im, "__vdso_time");
	long (*cpu)(unsigned *, unsigned *, void *) = function(im, "__vdso_getcpu");
	struct timespec a, b, c;
	unsigned number = ~0U;

	assert_non_null(gettime);
	assert_int_equal(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &a), 0);
	assert_int_equal(gettime(CLOCK_MONOTONIC, &b), 0);
	assert_int_equal(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &c), 0);
	assert_true(a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec <= b.tv_nsec));
	assert_true(b.tv_sec < c.tv_sec || (b.tv_sec == c.tv_sec && b.tv_nsec <= c.tv_nsec));
	if (now)
		assert_in_range(now(NULL), time(NULL) - 1, time(NULL) + 1);
	if (cpu) {
		assert_int_equal(cpu(&number, NULL, NULL), 0);
		assert_in_range(number, 0, 1 << 20);
	}
}

static void redirects(void **statep)
{
	struct state *s = *statep;

	if (!s->own)
		unit_skip("this process has no vdso");
	rotate(&s->old);
	assert_true(vdso_redirect(s->old.bytes, s->size, s->own, s->size, (uintptr_t)s->own) >= (int)s->old.n);
	assert_memory_equal(s->old.bytes, ELFMAG, SELFMAG);
	assert_int_equal(mprotect(s->old.bytes, s->size, PROT_READ | PROT_EXEC), 0);
	call_all(&s->old);
}

/* What the new one does not have becomes a system call. */
static void missing_in_new(void **statep)
{
	struct state *s = *statep;
	_cleanup_free_ uint8_t *new = malloc(s->size);
	struct image im = { .bytes = new, .size = s->size };

	if (!s->own)
		unit_skip("this process has no vdso");
	memcpy(new, s->own, s->size);
	read_symbols(&im);
	for (size_t i = 0; i < im.n; i++)
		im.functions[i]->st_shndx = SHN_UNDEF;
	assert_true(vdso_redirect(s->old.bytes, s->size, new, s->size, (uintptr_t)s->own) > 0);
	assert_int_equal(mprotect(s->old.bytes, s->size, PROT_READ | PROT_EXEC), 0);
	call_all(&s->old);
}

/* Images are foreign: no byte of an old vdso may lead out of it. */
static void damaged(void **statep)
{
	struct state *s = *statep;
	_cleanup_free_ uint8_t *before = malloc(s->size);
	unsigned seed = 1;

	if (!s->own)
		unit_skip("this process has no vdso");
	assert_int_equal(vdso_redirect(s->old.bytes, 16, s->own, s->size, 0x10000), -EBADMSG);
	memset(before, 0, s->size);
	assert_int_equal(vdso_redirect(before, s->size, s->own, s->size, 0x10000), -EBADMSG);
	for (int i = 0; i < 20000; i++) {
		/* The interesting bytes lie in the first kilobytes: header, dynamic section, symbols, names. */
		memcpy(before, s->own, s->size);
		for (int k = 0; k < 3; k++) {
			seed = seed * 1103515245 + 12345;
			before[(seed >> 8) % MIN(s->size, PAGE_SIZE)] = (uint8_t)(seed >> 24);
		}
		vdso_redirect(before, s->size, s->own, s->size, 0x10000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(redirects, setup, teardown),
		cmocka_unit_test_setup_teardown(missing_in_new, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
