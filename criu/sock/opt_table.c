/* SPDX-License-Identifier: GPL-2.0-only */
/* Options that are a number, row by row. */
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/socket.h>

#include "files/files.h"
#include "lib/log.h"
#include "lib/message.h"
#include "sock/opts.h"

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

int sock_opt_table_restore(struct restore *r, int fd, const struct sock_opt *table, const void *msg, bool late,
                           const char *who)
{
	for (const struct sock_opt *o = table; o->text; o++) {
		int64_t v, now;
		int err;

		if (o->late != late || !message_get_number(msg, o->field, &v))
			continue;
		/* A value that is set already needs no privilege and no support. */
		if (get_option(fd, o, &now) == 1 && same_number(o, v, now))
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
