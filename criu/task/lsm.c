/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The label that a security module has given each thread (its AppArmor profile, its SELinux context), and that of the
 * sockets that it is to make. A new thread has criu's own label, so only others are set, by the thread itself, which
 * may open its own files of /proc/thread-self/attr and nobody else's. --lsm-profile replaces what the image says.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "task/answer.h"
#include "task/lsm_label.h"

#define SYSFS     "/sys"
#define LABEL_MAX 4096

extern const struct task_part lsm_part;

struct lsm_state {
	bool known;
	Lsmtype host;
	const char *own;     /* criu's label; NULL: it is not confined */
	const char *checked; /* the last that is known to be settable */
};

static int read_label_file(int dir, const char *path, char text[LABEL_MAX])
{
	_cleanup_close_ int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, LABEL_MAX - 1);

	text[n > 0 ? n : 0] = 0;
	return n < 0 ? -errno : 0;
}

static struct lsm_state *know_host(struct lsm_state *s, struct arena *a)
{
	char text[LABEL_MAX];

	if (s->known)
		return s;
	s->known = true;
	s->host = lsm_label_host_type(SYSFS);
	if (s->host != LSMTYPE__NO_LSM && !read_label_file(AT_FDCWD, "/proc/thread-self/attr/current", text))
		s->own = lsm_label_parse(a, s->host, text);
	return s;
}

/* ---- dump ---- */

/* What the format has no field for: labels of what the thread is to execute, of its files and keys. */
static void refuse_others(const struct thread *th)
{
	static const char *const names[] = { "exec", "fscreate", "keycreate" };
	char path[64], text[LABEL_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "task/%d/attr/%s", th->tid, names[i]);
		if (!read_label_file(th->task->dump->proc_fd, path, text) && *text && *text != '\n')
			log_refusal(
			    -EOPNOTSUPP,
			    "%s: has the label %s set for %s (/proc/PID/attr/%s), which is not supported; have that "
			    "unset (written as empty) before the dump",
			    task_thread_name(th), text,
			    i == 0   ? "the next program"
			    : i == 1 ? "new files"
			             : "new keys",
			    names[i]);
	}
}

static int lsm_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	struct lsm_state *s = know_host(dump_state(d, &lsm_part), d->arena);
	CredsEntry *e = th->core->thread_core->creds;
	char path[64], text[LABEL_MAX];
	int err;

	d->inventory->has_lsmtype = true;
	d->inventory->lsmtype = s->host;
	if (s->host == LSMTYPE__NO_LSM || !e)
		return 0;
	snprintf(path, sizeof(path), "task/%d/attr/current", th->tid);
	err = read_label_file(th->task->dump->proc_fd, path, text);
	if (err)
		return log_errno(err, "%s: reading its security label, /proc/%d/%s", task_thread_name(th),
		                 th->task->pid, path);
	e->lsm_profile = (char *)lsm_label_parse(d->arena, s->host, text);
	snprintf(path, sizeof(path), "task/%d/attr/sockcreate", th->tid);
	if (s->host == LSMTYPE__SELINUX && !read_label_file(th->task->dump->proc_fd, path, text) && *text)
		e->lsm_sockcreate = (char *)lsm_label_parse(d->arena, s->host, text);
	refuse_others(th);
	return 0;
}

/* ---- restore ---- */

/* The label that a thread is to get, and of which module; NULL: none. */
static const char *wanted_label(const struct restore *r, const struct thread *th, Lsmtype *type)
{
	const CredsEntry *e = th->core->thread_core->creds;
	const char *label = e ? e->lsm_profile : NULL;

	*type = r->inventory->lsmtype;
	if (!label || !*label)
		return NULL;
	if (r->opts->lsm_profile)
		lsm_label_parse_option(r->opts->lsm_profile, type, &label);
	return label;
}

static bool is_own(const struct lsm_state *s, Lsmtype type, const char *label)
{
	bool free = type == LSMTYPE__APPARMOR && !strcmp(label, "unconfined");

	if (free && s->host != LSMTYPE__APPARMOR)
		return true;
	return type == s->host && (s->own ? !strcmp(s->own, label) : free);
}

static int check_label(struct lsm_state *s, const struct thread *th, Lsmtype type, const char *label)
{
	int err;

	if (is_own(s, type, label) || (s->checked && !strcmp(s->checked, label)))
		return 0;
	if (type != s->host)
		return log_refusal(-EOPNOTSUPP,
		                   "%s: has the label %s of %s, and %s is in force here: give another one with "
		                   "--lsm-profile (apparmor:unconfined for none)",
		                   task_thread_name(th), label, lsm_label_type_name(type),
		                   lsm_label_type_name(s->host));
	err = lsm_label_is_known(SYSFS, type, label);
	if (err)
		return log_refusal(
		    err,
		    "%s: has the label %s, which %s does not know here: load it, or give another one with "
		    "--lsm-profile",
		    task_thread_name(th), label, lsm_label_type_name(type));
	s->checked = label;
	return 0;
}

static int lsm_check(struct restore *r, const struct thread *th)
{
	struct lsm_state *s = know_host(restore_state(r, &lsm_part), r->arena);
	const CredsEntry *e = th->core->thread_core->creds;
	const char *label, *name;
	Lsmtype type;

	if (r->opts->lsm_profile && lsm_label_parse_option(r->opts->lsm_profile, &type, &name))
		return log_errno(-EINVAL, "--lsm-profile %s: is not apparmor:NAME or selinux:CONTEXT",
		                 r->opts->lsm_profile);
	label = wanted_label(r, th, &type);
	if (e && e->lsm_sockcreate && *e->lsm_sockcreate && s->host != LSMTYPE__SELINUX)
		return log_refusal(-EOPNOTSUPP,
		                   "%s: has the label %s for new sockets, and SELinux is not in force here",
		                   task_thread_name(th), e->lsm_sockcreate);
	return label ? check_label(s, th, type, label) : 0;
}

static void write_label(struct batch *b, const char *path, const char *text)
{
	int fd;

	batch_reserve(b, 3, strlen(path) + strlen(text) + 64);
	fd = batch_call(b, SYS_openat, (uint64_t)AT_FDCWD, batch_string(b, path), O_WRONLY);
	batch_call(b, SYS_write, 0, batch_string(b, text), strlen(text));
	batch_ref(b, 0, fd);
	batch_call(b, SYS_close, 0);
	batch_ref(b, 0, fd);
}

static int lsm_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const struct lsm_state *s = restore_state(r, &lsm_part);
	const CredsEntry *e = th->core->thread_core->creds;
	Lsmtype type;
	const char *label = wanted_label(r, th, &type);

	if (label && !is_own(s, type, label))
		write_label(b, "/proc/thread-self/attr/current", lsm_label_to_write(r->arena, type, label));
	if (e->lsm_sockcreate && *e->lsm_sockcreate)
		write_label(b, "/proc/thread-self/attr/sockcreate", e->lsm_sockcreate);
	return 0;
}

const struct task_part lsm_part = {
	.name = "security label",
	.state = { .dump = sizeof(struct lsm_state), .restore = sizeof(struct lsm_state) },
	.per_thread = true,
	.dump = lsm_dump,
	.check = lsm_check,
	.restore = lsm_restore,
};
