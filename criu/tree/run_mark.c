/* SPDX-License-Identifier: GPL-2.0-only */
#include "tree/run_mark.h"

#include <ctype.h>

#include "arch_page.h"
#include "image/image_change.h"
#include "inventory.pb-c.h"
#include "lib/log.h"
#include "pagemap.pb-c.h"

#define DIGITS 12 /* of the id, which is random: 48 bits */
#define MARK   (UINT64_C(1) << (4 * DIGITS))

uint64_t run_mark(const char *run_id)
{
	uint64_t bits = 0;
	int n = 0;

	for (; run_id && *run_id && n < DIGITS; run_id++) {
		if (*run_id == '-')
			continue;
		if (!isxdigit((unsigned char)*run_id))
			return 0;
		bits =
		    bits << 4 | (uint64_t)(isdigit((unsigned char)*run_id) ? *run_id - '0' : (*run_id | 32) - 'a' + 10);
		n++;
	}
	return n == DIGITS ? MARK | bits : 0;
}

bool run_mark_is(uint64_t number)
{
	return number >> (4 * DIGITS) == 1;
}

uint64_t run_mark_address(uint64_t prev)
{
	return prev * PAGE_SIZE;
}

uint64_t run_mark_at(uint64_t address)
{
	return run_mark_is(address / PAGE_SIZE) ? address / PAGE_SIZE : 0;
}

/* -ENOENT: a file that has the name is none of this checkpoint's. */
static int read_mark(struct image_dir *dir, struct arena *a, uint64_t mark, uint64_t *prevp)
{
	_cleanup_image_ struct image *img = NULL;
	PagemapHead *head;
	PagemapEntry *e;
	int err = image_open(dir, IMG_SHMEM_PAGEMAP, mark, &img);

	err = err ?: image_read(img, &pagemap_head__descriptor, a, &head);
	if (err > 0)
		err = image_read(img, &pagemap_entry__descriptor, a, &e);
	if (err > 0)
		*prevp = run_mark_at(e->vaddr);
	return MIN(err, 0);
}

/* Both: *markp, *prevp. */
static int read_marks(struct image_dir *dir, struct arena *a, uint64_t *markp, uint64_t *prevp)
{
	InventoryEntry *inventory;
	uint64_t *numbers = NULL, prev;
	size_t n = 0;
	int err = image_read_one(dir, IMG_INVENTORY, 0, a, &inventory);

	*markp = err ? 0 : run_mark(inventory->dump_criu_run_id);
	*prevp = err ? 0 : run_mark(inventory->prev_run_id);
	if (err && err != -ENOENT)
		return err;
	err = image_change_numbers(dir, IMG_SHMEM_PAGEMAP, a, &numbers, &n);
	for (size_t i = 0; !err && i < n; i++) {
		prev = 0;
		err = run_mark_is(numbers[i]) ? read_mark(dir, a, numbers[i], &prev) : -ENOENT;
		if (!err && *markp && *markp != numbers[i])
			return log_errno(-ESTALE,
			                 "%s: more than one dump has sent pages to a page server in this directory: "
			                 "whose they are is not known",
			                 image_dir_path(dir));
		*markp = err ? *markp : numbers[i];
		*prevp = prev ?: *prevp;
		err = err == -ENOENT ? 0 : err;
	}
	return err;
}

int run_mark_read(struct image_dir *dir, struct arena *a, uint64_t *markp)
{
	uint64_t prev;

	return read_marks(dir, a, markp, &prev);
}

int run_mark_read_prev(struct image_dir *dir, struct arena *a, uint64_t *prevp)
{
	uint64_t mark;

	return read_marks(dir, a, &mark, prevp);
}
