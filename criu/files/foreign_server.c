/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * FUSE servers in the tree: they stand still, and whatever asks their mounts would wait until they go on. Found by
 * their descriptors of /dev/fuse, when the first file on a FUSE is met.
 */
#include <fcntl.h>
#include <string.h>

#include "files/files.h"
#include "files/foreign_files.h"
#include "files/foreign_parts.h"
#include "lib/log.h"

/* The device number of what it serves, in fdinfo since 6.18; else any FUSE may be what it serves. */
#define ANY_CONNECTION UINT64_MAX

struct foreign_server {
	const struct task *task;
	int number;
	uint64_t connection;
};

static void note_server(struct dump *d, struct foreign_dump *fd, const struct task *t, int number)
{
	struct foreign_server s = { .task = t, .number = number, .connection = ANY_CONNECTION };
	char path[32];
	const char *text;

	snprintf(path, sizeof(path), "fdinfo/%d", number);
	text = proc_read_text(t->dump->proc_fd, path, d->arena, &fd->text);
	if (text && fdinfo_number(text, "fuse_connection", 10, &s.connection))
		s.connection = ANY_CONNECTION;
	arena_push(d->arena, &fd->servers, &fd->n_servers, s);
}

static bool is_fuse_device(const struct task *t, int number)
{
	char path[32], link[64];
	ssize_t n;

	snprintf(path, sizeof(path), "fd/%d", number);
	n = readlinkat(t->dump->proc_fd, path, link, sizeof(link) - 1);
	link[n > 0 ? n : 0] = 0;
	return n > 4 && !strcmp(link + n - 5, "/fuse");
}

static void find_servers(struct dump *d, struct foreign_dump *fd)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		const struct task *t = d->tree.tasks[i];
		int *numbers = NULL;
		size_t n = 0;

		if (t->state == TASK_DEAD || proc_read_fd_numbers(t->dump->proc_fd, d->arena, &numbers, &n))
			continue;
		for (size_t k = 0; k < n; k++)
			if (is_fuse_device(t, numbers[k]))
				note_server(d, fd, t, numbers[k]);
	}
}

const struct task *foreign_server_of(struct dump *d, const struct foreign_mount *m, int *number)
{
	struct foreign_dump *fd = foreign_dump_of(d);

	if (!fd->searched)
		find_servers(d, fd);
	fd->searched = true;
	for (size_t i = 0; i < fd->n_servers; i++)
		if (fd->servers[i].connection == ANY_CONNECTION || fd->servers[i].connection == m->s_dev) {
			*number = fd->servers[i].number;
			return fd->servers[i].task;
		}
	return NULL;
}
