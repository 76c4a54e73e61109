/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whose memory a userfaultfd watches, and which of it: smaps shows of a mapping that one does, and how, not which one.
 * Requests that cannot do anything tell by their errno, and change nothing:
 * - UFFDIO_COPY from an address of criu's where nothing is: ENOENT where the memory at the target is not registered in
 *   the address space that this descriptor is of, EFAULT or EEXIST where it is;
 * - UFFDIO_REGISTER of a mapping as it is registered already: EBUSY where it is so by another descriptor;
 * - UFFDIO_UNREGISTER of what is not registered: EINVAL where nothing is mapped, ENOMEM where the process has ended.
 */
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "arch_page.h"
#include "fd/uffd.h"
#include "files/files.h"
#include "lib/log.h"
#include "proc/proc_maps.h"

#define NOWHERE 0x1000 /* below vm.mmap_min_addr */

static uint32_t mode_of(const struct proc_map *m)
{
	return (m->flags & VMF_um ? 1 : 0) | (m->flags & VMF_uw ? 2 : 0) | (m->flags & VMF_ui ? 4 : 0);
}

static const char *name_of(const struct uffd *u)
{
	const struct fd_info info = { .task = (struct task *)u->holder,
		                      .number = u->number,
		                      .what = "a userfaultfd in flight" };

	return fd_name(&info);
}

static int refuse(const struct uffd *u, const char *why)
{
	return log_refusal(-EOPNOTSUPP, "%s: a userfaultfd %s", name_of(u), why);
}

/* ---- whose ---- */

static int copy_nothing(const struct uffd *u, const struct proc_map *m)
{
	struct uffdio_copy copy = {
		.dst = m->start, .src = NOWHERE, .len = MAX(m->page_size, PAGE_SIZE), .mode = UFFDIO_COPY_MODE_DONTWAKE
	};

	return ioctl(u->fd, UFFDIO_COPY, &copy) ? -errno : 0;
}

enum verdict { HAS_NONE, NOT_ITS, IS_ITS, HAS_ENDED };

/* Whether it watches the memory of t, as far as what is registered there tells. */
static enum verdict watches(const struct uffd *u, const struct task *t)
{
	enum verdict v = HAS_NONE;

	for (size_t i = 0; i < t->dump->maps.n && v != NOT_ITS; i++) {
		const struct proc_map *m = &t->dump->maps.v[i];
		int err = mode_of(m) ? copy_nothing(u, m) : 0;

		if (err == -ESRCH)
			return HAS_ENDED;
		if (err)
			v = err == -ENOENT ? NOT_ITS : IS_ITS;
	}
	return v;
}

/* A mapping that it can register, or that criu has registered. */
static bool has_memory_at(const struct uffd *u, const struct proc_map *m)
{
	struct uffdio_range range = { .start = m->start, .len = PAGE_SIZE };
	int err;

	if (!m->for_criu)
		return !ioctl(u->fd, UFFDIO_UNREGISTER, &range);
	err = copy_nothing(u, m);
	return err != -ENOENT && err != -ESRCH;
}

/* Nothing is registered: the process is the one that has it, if that has memory where it has some. */
static bool can_be_of(const struct uffd *u, const struct task *t)
{
	for (size_t i = 0; u->msg->has_features && i < t->dump->maps.n; i++) {
		const struct proc_map *m = &t->dump->maps.v[i];

		if (!m->shared && !*m->name && !mode_of(m) && !(m->flags & (VMF_ht | VMF_dp)))
			return has_memory_at(u, m);
	}
	return true;
}

/* The one process of the tree that has its descriptor; NULL: several have. */
static struct task *only_holder(struct dump *d, const struct uffd *u, dev_t dev, uint64_t ino)
{
	struct task *found = NULL;

	for (const struct file_at *p = files_at(d, dev, ino); p; p = p->next) {
		struct task *t = tree_first_vm(&d->tree, p->task);

		if (p->id != u->msg->id || t == found)
			continue;
		if (found)
			return NULL;
		found = t;
	}
	return found;
}

static int find_unregistered(struct dump *d, struct uffd *u)
{
	struct stat st;
	struct task *t;

	if (fstat(u->fd, &st))
		return log_errno(-errno, "%s: fstat", name_of(u));
	t = only_holder(d, u, st.st_dev, st.st_ino);
	if (!t)
		return refuse(
		    u, "that watches nothing, and that several processes have: the kernel does not show whose "
		       "memory it is for; register memory with it, or close it in all but one of them, before the "
		       "dump");
	if (!can_be_of(u, t))
		return refuse(
		    u, "for the memory of a process outside of the tree, or of one that has ended; close it before "
		       "the dump, or dump a tree that has both");
	u->owner = t;
	return 0;
}

static int find_owner(struct dump *d, struct uffd *u)
{
	for (size_t i = 0; u->msg->has_features && i < d->tree.n_tasks; i++) {
		struct task *t = d->tree.tasks[i];
		enum verdict v;

		if (t->state == TASK_DEAD || tree_first_vm(&d->tree, t) != t)
			continue;
		v = watches(u, t);
		if (v == HAS_ENDED)
			return refuse(u, "for the memory of a process that has ended; close it before the dump");
		if (v == IS_ITS && u->owner)
			return refuse(
			    u, "of one of several processes in which the same memory is watched (a fork with "
			       "UFFD_FEATURE_EVENT_FORK): the kernel does not show of which; unregister it before "
			       "the dump");
		if (v == IS_ITS)
			u->owner = t;
	}
	return u->owner ? 0 : find_unregistered(d, u);
}

/* ---- which ---- */

/* One for each mapping: most requests take no more than a part of one. */
static int add_range(struct dump *d, struct uffd *u, const struct proc_map *m)
{
	UffdRange *v = arena_msg(d->arena, UffdRange, uffd_range);

	v->start = m->start;
	v->end = m->end;
	v->mode = mode_of(m);
	arena_push(d->arena, &u->msg->ranges, &u->msg->n_ranges, v);
	return 0;
}

static int find_watcher(struct dump *d, struct uffd *all, const struct task *t, const struct proc_map *m)
{
	for (struct uffd *u = all; u; u = u->next) {
		struct uffdio_register reg = { .range = { m->start, m->end - m->start }, .mode = mode_of(m) };

		if (u->owner != t)
			continue;
		if (!ioctl(u->fd, UFFDIO_REGISTER, &reg))
			return add_range(d, u, m);
		if (errno != EBUSY)
			return log_errno(-errno, "%s: ioctl(UFFDIO_REGISTER) of %" PRIx64 "-%" PRIx64, name_of(u),
			                 m->start, m->end);
	}
	log_refusal(
	    -EOPNOTSUPP,
	    "%s: mapping %" PRIx64 "-%" PRIx64
	    ": userfaultfd watches it, and no process of the tree has the descriptor; unregister it before "
	    "the dump, or dump a tree that has both (after restore --lazy-pages: wait until criu lazy-pages has "
	    "brought its memory and ended)",
	    task_name(t), m->start, m->end);
	return 0;
}

/* After a refusal there may be more of them, of others. */
static int find_owners(struct dump *d, struct uffd *all)
{
	for (struct uffd *u = all; u; u = u->next) {
		unsigned refusals = log_refusals();
		int err = find_owner(d, u);

		if (err && refusals == log_refusals())
			return err;
		if (!err)
			u->msg->pid = (uint32_t)u->owner->vpid.v;
	}
	return 0;
}

int uffd_find_ranges(struct dump *d, struct uffd *all)
{
	unsigned refusals = log_refusals();
	int err = find_owners(d, all);

	if (err || refusals != log_refusals())
		return err;
	for (size_t i = 0; !err && i < d->tree.n_tasks; i++) {
		const struct task *t = d->tree.tasks[i];

		if (t->state == TASK_DEAD || tree_first_vm(&d->tree, t) != t)
			continue;
		for (size_t k = 0; !err && k < t->dump->maps.n; k++)
			if (mode_of(&t->dump->maps.v[k]))
				err = find_watcher(d, all, t, &t->dump->maps.v[k]);
	}
	return err;
}
