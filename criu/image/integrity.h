/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The integrity file of a checkpoint: name, size and checksum (zlib's CRC-32) of every file, as text, with a last line
 * that makes damage to the file itself known. Used by image/image_dir.c alone.
 *
 * A pagemap that a page server has written is known by what was sent: the number of its pages, and a checksum of where
 * they are (pages/pagemap.h). The same pages may stand in it in more than one way.
 */
#ifndef CRIU_IMAGE_INTEGRITY_H
#define CRIU_IMAGE_INTEGRITY_H

#include <uthash.h>

#include "common.h"

enum sum_state { SUM_OPEN, SUM_DONE, SUM_FAILED };

struct sum {
	char *name;
	uint64_t size;
	uint32_t crc;
	bool size_only; /* a pages file */
	bool sent;      /* a pagemap of a page server: size is in pages, crc of where they are */
	enum sum_state state;
	unsigned char *kept; /* what integrity_check() has read, `size` bytes; freed with the table */
	UT_hash_handle hh;   /* by name; keeps the order in which they were added */
};

struct sums {
	struct sum *all;
};

/* An empty table; NULL without memory. Freeing NULL is fine. */
struct sums *integrity_new(void);
void integrity_free(struct sums *sums);

/* The entry of that name, or NULL. */
struct sum *integrity_find(const struct sums *sums, const char *name);

/* A new entry, SUM_OPEN; one of that name that was there is reset. NULL without memory. */
struct sum *integrity_add(struct sums *sums, const char *name);

/* Writes the file as `temp` and renames it to `name`, both in dirfd. Every entry is SUM_DONE. Logs its errors. */
int integrity_write(const struct sums *sums, int dirfd, const char *temp, const char *name);
/* Writes what it says into fd; name is for messages. */
int integrity_write_to(const struct sums *sums, int fd, const char *name);

/*
 * Reads it. 0: *sumsp is set; -ENOENT, -EBADMSG (cut short or changed) or what reading gave, not logged, with the
 * reason in why.
 */
int integrity_read(int dirfd, const char *name, struct sums **sumsp, char *why, size_t why_size);
/* The same from the start of fd, which stays the caller's; fd < 0: the negative errno of opening it. */
int integrity_read_from(int fd, struct sums **sumsp, char *why, size_t why_size);

/*
 * Compares a file with its entry (of a pagemap that was sent: whether it is there): 0, or a negative errno (-EBADMSG
 * where it differs), not logged, the reason in why. A small file that is as it should be is kept, as long as there are
 * *room bytes for it: it is going to be read anyway. May be called by several threads, each for other files.
 */
int integrity_check(struct sum *sum, int dirfd, size_t *room, char *why, size_t why_size);
#define INTEGRITY_KEPT (16UL << 20)

/* What was kept of the file, which is the caller's then; *size bytes. NULL: nothing. */
unsigned char *integrity_take_kept(struct sums *sums, const char *name, uint64_t *size);

/* The same from the start of fd, which stays the caller's and is read to its end. */
int integrity_check_from(const struct sum *sum, int fd, char *why, size_t why_size);

#endif
