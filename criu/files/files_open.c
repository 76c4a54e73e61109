/* SPDX-License-Identifier: GPL-2.0-only */
/* Opening a description at restore: once, on demand; closed as soon as all tables that want it have it. */
#include <fcntl.h>
#include <sys/syscall.h>

#include "files/files_open.h"
#include "files/inherit.h"
#include "files/net_ns.h"
#include "helper/ns_roots.h"
#include "lib/log.h"

/* Keeps it open for a while, in place of the oldest that is kept so. */
static void cache_file(struct open_files *all, struct open_file *f)
{
	struct open_file **slot = &all->cached[all->next_cached++ % OPEN_FILE_CACHE];

	if (*slot)
		open_file_close(*slot);
	*slot = f;
}

static void note_opened(struct restore *r, struct open_file *f, int fd)
{
	open_file_opened(f, fd);
	if (fd >= 0 && !open_file_is_wanted(f))
		cache_file(open_files_of(r), f);
}

static void forget_donor(struct open_files *all)
{
	if (all->donor && all->donor_pidfd >= 0)
		close(all->donor_pidfd);
	all->donor = NULL;
}

/* A duplicate of what a task has already. */
static int borrow_from_task(struct restore *r, const struct open_file *f)
{
	struct open_files *all = open_files_of(r);
	int ours;

	if (all->donor != f->task) {
		forget_donor(all);
		all->donor = f->task;
		all->donor_pidfd = (int)syscall(SYS_pidfd_open, f->task->pid, 0);
	}
	ours = all->donor_pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, all->donor_pidfd, f->number, 0);
	return ours < 0 ? log_errno(-errno, "%s: fd %d: pidfd_getfd", task_name(f->task), f->number) : ours;
}

static int open_in_net_ns(struct restore *r, const struct open_file *f)
{
	uint32_t ns = net_ns_of_msg(r, f->msg);
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	int err = net_ns_visit(r, ns, &v);

	return err ?: f->kind->open(r, f->msg);
}

static int open_new_file(struct restore *r, const struct open_file *f)
{
	return f->kind->in_net_ns ? open_in_net_ns(r, f) : f->kind->open(r, f->msg);
}

int files_open(struct restore *r, uint32_t id)
{
	struct open_file *f = open_file_find(r, id);
	const struct lookup_root *before;
	int fd;

	if (!f || !f->kind)
		return log_errno(-ENOENT, "files.img has no file %u of a supported kind", id);
	if (f->our_fd >= 0)
		return f->our_fd;
	if (f->kept || f->state == OPEN_FILE_INSTALLED) {
		fd = f->kept ? foreign_restore_stand_in(r, f) : borrow_from_task(r, f);
		open_file_opened(f, fd);
		return fd;
	}
	log_about_too("files.img");
	open_files_of(r)->asked = f;
	before = lookup_in(ns_roots_of_message(r, f->msg));
	fd = f->source == OPEN_FILE_MADE ? open_new_file(r, f) : inherit_open(r, f);
	lookup_in(before);
	open_files_of(r)->asked = NULL;
	log_about_too(NULL);
	note_opened(r, f, fd);
	return fd;
}

void files_set(struct restore *r, uint32_t id, int fd)
{
	note_opened(r, open_file_find(r, id), fd);
}

int files_open_duplicate(struct restore *r, struct open_file *f)
{
	int ours = f->our_fd;

	if (f->state == OPEN_FILE_INSTALLED || (f->kept && f->task))
		return borrow_from_task(r, f);
	if (f->kept)
		return log_errno(-EOPNOTSUPP,
		                 "file %u: is on a file system that may not answer, and no task has it yet", f->id);
	if (ours < 0)
		ours = files_open(r, f->id);
	if (ours < 0)
		return ours;
	ours = fcntl(ours, F_DUPFD_CLOEXEC, 3);
	return ours < 0 ? log_errno(-errno, "file %u: fcntl(F_DUPFD_CLOEXEC)", f->id) : ours;
}

int files_borrow(struct restore *r, uint32_t id)
{
	struct open_file *f = open_file_find(r, id);

	return f ? files_open_duplicate(r, f) : log_errno(-ENOENT, "files.img has no file %u", id);
}

void files_open_installed(struct restore *r, uint32_t id, struct task *t, int number)
{
	struct open_file *f = open_file_find(r, id);

	if (!f || !files_tabled(r, id))
		return;
	open_file_installed(f, t, number);
	if ((!files_tabled(r, id) || f->our_fd >= open_files_of(r)->fd_pressure) && !f->pinned)
		open_file_close(f);
}

void files_open_close_all(struct restore *r)
{
	for (struct open_file *f = open_files_of(r)->by_id; f; f = f->hh.next)
		open_file_close(f);
	forget_donor(open_files_of(r));
}
