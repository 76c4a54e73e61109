/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * userfaultfd: made by the process whose memory it watches, whoever has it. Memory is registered when all threads stand
 * at their last instruction: from then on nothing but they touches it. Faults and events that wait are in no image: a
 * thread that was stopped in a fault has it again.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/take_fd.h"
#include "arch_page.h"
#include "fd/uffd.h"
#include "files/files.h"
#include "lib/fault.h"
#include "lib/fd_flags.h"
#include "lib/log.h"
#include "proc/fdinfo.h"
#include "tree/subsys.h"

extern const struct fd_kind uffd_kind;
extern const struct subsys uffd_subsys;

/* ---- dump ---- */

struct uffd_dump_state {
	struct uffd *all;
};

static bool uffd_match(const struct fd_info *info)
{
	return !strcmp(info->link, "anon_inode:[userfaultfd]");
}

static int read_features(const struct fd_info *info, UffdFileEntry *m)
{
	const char *api = fdinfo_value(info->info, "API");
	unsigned long long version, features;

	if (!api || sscanf(api, "%llx:%llx:", &version, &features) != 2)
		return log_errno(-EINVAL, "%s: no API in the fdinfo of a userfaultfd", fd_name(info));
	m->has_features = features & UFFD_FEATURES_INITIALIZED;
	m->features = features & ~UFFD_FEATURES_INITIALIZED;
	return 0;
}

static int uffd_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	struct uffd_dump_state *s = dump_state(d, &uffd_kind);
	struct uffd *u = arena_new_of(d->arena, struct uffd);
	int err = read_features(info, msg);

	if (err)
		return err;
	*u = (struct uffd) { .msg = msg, .holder = info->task, .number = info->number, .next = s->all };
	u->fd = fcntl(info->fd, F_DUPFD_CLOEXEC, 0);
	if (u->fd < 0)
		return log_errno(-errno, "%s: fcntl(F_DUPFD_CLOEXEC)", fd_name(info));
	s->all = u;
	return DUMP_LATER;
}

static void close_all(struct dump *d)
{
	struct uffd_dump_state *s = dump_state(d, &uffd_kind);

	for (struct uffd *u = s->all; u; u = u->next)
		cleanup_close(&u->fd);
}

/* Whether its process may make no other than with UFFD_USER_MODE_ONLY (userfaultfd(2)), as far as can be seen now. */
static bool is_unprivileged(const struct task *t)
{
	const CredsEntry *c = t->threads[0].core->thread_core->creds;
	_cleanup_close_ int fd = open("/proc/sys/vm/unprivileged_userfaultfd", O_RDONLY | O_CLOEXEC);
	char allowed = '1';

	if (c && c->n_cap_prm && c->cap_prm[0] & 1U << CAP_SYS_PTRACE)
		return false;
	return fd >= 0 && read(fd, &allowed, 1) == 1 && allowed == '0';
}

static int dump_watched(struct dump *d, struct uffd *u)
{
	int err = 0;

	for (size_t i = 0; !err && i < u->msg->n_ranges; i++)
		err = uffd_scan(d, u, u->msg->ranges[i]);
	u->msg->has_user_mode_only = u->msg->user_mode_only = is_unprivileged(u->owner);
	return err ?: files_write_entry(d, &uffd_kind, u->msg->id, u->msg);
}

static int uffd_collected(struct dump *d)
{
	struct uffd_dump_state *s = dump_state(d, &uffd_kind);
	int err = uffd_find_ranges(d, s->all);

	if (s->all)
		log_warn(
		    "whether a userfaultfd was made with UFFD_USER_MODE_ONLY is not shown: one comes back with it only "
		    "where no other may be made, else system calls wait for missing pages in place of EFAULT");
	for (struct uffd *u = s->all; !err && u; u = u->next)
		if (u->owner)
			err = dump_watched(d, u);
	close_all(d);
	return err;
}

/* ---- restore ---- */

static int say_why(int err, const char **why, const char *text)
{
	*why = text;
	return err;
}

static int hand_shake(int fd, const UffdFileEntry *m)
{
	struct uffdio_api api = { .api = UFFD_API, .features = m->features };

	return m->has_features && ioctl(fd, UFFDIO_API, &api) ? -errno : 0;
}

/* One like it, made here. */
static int try_features(struct restore *r, const UffdFileEntry *m, const char **why)
{
	_cleanup_close_ int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	int err;

	if (fd < 0 && errno == EPERM && m->user_mode_only)
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	err = fd < 0 ? -errno : 0;

	if (err == -EPERM)
		return say_why(err, why,
		               "userfaultfd() for faults of the kernel takes CAP_SYS_PTRACE, or "
		               "vm.unprivileged_userfaultfd=1");
	if (err)
		return say_why(err, why, "this kernel has no userfaultfd()");
	err = hand_shake(fd, m);
	if (err == -EPERM)
		return say_why(err, why,
		               "a userfaultfd that hears of forks (UFFD_FEATURE_EVENT_FORK) takes CAP_SYS_PTRACE");
	if (err)
		*why = arena_printf(r->arena, "this kernel lacks features of userfaultfd that it has: %llx",
		                    (unsigned long long)m->features);
	return err;
}

static int uffd_check(struct restore *r, const void *msg, const char **why)
{
	const UffdFileEntry *m = msg;
	const struct task *t = tree_find(&r->tree, VPID((int32_t)m->pid));
	uint64_t from = 0;

	if (!t || t->state == TASK_DEAD)
		return say_why(-EBADMSG, why, "the process that it watches is not in the checkpoint");
	for (size_t i = 0; i < m->n_ranges; i++) {
		const UffdRange *v = m->ranges[i];

		if (v->start < from || v->start >= v->end || (v->start | v->end) % PAGE_SIZE || !v->mode || v->mode > 7)
			return say_why(-EBADMSG, why, "the memory that it watches is damaged");
		from = v->end;
	}
	from = 0;
	for (size_t i = 0; i < m->n_pages; i++) {
		const UffdPages *p = m->pages[i];

		if (p->start < from || p->start >= p->end || (p->start | p->end) % PAGE_SIZE || !p->state ||
		    p->state > 7)
			return say_why(-EBADMSG, why, "the pages of the memory that it watches are damaged");
		from = p->end;
	}
	return try_features(r, m, why);
}

/* In the task: its number there, or a negative errno (logged). */
static int make_uffd(const struct task *t, const UffdFileEntry *m)
{
	struct batch *b = agent_batch(t->restore->agent, "making a userfaultfd");
	int made = batch_ask(b, SYS_userfaultfd, O_CLOEXEC), err = batch_run(b);
	int64_t ret = err ?: batch_ret(b, made);

	if (ret == -EPERM && m->user_mode_only) {
		made = batch_ask(b, SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
		err = batch_run(b);
		ret = err ?: batch_ret(b, made);
	}
	return err || ret >= 0 ? (int)ret : log_errno((int)ret, "%s: userfaultfd", task_name(t));
}

static int uffd_open(struct restore *r, const void *msg)
{
	const UffdFileEntry *m = msg;
	const struct task *t = tree_find(&r->tree, VPID((int32_t)m->pid));
	int number = make_uffd(t, m), err;
	_cleanup_close_ int fd = number < 0 ? number : agent_take_fd(t, number, "its userfaultfd");

	if (fd < 0)
		return fd;
	err = hand_shake(fd, m);
	if (err)
		return log_errno(err, "%s: ioctl(UFFDIO_API) with features %" PRIx64, task_name(t), m->features);
	err = fd_flags_restore(fd, m->flags);
	return err ?: move_fd(&fd);
}

static int uffd_post_open(struct restore *r, const void *msg, int fd)
{
	const UffdFileEntry *m = msg;

	return uffd_drop_missing(tree_find(&r->tree, VPID((int32_t)m->pid)), m);
}

static bool uffd_has_post_open(const void *msg)
{
	const UffdFileEntry *m = msg;

	return m->n_ranges;
}

static int register_one(struct restore *r, const void *msg, void *arg)
{
	const UffdFileEntry *m = msg;
	_cleanup_close_ int fd = m->n_ranges ? files_borrow(r, m->id) : -1;
	int err;

	if (!m->n_ranges)
		return 0;
	err = fd < 0 ? fd : uffd_register(m, tree_find(&r->tree, VPID((int32_t)m->pid)), fd);
	if (!err)
		fault_point("memory is watched by userfaultfd");
	return err;
}

static int uffd_all_standing(struct restore *r)
{
	return files_all(r, &uffd_kind, register_one, NULL);
}

const struct fd_kind uffd_kind = {
	.name = "userfaultfd",
	.state = { .dump = sizeof(struct uffd_dump_state) },
	.type = FD_TYPES__UFFD,
	.field = 1004,
	.pb = &uffd_file_entry__descriptor,
	.match = uffd_match,
	.dump = uffd_dump,
	.all_collected = uffd_collected,
	.check = uffd_check,
	.open = uffd_open,
	.post_open = uffd_post_open,
	.has_post_open = uffd_has_post_open,
};

const struct subsys uffd_subsys = {
	.name = "memory that userfaultfd watches",
	.all_standing = uffd_all_standing,
	.rollback = close_all,
};
