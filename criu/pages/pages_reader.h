/* SPDX-License-Identifier: GPL-2.0-only */
/* Pages of one task of a checkpoint, read run by run by somebody else than a restore. */
#ifndef CRIU_PAGES_PAGES_READER_H
#define CRIU_PAGES_PAGES_READER_H

#include "pages/page_ask.h"
#include "pages/pagemap.h"

struct pages_reader;

/*
 * Reads and checks the pagemap of a task, and the size of its pages file. Both live as long as the arena. asker: who
 * is asked for pages that are not in the checkpoint, or for all; NULL: nobody. 0 or a negative errno (logged), as the
 * next one.
 */
int pages_reader_open(struct image_dir *dir, struct arena *a, vpid_t vpid, struct page_asker *asker,
                      struct pages_reader **readerp);

/* The bytes of a run, 1 MiB at most. */
int pages_reader_read(struct pages_reader *reader, const struct page_run *run, uint8_t *buf);

const struct pagemap *pages_reader_map(const struct pages_reader *reader);

#endif
