/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of mm/: the files behind memfds, which descriptors and mappings share (memfd.img): their name, data, owner,
 * mode and seals. A file is made once, and opened anew for each description.
 */
#ifndef CRIU_MM_MEMFD_INODE_H
#define CRIU_MM_MEMFD_INODE_H

#include "memfd.pb-c.h"
#include "tree/kind.h"

#define MEMFD_PREFIX "/memfd:" /* of what /proc calls it */

/* ---- dump ---- */

/* The number in memfd.img of the file behind a descriptor; its data is noted. 0 or a negative errno (logged). */
int memfd_inode_dump(struct dump *d, const struct fd_info *info, uint32_t *inode_id);

/* A file that another row has read (memory of memfd_secret): its entry gets a number. The key is that of its data. */
void memfd_inode_add(struct dump *d, uint64_t key, MemfdInodeEntry *m);

/* Writes memfd.img. */
int memfd_inode_write_images(struct dump *d);

/* ---- restore ---- */

struct memfd_inode;

/* Once, at the first call. */
int memfd_inode_read_images(struct restore *r);

/* NULL where memfd.img does not have it. */
struct memfd_inode *memfd_inode_find(struct restore *r, uint32_t inode_id);

/* The file of a memfd_secret by the number of its data, or NULL. */
struct memfd_inode *memfd_inode_find_secret(struct restore *r, uint64_t shmid);

const char *memfd_inode_name(const struct memfd_inode *f);

/* As fd_kind.check(): whether it can be made here. */
int memfd_inode_check(struct restore *r, const struct memfd_inode *f, const char **why);

/* A description is to be opened, or a mapping to be made; whether it writes. Before the file is opened first. */
void memfd_inode_expect_open(struct memfd_inode *f, bool writes);
void memfd_inode_expect_map(struct memfd_inode *f, bool writes);

/*
 * Before anything is started: a mapping sets huge pages aside; and the pages that all files take are noted
 * (hugetlb_need()).
 */
void memfd_inode_reserve_huge(struct memfd_inode *f, uint64_t bytes);
void memfd_inode_need_huge(struct restore *r);

/* All of it, for what mappings the tree has. */
void memfd_need_huge(struct restore *r);

/* A new description, with O_* flags: the first call makes the file. A descriptor of ours, or a negative errno (logged).
 */
int memfd_inode_open(struct restore *r, struct memfd_inode *f, int flags);

/* No mapping is to come any more: files get their seals, with which some mappings could not have been made. */
int memfd_inode_all_mapped(struct restore *r);

#endif
