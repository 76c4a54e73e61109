/* SPDX-License-Identifier: GPL-2.0-only */
#include "files/foreign_restore.h"

#include <fcntl.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "agent/send_fds.h"
#include "files/files.h"
#include "files/foreign_parts.h"
#include "files/open_file.h"
#include "lib/log.h"
#include "tree/user_ns.h"

static struct foreign_restore *foreign_restore_of(const struct restore *r)
{
	return restore_state(r, &foreign_subsys);
}

static uint64_t join_words(const uint32_t *words, size_t n)
{
	return (n > 0 ? words[0] : 0) | (n > 1 ? (uint64_t)words[1] << 32 : 0);
}

static const CredsEntry *creds_of(const struct task *t)
{
	return t && t->threads[0].core && t->threads[0].core->thread_core ? t->threads[0].core->thread_core->creds
	                                                                  : NULL;
}

/* NULL: criu's own. */
static const struct proc_status *identity_of(struct restore *r, const struct task *t)
{
	struct foreign_restore *fr = foreign_restore_of(r);
	const CredsEntry *e = creds_of(t);
	const struct user_ns *ns;
	struct proc_status *who;

	if (!e || fr->asked_for == t)
		return e ? fr->who : NULL;
	who = arena_new_of(r->arena, struct proc_status);
	ns = user_ns_of_task(user_ns_of_restore(r), t);
	*who = (struct proc_status) {
		.uid = { e->uid, e->euid, e->suid, e->fsuid },
		.gid = { e->gid, e->egid, e->sgid, e->fsgid },
		.groups = e->groups,
		.n_groups = e->n_groups,
		.cap_inh = join_words(e->cap_inh, e->n_cap_inh),
		.cap_prm = join_words(e->cap_prm, e->n_cap_prm),
		.cap_eff = join_words(e->cap_eff, e->n_cap_eff),
	};
	for (int i = 0; i < 4; i++) {
		user_ns_outside(ns, USER_ID, who->uid[i], &who->uid[i]);
		user_ns_outside(ns, GROUP_ID, who->gid[i], &who->gid[i]);
	}
	fr->asked_for = t;
	fr->who = who;
	return who;
}

int foreign_restore_access(struct restore *r, const char *path, struct foreign_access *a)
{
	struct foreign_restore *fr = foreign_restore_of(r);
	struct open_files *all = open_files_of(r);
	int err = fr->begun ? 0 : foreign_begin(&fr->mounts, r->arena, r->opts->timeout);

	if (err)
		return err;
	fr->begun = true;
	*a = (struct foreign_access) { .f = &fr->mounts, .handle = -1, .path = path };
	a->mount = foreign_mount_by_path(&fr->mounts, path);
	if (!a->mount)
		return 0;
	if (all->asked)
		all->asked->foreign = true;
	a->who = identity_of(r, all->asked ? all->asked->wanted_by : NULL);
	return 1;
}

bool foreign_restore_is(const struct restore *r, uint32_t id)
{
	const struct open_file *f = open_file_find(r, id);

	return f && f->foreign;
}

/* ---- what helpers keep ---- */

bool foreign_restore_may_keep(const struct restore *r)
{
	const struct open_file *f = open_files_of(r)->asked;

	return f && !f->pinned && f->kind == kind_by_fd_type(FD_TYPES__REG);
}

int foreign_restore_stand_in(struct restore *r, struct open_file *f)
{
	struct open_files *all = open_files_of(r);
	int fd = open("/dev/null", O_PATH | O_CLOEXEC);

	if (fd < 0)
		return log_errno(-errno, "open(O_PATH) of /dev/null");
	while ((size_t)fd >= all->n_kept_by_fd)
		arena_push(r->arena, &all->kept_by_fd, &all->n_kept_by_fd, NULL);
	all->kept_by_fd[fd] = f;
	return fd;
}

int foreign_restore_keep(struct restore *r, const struct foreign_kept *k)
{
	struct open_file *f = open_files_of(r)->asked;

	f->kept = arena_memdup(r->arena, k, sizeof(*k));
	return foreign_restore_stand_in(r, f);
}

static const struct open_file *kept_as(const struct open_files *all, int fd)
{
	const struct open_file *f = fd >= 0 && (size_t)fd < all->n_kept_by_fd ? all->kept_by_fd[fd] : NULL;

	return f && f->our_fd == fd ? f : NULL;
}

static int send_it(int sock, void *arg)
{
	return foreign_send(arg, sock);
}

int foreign_restore_send(struct restore *r, struct task *t, const int *fds, size_t n, int *numbers)
{
	const struct open_files *all = open_files_of(r);
	int err = 0;

	for (size_t i = 0, end; !err && i < n; i = end) {
		const struct open_file *f = kept_as(all, fds[i]);

		for (end = i + 1; !f && end < n && !kept_as(all, fds[end]);)
			end++;
		err = f ? agent_send_by(t, send_it, (void *)f->kept, numbers + i)
		        : agent_send_fds(t, fds + i, end - i, numbers + i);
	}
	return err;
}

/* ---- in the agent ---- */

/* What an agent has: criu's ids, or those with which it has entered its user namespace. */
static int ids_of_agent(struct restore *r, const struct task *t, uid_t u[3], gid_t g[3])
{
	const struct user_ns *ns = user_ns_of_task(user_ns_of_restore(r), t);

	if (!ns)
		return syscall(SYS_getresuid, &u[0], &u[1], &u[2]) || syscall(SYS_getresgid, &g[0], &g[1], &g[2]);
	user_ns_known(ns, USER_ID, ns->enter_as[USER_ID], &u[0]);
	user_ns_known(ns, GROUP_ID, ns->enter_as[GROUP_ID], &g[0]);
	u[1] = u[2] = u[0];
	g[1] = g[2] = g[0];
	return 0;
}

/* Whether the agent has other ids than its task is to have. */
static const CredsEntry *other_ids(struct restore *r, const struct task *t)
{
	const CredsEntry *e = creds_of(t);
	uid_t u[3];
	gid_t g[3];

	if (!e || ids_of_agent(r, t, u, g))
		return NULL;
	return u[0] == e->uid && u[1] == e->euid && u[2] == e->suid && g[0] == e->gid && g[1] == e->egid &&
	               g[2] == e->sgid
	           ? NULL
	           : e;
}

void foreign_restore_become(struct restore *r, const struct task *t, struct batch *b)
{
	const CredsEntry *e = other_ids(r, t);
	int bits = prctl(PR_GET_SECUREBITS);

	if (!e || bits < 0)
		return;
	batch_call(b, SYS_prctl, PR_SET_SECUREBITS, (uint64_t)(bits | SECBIT_NO_SETUID_FIXUP));
	batch_call(b, SYS_setresgid, e->gid, e->egid, e->sgid);
	batch_call(b, SYS_setresuid, e->uid, e->euid, e->suid);
}

void foreign_restore_return(struct restore *r, const struct task *t, struct batch *b)
{
	int bits = prctl(PR_GET_SECUREBITS);
	uid_t u[3];
	gid_t g[3];

	if (!other_ids(r, t) || bits < 0 || ids_of_agent(r, t, u, g))
		return;
	batch_call(b, SYS_setresuid, u[0], u[1], u[2]);
	batch_call(b, SYS_setresgid, g[0], g[1], g[2]);
	batch_call(b, SYS_prctl, PR_SET_SECUREBITS, (uint64_t)bits);
}

void foreign_restore_done(struct restore *r)
{
	foreign_end(&foreign_restore_of(r)->mounts);
}
