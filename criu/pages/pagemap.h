/* SPDX-License-Identifier: GPL-2.0-only */
/* The pagemap format: pagemap-<vpid>.img and pagemap-shmem-<id>.img, which tell what pages a checkpoint has. */
#ifndef CRIU_PAGES_PAGEMAP_H
#define CRIU_PAGES_PAGEMAP_H

#include "image/image.h"
#include "pagemap.pb-c.h"
#include "pages/page_run.h"
#include "pages/page_sums.h"

struct page_regions;

/* A pagemap image that has been read. */
struct pagemap {
	const char *name;                   /* of the image, for messages */
	const char *owner;                  /* whose memory it is, for messages: "pid 812", "shared memory 77" */
	uint32_t pages_id;                  /* for pages/ alone, as the next two: the number of its pages file */
	const struct page_sums *sums;       /* NULL: none are known */
	const struct page_regions *regions; /* NULL: not compressed */
	struct page_run *runs;              /* ascending */
	size_t n_runs;
	uint64_t n_pages;         /* in the pages file */
	uint32_t users;           /* tasks or objects that take from it: pages_done_with() */
	bool knows_cow;           /* an entry says whether its pages are shared with the parent process */
	bool with_parent;         /* an entry says that its pages are the parent process's */
	bool in_file;             /* an entry says that its pages are those of the file that is mapped there */
	bool in_prev;             /* an entry says that its pages are in the checkpoint before this one */
	bool later;               /* an entry says that its pages are not in the checkpoint (dump --lazy-pages) */
	bool gone;                /* some of its pages were punched out of its pages file */
	struct image_dir *dir;    /* where its pages file is */
	struct pagemap **lenders; /* those of earlier checkpoints, whose pages files have some of its pages */
	size_t n_lenders;
};

/*
 * Reads and checks a pagemap image (IMG_PAGEMAP or IMG_SHMEM_PAGEMAP): entries ascend, do not overlap and end below
 * limit. -ENOENT is not logged; the rest is, with the image's name.
 */
int pagemap_read(struct image_dir *dir, struct arena *a, enum image_type type, uint64_t id, uint64_t limit,
                 struct pagemap **mapp);

/*
 * The same, with the size of the pages file; and what it says of pages in earlier checkpoints is looked up in those, as
 * far back as need be: no run is in_prev any more, and none is gone. *mapp is NULL where there is no such image:
 * -ENOENT is not logged then.
 */
int pagemap_read_chain(struct image_dir *dir, struct arena *a, enum image_type type, uint64_t id, uint64_t limit,
                       struct pagemap **mapp);

/*
 * Where the pages of a pagemap are, whatever entries say so: their number and a checksum. What a dump sends to a page
 * server is compared with what a restore finds.
 */
struct pages_sum {
	uint64_t at, n; /* the run that grows */
	uint64_t pages;
	uint32_t crc; /* of the runs before this one */
};

void pages_sum_add(struct pages_sum *s, uint64_t at, uint64_t n);
uint32_t pages_sum_crc(const struct pages_sum *s);

/* A pagemap image that is being written. */
struct pagemap_writer {
	struct image *img;
	PagemapEntry entry; /* grows until the next run does not fit to it */
	bool knows_cow;
};

/* 0 or a negative errno (logged), as all four. pagemap_close() is called after an error too. */
int pagemap_create(struct pagemap_writer *w, struct image_dir *dir, enum image_type type, uint64_t id,
                   const PagemapHead *head, bool knows_cow);
int pagemap_add(struct pagemap_writer *w, const struct page_run *run);
/* The same with flags (PE_*) that somebody else has set. */
int pagemap_add_flagged(struct pagemap_writer *w, const struct page_run *run, uint32_t flags);
int pagemap_close(struct pagemap_writer *w, int err);

#endif
