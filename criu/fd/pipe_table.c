/* SPDX-License-Identifier: GPL-2.0-only */
/* The pipes or FIFOs of a dump: their ids, which ends the tree has, and which process outside has the others. */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fd/pipe_queue.h"
#include "fd/pipe_table.h"
#include "lib/arena_hash.h"
#include "lib/log.h"
#include "proc/proc.h"

/* A pipe of the tree. */
struct pipe_seen {
	struct {
		uint64_t dev, ino;
	} key;
	uint32_t id;
	bool end[2];             /* whether the tree has the reading and the writing end */
	const struct task *task; /* the first one that was seen to have a descriptor of it */
	int number;              /* of that descriptor; -1: it was in flight */
	const char *name;        /* of that descriptor, for messages */
	char *lost_to;           /* "pid 812 (x)": the process outside of the tree that has the other end */
	UT_hash_handle hh, hh_id;
};

struct pipe_table {
	struct image *img;
	struct pipe_seen *by_inode, *by_id;
	struct pipe_copy copy;
};

static struct pipe_seen *pipe_of(struct dump *d, struct pipe_table *table, const struct fd_info *info, bool *is_new)
{
	struct pipe_seen *p, *same, key = { .key = { info->st.st_dev, info->st.st_ino } };

	HASH_FIND(hh, table->by_inode, &key.key, sizeof(key.key), p);
	*is_new = !p;
	if (p)
		return p;
	p = arena_new_of(d->arena, struct pipe_seen);
	p->key = key.key;
	p->id = (uint32_t)info->st.st_ino;
	p->task = info->task;
	p->number = info->number;
	p->name = arena_strdup(d->arena, fd_name(info));
	for (;;) {
		HASH_FIND(hh_id, table->by_id, &p->id, sizeof(p->id), same);
		if (!same)
			break;
		p->id++;
	}
	HASH_ADD_IN(d->arena, hh, table->by_inode, key, sizeof(p->key), p);
	HASH_ADD_IN(d->arena, hh_id, table->by_id, id, sizeof(p->id), p);
	return p;
}

int pipe_table_add(struct dump *d, const struct fd_info *info, enum image_type image, struct pipe_table **tablep,
                   uint32_t *pipe_id)
{
	int mode = info->flags & O_ACCMODE, err = 0;
	struct pipe_seen *p;
	bool is_new;

	if (!*tablep) {
		*tablep = arena_new_of(d->arena, struct pipe_table);
		err = image_create(d->dir, image, 0, &(*tablep)->img);
		if (err)
			return err;
	}
	p = pipe_of(d, *tablep, info, &is_new);
	p->end[0] |= mode != O_WRONLY && !(info->flags & O_PATH);
	p->end[1] |= mode != O_RDONLY && !(info->flags & O_PATH);
	*pipe_id = p->id;
	return is_new ? pipe_queue_dump(d, info, &(*tablep)->copy, (*tablep)->img, p->id) : 0;
}

/* ---- ends outside of the tree ---- */

static void note_holder(struct dump *d, struct pipe_seen *p, pid_t pid, bool writer)
{
	char comm[16];

	if (proc_comm(pid, comm, sizeof(comm)))
		strcpy(comm, "?");
	p->lost_to = arena_printf(d->arena, "pid %d (%s)", pid, comm);
	log_warn("%s: the %s end of this pipe is held by %s, outside of the tree; in a restored tree it is closed",
	         p->name, writer ? "writing" : "reading", p->lost_to);
}

/* Notes the ends that one descriptor of a process is of; the mode of its link in /proc says how the file is open. */
static void note_ends(struct dump *d, struct pipe_table *table, pid_t pid, int dir_fd, int number, size_t *open_ends)
{
	struct pipe_seen *p, key = { .key.dev = table->by_inode->key.dev }; /* all pipes are in one pipefs */
	char path[32], link[64];
	struct stat st;
	ssize_t n;

	snprintf(path, sizeof(path), "fd/%d", number);
	n = readlinkat(dir_fd, path, link, sizeof(link) - 1);
	link[n < 0 ? 0 : n] = 0;
	if (strncmp(link, "pipe:[", 6) || fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW))
		return;
	key.key.ino = strtoull(link + 6, NULL, 10);
	HASH_FIND(hh, table->by_inode, &key.key, sizeof(key.key), p);
	for (int end = 0; p && end < 2; end++) {
		if (p->end[end] || !(st.st_mode & (end ? S_IWUSR : S_IRUSR)))
			continue;
		note_holder(d, p, pid, end);
		p->end[end] = true;
		--*open_ends;
	}
}

static void find_ends_of(struct dump *d, struct pipe_table *table, struct arena *a, pid_t pid, size_t *open_ends)
{
	_cleanup_close_ int dir_fd = proc_open(pid);
	int *numbers = NULL;
	size_t n = 0;

	if (dir_fd < 0)
		return;
	proc_list_numbers(dir_fd, "fd", a, &numbers, &n);
	for (size_t i = 0; i < n && *open_ends; i++)
		note_ends(d, table, pid, dir_fd, numbers[i], open_ends);
}

static int compare_pids(const void *a, const void *b)
{
	const pid_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The tree's, whose descriptors have been dumped; criu, and its guardian, which shares criu's. In ascending order. */
static pid_t *pids_inside(struct dump *d, struct arena *a, size_t *n)
{
	pid_t *pids = arena_array(a, pid_t, d->tree.n_tasks + 2);

	*n = 0;
	pids[(*n)++] = getpid();
	if (d->guardian)
		pids[(*n)++] = guardian_pid(d->guardian);
	for (size_t i = 0; i < d->tree.n_tasks; i++)
		pids[(*n)++] = d->tree.tasks[i]->pid;
	qsort(pids, *n, sizeof(*pids), compare_pids);
	return pids;
}

/* Whether there may be a process that has the end which the tree lacks: a pipe without readers or writers says so. */
static bool is_held_outside(const struct pipe_seen *p)
{
	_cleanup_close_ int fd = p->number < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, p->task->dump->pidfd, p->number, 0);
	struct pollfd look = { .fd = fd };

	return fd < 0 || poll(&look, 1, 0) != 1 || !(look.revents & (POLLERR | POLLHUP));
}

static size_t count_open_ends(struct pipe_table *table)
{
	size_t n = 0;

	for (struct pipe_seen *p = table ? table->by_inode : NULL; p; p = p->hh.next) {
		if (p->end[0] && p->end[1])
			continue;
		if (is_held_outside(p))
			n += !p->end[0] + !p->end[1];
		else
			p->end[0] = p->end[1] = true;
	}
	return n;
}

struct ends_search {
	struct dump *d;
	struct pipe_table *table;
	struct arena *arena;
	pid_t *known;
	size_t n_known, open_ends;
};

static void look_in_process(struct ends_search *s, pid_t pid)
{
	if (s->open_ends && !bsearch(&pid, s->known, s->n_known, sizeof(*s->known), compare_pids))
		find_ends_of(s->d, s->table, s->arena, pid, &s->open_ends);
}

/* The other ends are mostly where the tree was started, or criu: those are looked at before all of /proc. */
static void look_in_ancestors(struct ends_search *s, pid_t pid)
{
	for (pid = proc_ppid(pid); pid > 0 && s->open_ends; pid = proc_ppid(pid))
		look_in_process(s, pid);
}

void pipe_table_find_outside(struct dump *d, struct pipe_table *table)
{
	struct ends_search s = { .d = d, .table = table, .open_ends = count_open_ends(table) };
	pid_t *pids = NULL;
	size_t n = 0;

	s.arena = s.open_ends ? arena_new() : NULL;
	if (!s.arena)
		return;
	s.known = pids_inside(d, s.arena, &s.n_known);
	look_in_ancestors(&s, d->tree.tasks[0]->pid);
	look_in_ancestors(&s, getpid());
	if (s.open_ends)
		proc_list_numbers(AT_FDCWD, "/proc", s.arena, &pids, &n);
	for (size_t i = 0; i < n; i++)
		look_in_process(&s, pids[i]);
	arena_free(s.arena);
}

char *pipe_table_lost_to(struct pipe_table *table, uint32_t id)
{
	struct pipe_seen *p = NULL;

	if (table)
		HASH_FIND(hh_id, table->by_id, &id, sizeof(id), p);
	return p ? p->lost_to : NULL;
}

int pipe_table_finish(struct pipe_table *table)
{
	if (!table)
		return 0;
	pipe_copy_close(&table->copy);
	return image_close(move_ptr(table->img));
}
