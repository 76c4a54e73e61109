/* SPDX-License-Identifier: GPL-2.0-only */
/* Pages out of memory into a checkpoint and back; batches; pagemaps that are damaged or tell of pages elsewhere. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "format.h"
#include "pages/page_io.h"
#include "pages/pages.h"

#define AT(page) (w->mem + (page)*PAGE_SIZE)
#define MEM      (40UL << 20)

struct world {
	char path[32];
	struct arena *a;
	struct options opts;
	struct dump d;
	struct restore r;
	struct stats stats;
	struct dump_task td;
	struct task task;
	uint8_t *mem;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	snprintf(w->path, sizeof(w->path), "/tmp/unit-pages.XXXXXX");
	assert_non_null(mkdtemp(w->path));
	w->a = arena_new();
	w->td.proc_fd = open("/proc/self", O_RDONLY | O_CLOEXEC);
	w->task = (struct task) { .pid = getpid(), .vpid = VPID(7), .dump = &w->td };
	w->d = (struct dump) { .arena = w->a, .stats = &w->stats, .opts = &w->opts };
	w->r = (struct restore) { .arena = w->a, .stats = &w->stats, .opts = &w->opts };
	w->mem = mmap(NULL, MEM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(image_dir_create(w->path, &w->d.dir), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	image_dir_discard(w->d.dir);
	image_dir_close(w->d.dir);
	image_dir_close(w->r.dir);
	close(w->td.proc_fd);
	munmap(w->mem, MEM);
	assert_int_equal(rmdir(w->path), 0);
	arena_free(w->a);
	free(w);
	return 0;
}

static struct page_run run_of(const struct world *w, size_t page, size_t n)
{
	return (struct page_run) { .at = (uintptr_t)AT(page), .n = n, .drop_zero = true };
}

static void fill_page(struct world *w, size_t page)
{
	memset(AT(page), (int)(page % 251 + 1), PAGE_SIZE);
	memcpy(AT(page), &page, sizeof(page));
}

static void seal_and_open(struct world *w)
{
	assert_int_equal(image_dir_seal(w->d.dir), 0);
	assert_int_equal(image_dir_open(w->path, false, &w->r.dir), 0);
}

/* ---- there and back ---- */

/* Pages of zeros lie between the others; enough for threads. */
static void task_there_and_back(void **state)
{
	struct world *w = *state;
	size_t n = MEM / PAGE_SIZE, kept = 0;
	struct page_run first = run_of(w, 3, 2000), second = run_of(w, 2100, n - 2100);
	struct pages_dump *pd;
	struct page_transfer *t;
	struct pagemap *map;

	for (size_t i = 0; i < n; i++) {
		if (i % 5 && i % 700 > 300)
			fill_page(w, i);
	}
	for (size_t i = 3; i < n; i++)
		kept += (i < 2003 || i >= 2100) && *(size_t *)(void *)AT(i);
	second.force = true;
	assert_int_equal(pages_dump_start(&w->d, &pd), 0);
	assert_int_equal(pages_dump_task(pd, &w->task, &t), 0);
	assert_int_equal(pages_add(t, &first), 0);
	assert_int_equal(pages_add(t, &second), 0);
	assert_int_equal(pages_dump_end(pd, 0), 0);
	assert_int_equal(w->stats.pages_written, kept);
	seal_and_open(w);
	assert_int_equal(pages_read_task(&w->r, &w->task, &map), 0);
	assert_int_equal(map->n_pages, kept);
	madvise(w->mem, MEM, MADV_DONTNEED);
	assert_int_equal(pages_fill_task(&w->r, map, getpid(), map->runs, map->n_runs), 0);
	assert_int_equal(w->stats.pages_restored, kept);
	for (size_t i = 0; i < n; i++) {
		bool stored = i >= 3 && (i < 2003 || i >= 2100) && i % 5 && i % 700 > 300;

		assert_int_equal(*(size_t *)(void *)AT(i), stored ? i : 0);
		assert_int_equal(AT(i)[PAGE_SIZE - 1], stored ? i % 251 + 1 : 0);
	}
}

/* Some pages are equal, some differ; runs with and without `compare` share a batch. */
static void only_what_differs(void **state)
{
	struct world *w = *state;
	struct page_run run = run_of(w, 0, 8), *parts;
	struct pages_dump *pd;
	struct page_transfer *t;
	struct pagemap *map;

	for (size_t i = 0; i < 8; i++)
		fill_page(w, i);
	assert_int_equal(pages_dump_start(&w->d, &pd), 0);
	assert_int_equal(pages_dump_task(pd, &w->task, &t), 0);
	assert_int_equal(pages_add(t, &run), 0);
	assert_int_equal(pages_dump_end(pd, 0), 0);
	seal_and_open(w);
	assert_int_equal(pages_read_task(&w->r, &w->task, &map), 0);
	assert_int_equal(map->n_runs, 1);
	parts = arena_array(w->a, struct page_run, 3);
	for (size_t i = 0; i < 3; i++)
		parts[i] = page_run_part(map->runs, (uintptr_t)AT(3 * i), (uintptr_t)AT(MIN(3 * i + 3, 8UL)));
	parts[1].compare = true;
	memset(AT(1), 0, 3 * PAGE_SIZE); /* 1 and 2 of the first part, 3 of the second */
	assert_int_equal(pages_fill_task(&w->r, map, getpid(), parts, 3), 0);
	assert_int_equal(w->stats.pages_compared, 3);
	assert_int_equal(w->stats.pages_skipped_cow, 2);
	assert_int_equal(w->stats.pages_restored, 6);
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(*(size_t *)(void *)AT(i), i);
}

/* An object that ends within a page, with a hole. */
static void object_there_and_back(void **state)
{
	struct world *w = *state;
	int fd = memfd_create("unit", MFD_CLOEXEC);
	char path[40], text[] = "the end";
	struct pages_dump *pd;
	struct pagemap *map;
	struct stat st;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_int_equal(pwrite(fd, "begin", 5, 0), 5);
	assert_int_equal(pwrite(fd, text, sizeof(text), 20 * PAGE_SIZE), sizeof(text));
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(pages_dump_start(&w->d, &pd), 0);
	assert_int_equal(pages_dump_object(pd, &w->task, path, st.st_ino + 1, (uint32_t)st.st_ino), -ESTALE);
	assert_int_equal(pages_dump_object(pd, &w->task, path, st.st_ino, (uint32_t)st.st_ino), 0);
	assert_int_equal(pages_dump_end(pd, 0), 0);
	assert_int_equal(w->stats.shpages_written, 2);
	close(fd);
	seal_and_open(w);
	assert_int_equal(pages_read_object(&w->r, st.st_ino + 1, &map), 0);
	assert_int_equal(map->n_runs, 0);
	assert_int_equal(pages_fill_object(&w->r, map, w->mem, MEM), 0);
	assert_int_equal(pages_read_object(&w->r, st.st_ino, &map), 0);
	assert_int_equal(map->n_pages, 2);
	memset(AT(10), 1, PAGE_SIZE);
	assert_int_equal(pages_fill_object(&w->r, map, AT(1), 10 * PAGE_SIZE), 0); /* without its end */
	assert_string_equal((char *)AT(1), "begin");
	assert_int_equal(AT(21)[0], 0);
	assert_int_equal(pages_fill_object(&w->r, map, AT(1), 21 * PAGE_SIZE), 0);
	assert_string_equal((char *)AT(21), text);
	assert_int_equal(AT(10)[0], 1);
	assert_int_equal(pages_read_run(map, &map->runs[1], AT(30)), 0);
	assert_string_equal((char *)AT(30), text);
}

/* After an error nothing is written; nor what cannot be read. */
static void failed_before_and_here(void **state)
{
	struct world *w = *state;
	struct page_run run = run_of(w, 0, 4), nowhere = { .at = PAGE_SIZE, .n = 1 };
	struct pages_dump *pd;
	struct page_transfer *t;

	assert_int_equal(pages_dump_start(&w->d, &pd), 0);
	assert_int_equal(pages_dump_task(pd, &w->task, &t), 0);
	assert_int_equal(pages_add(t, &run), 0);
	assert_int_equal(pages_dump_end(pd, -ENOTSUP), -ENOTSUP);
	assert_int_equal(faccessat(image_dir_fd(w->d.dir), "pages-1.img", F_OK, 0), -1);
	assert_int_equal(pages_dump_start(&w->d, &pd), 0);
	assert_int_equal(pages_dump_task(pd, &w->task, &t), 0);
	assert_int_equal(pages_add(t, &nowhere), 0);
	assert_int_equal(pages_dump_end(pd, 0), -EFAULT);
}

/* ---- batches ---- */

static bool follows(const struct page_source *s, const struct page_run *last, const struct page_run *run)
{
	return last->stored + last->n * PAGE_SIZE == run->stored;
}

static void close_source(struct page_source *s)
{
}

static void batches_are_cut(void **state)
{
	static const struct page_source_ops plain = { .close = close_source };
	static const struct page_source_ops placed = { .follows = follows, .close = close_source };
	struct page_source source = { &plain };
	struct page_transfer t = { .source = &source };
	struct page_run run = { .at = 10 * BATCH_BYTES - 2 * PAGE_SIZE, .n = 2 * BATCH_PAGES };

	/* Two pages up to the multiple, a full batch, the rest. */
	assert_int_equal(pages_add(&t, &run), 0);
	assert_int_equal(t.n_batches, 3);
	assert_int_equal(t.batches[0].n_pages, 2);
	assert_int_equal(t.batches[1].n_pages, BATCH_PAGES);
	assert_int_equal(t.batches[2].n_pages, BATCH_PAGES - 2);
	/* What is alike and follows grows; what is not does not; what is too much for the batch begins a new one. */
	run = (struct page_run) { .at = page_run_end(&run), .n = 1 };
	assert_int_equal(pages_add(&t, &run), 0);
	assert_int_equal(t.n_runs, 3);
	run = (struct page_run) { .at = page_run_end(&run), .n = 1, .cow = true };
	assert_int_equal(pages_add(&t, &run), 0);
	assert_int_equal(t.n_runs, 4);
	assert_int_equal(t.batches[2].n_runs, 2);
	run = (struct page_run) { .at = 20 * BATCH_BYTES, .n = 1 };
	assert_int_equal(pages_add(&t, &run), 0);
	assert_int_equal(t.n_batches, 4);
	page_transfer_free(&t);

	/* Two runs that are apart where they are stored. */
	source.ops = &placed;
	t.source = &source;
	for (size_t i = 0; i < 3; i++) {
		run = (struct page_run) { .at = i * PAGE_SIZE, .n = 1, .stored = i / 2 * BATCH_BYTES + i * PAGE_SIZE };
		assert_int_equal(pages_add(&t, &run), 0);
	}
	assert_int_equal(t.n_batches, 2);
	assert_int_equal(t.batches[0].n_pages, 2);
	page_transfer_free(&t);
}

/* ---- pagemaps ---- */

/* Writes pagemap-7.img with these entries, and reads it. */
static int read_entries(struct world *w, size_t n, const uint64_t (*entries)[3])
{
	PagemapHead head = PAGEMAP_HEAD__INIT;
	struct pagemap *map;
	struct image *img;
	int err;

	head.pages_id = 99;
	assert_int_equal(image_create(w->d.dir, IMG_PAGEMAP, 7, &img), 0);
	assert_int_equal(image_write(img, &head), 0);
	for (size_t i = 0; i < n; i++) {
		PagemapEntry e = PAGEMAP_ENTRY__INIT;

		e.vaddr = entries[i][0];
		e.compat_nr_pages = (uint32_t)entries[i][1];
		e.has_nr_pages = e.has_flags = true;
		e.nr_pages = entries[i][1];
		e.flags = (uint32_t)entries[i][2];
		assert_int_equal(image_write(img, &e), 0);
	}
	assert_int_equal(image_close(img), 0);
	err = pagemap_read(w->d.dir, w->a, IMG_PAGEMAP, 7, 100 * PAGE_SIZE, &map);
	if (!err) {
		/* No pages file, and no link to another checkpoint, which matters only where there are pages. */
		int expected = map->n_pages || map->in_prev ? -ENOENT : map->later ? -EOPNOTSUPP : 0;

		w->r.dir = w->d.dir;
		assert_int_equal(pages_read_task(&w->r, &w->task, &map), expected);
		w->r.dir = NULL;
	}
	return err;
}

static void damaged_pagemaps(void **state)
{
	struct world *w = *state;
	const uint64_t good[][3] = { { PAGE_SIZE, 2, PE_PRESENT }, { 3 * PAGE_SIZE, 97, PE_PRESENT } };
	const uint64_t overlap[][3] = { { PAGE_SIZE, 3, PE_PRESENT }, { 3 * PAGE_SIZE, 1, PE_PRESENT } };
	const uint64_t beyond[][3] = { { PAGE_SIZE, 100, PE_PRESENT } };
	const uint64_t huge[][3] = { { PAGE_SIZE, UINT64_MAX / PAGE_SIZE + 1, PE_PRESENT } };
	const uint64_t crooked[][3] = { { PAGE_SIZE + 1, 1, PE_PRESENT } };
	const uint64_t parent[][3] = { { PAGE_SIZE, 1, PE_PARENT } };
	const uint64_t lazy[][3] = { { PAGE_SIZE, 1, PE_LAZY } };

	assert_int_equal(read_entries(w, 0, NULL), 0);
	assert_int_equal(read_entries(w, 2, good), 0);
	assert_int_equal(read_entries(w, 2, overlap), -EBADMSG);
	assert_int_equal(read_entries(w, 1, beyond), -EBADMSG);
	assert_int_equal(read_entries(w, 1, huge), -EBADMSG);
	assert_int_equal(read_entries(w, 1, crooked), -EBADMSG);
	assert_int_equal(read_entries(w, 1, parent), 0);
	/* who reads it asks somebody else for the pages, or refuses it */
	assert_int_equal(read_entries(w, 1, lazy), 0);
}

/* Nothing is taken for an object without data but one without a pagemap. */
static void objects_without_pages_file(void **state)
{
	struct world *w = *state;
	struct pagemap_writer writer;
	struct page_run run = { .at = 0, .n = 1 };
	PagemapHead head = PAGEMAP_HEAD__INIT;
	struct pagemap *map;

	head.pages_id = 98;
	assert_int_equal(pagemap_create(&writer, w->d.dir, IMG_SHMEM_PAGEMAP, 5, &head, false), 0);
	assert_int_equal(pagemap_close(&writer, pagemap_add(&writer, &run)), 0);
	w->r.dir = w->d.dir;
	assert_int_equal(pages_read_object(&w->r, 5, &map), -ENOENT);
	assert_int_equal(pages_read_object(&w->r, 6, &map), 0);
	w->r.dir = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(task_there_and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(only_what_differs, setup, teardown),
		cmocka_unit_test_setup_teardown(object_there_and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(failed_before_and_here, setup, teardown),
		cmocka_unit_test(batches_are_cut),
		cmocka_unit_test_setup_teardown(damaged_pagemaps, setup, teardown),
		cmocka_unit_test_setup_teardown(objects_without_pages_file, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
