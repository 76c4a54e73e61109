/* SPDX-License-Identifier: GPL-2.0-only */
#include "pages/pages_reader.h"

#include "arch/arch_vdso.h"
#include "lib/log.h"
#include "pages/page_io.h"
#include "pages/pages_file.h"

/* Runs may be stored with another pagemap's: a source for each. */
struct opened {
	const struct pagemap *map;
	struct page_source *source;
};

struct pages_reader {
	struct arena *arena;
	struct page_asker *asker; /* NULL: all pages are in files here */
	vpid_t vpid;
	struct pagemap *map;
	struct opened *opened;
	size_t n_opened;
};

/* Where they are at the other end is known by the address that they had. */
static void ask_for_all(struct pagemap *map)
{
	for (size_t i = 0; i < map->n_runs; i++) {
		map->runs[i].later = true;
		map->runs[i].stored = map->runs[i].at;
	}
}

/* A restore fills them at once, from files that may be on its side alone. */
static void leave_out_files(struct pagemap *map)
{
	size_t n = 0;

	for (size_t i = 0; i < map->n_runs; i++)
		if (!map->runs[i].in_file)
			map->runs[n++] = map->runs[i];
	map->n_runs = n;
}

int pages_reader_open(struct image_dir *dir, struct arena *a, vpid_t vpid, struct page_asker *asker,
                      struct pages_reader **readerp)
{
	struct pages_reader *reader = arena_new_of(a, struct pages_reader);
	bool all = asker && asker->all;
	int err;

	*reader = (struct pages_reader) { .arena = a, .asker = asker, .vpid = vpid };
	err = (all ? pagemap_read : pagemap_read_chain)(dir, a, IMG_PAGEMAP, (uint64_t)vpid.v, arch_task_size(false),
	                                                &reader->map);
	if (err == -ENOENT && !reader->map)
		return log_errno(err, "pagemap-%d.img: a task that the checkpoint has no memory of", vpid.v);
	*readerp = reader;
	if (!err && reader->map->later && !asker)
		return log_errno(-EOPNOTSUPP,
		                 "%s: some of its pages are not in the checkpoint, but still where it was dumped (dump "
		                 "--lazy-pages): they come with criu lazy-pages --page-server",
		                 reader->map->name);
	if (!err)
		leave_out_files(reader->map);
	if (!err && all)
		ask_for_all(reader->map);
	return err;
}

static int open_source(struct pages_reader *reader, const struct pagemap *map, struct page_source **sourcep)
{
	const struct page_transfer none = { 0 }; /* nothing is listed: the file is read, not mapped */
	struct opened o = { .map = map, .source = pages_file_source(map) };
	int err;

	if (!o.source)
		return log_errno(-ENOMEM, "out of memory for reading %s", map->name);
	err = o.source->ops->open(o.source, &none);
	if (err) {
		o.source->ops->close(o.source);
		return err;
	}
	arena_push(reader->arena, &reader->opened, &reader->n_opened, o);
	*sourcep = o.source;
	return 0;
}

int pages_reader_read(struct pages_reader *reader, const struct page_run *run, uint8_t *buf)
{
	const struct pagemap *map = run->in ?: reader->map;
	struct page_source *source = NULL;
	int err = 0;

	if (run->later)
		return page_ask(reader->asker, reader->vpid, run->stored, run->n, buf);
	for (size_t i = 0; !source && i < reader->n_opened; i++)
		if (reader->opened[i].map == map)
			source = reader->opened[i].source;
	if (!source)
		err = open_source(reader, map, &source);
	return err ?: source->ops->read(source, run, 1, buf);
}

const struct pagemap *pages_reader_map(const struct pages_reader *reader)
{
	return reader->map;
}
