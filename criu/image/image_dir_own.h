/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of image/: what a directory of images is. */
#ifndef CRIU_IMAGE_IMAGE_DIR_OWN_H
#define CRIU_IMAGE_IMAGE_DIR_OWN_H

#include <pthread.h>
#include <time.h>

#include "image/image_dir.h"

struct image_stream;
struct arena;
struct sums;

struct image_dir {
	int fd;
	int places[2]; /* where its files are: see image_exchange_read(). Writing: the hidden directory, once made, or
	                * fd
	                */
	int readers;   /* reading: the descriptor that keeps them there */
	char *path;
	bool writing, was_empty, sealed, kept, allow_edited;
	struct timespec begun; /* writing: by the clock of file systems */
	pthread_mutex_t lock;  /* for sums */
	const struct image_ids *ids;
	struct sums *sums;            /* reading: NULL where the checkpoint has none */
	struct sums *server;          /* reading: of what a page server has written; NULL: nothing says that */
	bool some_sent;               /* pagemaps of sums are a page server's */
	bool sent_elsewhere;          /* they need not be here */
	struct image_stream *stream;  /* NULL: files in the directory */
	struct arena *arena;          /* NULL until it is asked for */
	void *page_sums;              /* reading: see image_dir_page_sums() */
	void *punched;                /* reading: see image_dir_punched() */
	struct image_dir *prev;       /* reading: the checkpoint before it, if it was asked for */
	const struct image_dir *next; /* the one that this is the prev of */
};

/* image_dir_open() as `like` was opened. */
int image_dir_open_like(const char *path, const struct image_dir *like, struct image_dir **dirp);

/* Reading: the directory in which a file is, of those that it may be in; writing: that of all. */
int image_dir_place_of(const struct image_dir *dir, const char *name);

#endif
