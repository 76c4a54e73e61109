/* SPDX-License-Identifier: GPL-2.0-only */
/* Options that are a number, row by row. */
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/socket.h>

#include "files/files.h"
#include "lib/log.h"
#include "lib/message.h"
#include "sock/opts.h"
#include "tree/subsys.h"

int sock_domain(const struct fd_info *info)
{
	int domain;
	socklen_t len = sizeof(domain);

	if (info->by_path || !S_ISSOCK(info->st.st_mode))
		return -ENOTSOCK;
	if (info->domain)
		return info->domain;
	return getsockopt(info->fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) ? -errno : domain;
}

uint32_t sock_queued(int fd)
{
	uint32_t mem[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(mem);

	return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, mem, &len) ? 0 : mem[SK_MEMINFO_RMEM_ALLOC];
}

/* 1: *v is its value; 0: this kernel or this kind of socket does not have the option. */
static int get_option(int fd, const struct sock_opt *o, int64_t *v)
{
	union {
		uint8_t byte;
		int32_t word;
		int64_t both;
	} u = { 0 };
	socklen_t len = o->bytes ?: sizeof(u.word);

	if (getsockopt(fd, o->level, o->name, &u, &len))
		return errno == EOPNOTSUPP || errno == ENOPROTOOPT || errno == ENOTCONN || errno == EINVAL ? 0 : -errno;
	if (len != (o->bytes ?: sizeof(u.word)))
		return 0;
	*v = o->bytes == 1 ? u.byte : o->bytes == 8 ? u.both : u.word;
	return 1;
}

int sock_opt_table_dump(const struct fd_info *info, const struct sock_opt *table, void *msg)
{
	for (const struct sock_opt *o = table; o->text; o++) {
		int64_t v;
		int got = get_option(info->fd, o, &v);

		if (got < 0)
			return log_errno(got, "%s: getsockopt(%s)", fd_name(info), o->text);
		if (got && (v != o->absent || o->absent == SOCK_OPT_ALWAYS) && !message_set_number(msg, o->field, v))
			return log_errno(-ENOENT, "the image format has no field %s for %s", o->field, o->text);
	}
	return 0;
}

static int set_option(int fd, const struct sock_opt *o, int64_t v)
{
	int32_t word = (int32_t)v;

	/* A byte is taken as an int as well. */
	if (o->bytes == 8)
		return setsockopt(fd, o->level, o->name, &v, sizeof(v)) ? -errno : 0;
	return setsockopt(fd, o->level, o->name, &word, sizeof(word)) ? -errno : 0;
}

/* The value as the kernel reads it back: fields without a sign hold negative ones too. */
static bool same_number(const struct sock_opt *o, int64_t a, int64_t b)
{
	return o->bytes == 8 ? a == b : (uint32_t)a == (uint32_t)b;
}

/* ---- what a new socket has ---- */

struct new_values {
	const struct sock_opt *table;
	struct new_value {
		int got; /* as get_option() */
		int64_t v;
	} * rows;
	struct new_values *next;
};

struct sock_new {
	uint32_t net_ns;
	int family, type, protocol;
	struct arena *arena;
	struct new_values *tables; /* those that have been asked */
	struct sock_new *next;
};

struct sock_news {
	struct sock_new *first;
};

const struct subsys sock_new_subsys = { .name = "options of new sockets",
	                                .state = { .restore = sizeof(struct sock_news) } };

struct sock_new *sock_new_of(struct restore *r, uint32_t net_ns, int family, int type, int protocol)
{
	struct sock_news *all = restore_state(r, &sock_new_subsys);
	struct sock_new *s = all->first;

	while (s && (s->net_ns != net_ns || s->family != family || s->type != type || s->protocol != protocol))
		s = s->next;
	if (s)
		return s;
	s = arena_new_of(r->arena, struct sock_new);
	*s = (struct sock_new) { net_ns, family, type, protocol, r->arena, NULL, all->first };
	all->first = s;
	return s;
}

/* Where no socket can be had, each row is not known: -EBADF. */
static const struct new_values *ask_table(struct sock_new *new, const struct sock_opt *table)
{
	_cleanup_close_ int fd = socket(new->family, new->type | SOCK_CLOEXEC, new->protocol);
	struct new_values *t = arena_new_of(new->arena, struct new_values);
	size_t n = 0;

	while (table[n].text)
		n++;
	*t = (struct new_values) { table, arena_array(new->arena, struct new_value, n), new->tables };
	for (size_t i = 0; i < n; i++)
		t->rows[i].got = table[i].moving ? -EBADF : get_option(fd, &table[i], &t->rows[i].v);
	new->tables = t;
	return t;
}

int sock_opt_now(struct sock_new *new, const struct sock_opt *table, const struct sock_opt *row, int fd, int64_t *v)
{
	const struct new_values *t = new ? new->tables : NULL;
	const struct new_value *known;

	if (!new || row->moving)
		return get_option(fd, row, v);
	while (t && t->table != table)
		t = t->next;
	if (!t)
		t = ask_table(new, table);
	known = &t->rows[row - table];
	*v = known->v;
	return known->got < 0 ? get_option(fd, row, v) : known->got;
}

int sock_opt_table_restore(struct sock_new *new, int fd, const struct sock_opt *table, const void *msg, bool late,
                           const char *who)
{
	for (const struct sock_opt *o = table; o->text; o++) {
		int64_t v, now;
		int err;

		if (o->late != late || !message_get_number(msg, o->field, &v))
			continue;
		/* A value that is set already needs no privilege and no support. */
		if (sock_opt_now(new, table, o, fd, &now) == 1 && same_number(o, v, now))
			continue;
		err = set_option(fd, o, v);
		/* Older kernels took SO_PASSCRED and the like of any socket, and CRIU writes that it is off. */
		if (!v && (err == -EOPNOTSUPP || err == -ENOPROTOOPT))
			continue;
		if (err && (o->hint || !v))
			log_warn("%s: setsockopt(%s) to %lld: %s", who, o->text, (long long)v, strerror(-err));
		else if (err)
			return log_errno(err, "%s: setsockopt(%s) to %lld", who, o->text, (long long)v);
	}
	return 0;
}
