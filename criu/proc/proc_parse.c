/* SPDX-License-Identifier: GPL-2.0-only */
/* Parsers of /proc/PID/stat and status. Keys and fields that are not known are passed over. */
#include <ctype.h>
#include <limits.h>
#include <string.h>

#include "proc/proc.h"

/* A piece of the text that is being looked at: [at, end). */
struct span {
	const char *at, *end;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n';
}

static void skip_status_blanks(struct span *s)
{
	while (s->at < s->end && is_blank(*s->at))
		s->at++;
}

/* A number of at most 64 bits: sign and magnitude, as far as a blank or the end. */
static int take_status_number(struct span *s, int base, bool *negative, uint64_t *v)
{
	const char *start;

	skip_status_blanks(s);
	*negative = s->at < s->end && *s->at == '-';
	if (*negative)
		s->at++;
	start = s->at;
	for (*v = 0; s->at < s->end && !is_blank(*s->at); s->at++) {
		int digit = isdigit((unsigned char)*s->at) ? *s->at - '0' : (*s->at | 32) - 'a' + 10;

		if (digit < 0 || digit >= base || __builtin_mul_overflow(*v, (uint64_t)base, v) ||
		    __builtin_add_overflow(*v, (uint64_t)digit, v))
			return -EBADMSG;
	}
	return s->at > start ? 0 : -EBADMSG;
}

static int take_signed(struct span *s, int64_t min, int64_t max, int64_t *v)
{
	bool negative;
	uint64_t u;
	int err = take_status_number(s, 10, &negative, &u);

	if (err || u > (uint64_t)INT64_MAX)
		return -EBADMSG;
	*v = negative ? -(int64_t)u : (int64_t)u;
	return *v < min || *v > max ? -EBADMSG : 0;
}

static int take_unsigned(struct span *s, int base, uint64_t max, uint64_t *v)
{
	bool negative;
	int err = take_status_number(s, base, &negative, v);

	return err || negative || *v > max ? -EBADMSG : 0;
}

enum width { I32, U32, I64, U64 };

static int take_into(struct span *s, enum width width, void *to)
{
	int64_t i = 0;
	uint64_t u = 0;
	int err = width == I32   ? take_signed(s, INT32_MIN, INT32_MAX, &i)
	          : width == I64 ? take_signed(s, INT64_MIN, INT64_MAX, &i)
	                         : take_unsigned(s, 10, width == U32 ? UINT32_MAX : UINT64_MAX, &u);

	if (err)
		return err;
	if (width == I32)
		*(int32_t *)to = (int32_t)i;
	else if (width == U32)
		*(uint32_t *)to = (uint32_t)u;
	else if (width == I64)
		*(int64_t *)to = i;
	else
		*(uint64_t *)to = u;
	return 0;
}

/* ---- stat ---- */

struct stat_field {
	unsigned number; /* in proc(5) */
	enum width width;
	size_t offset;
};

#define STAT(number, width, field)                                                                                     \
	{                                                                                                              \
		number, width, offsetof(struct proc_stat, field)                                                       \
	}

static const struct stat_field stat_fields[] = {
	STAT(4, I32, ppid),         STAT(5, I32, pgrp),         STAT(6, I32, session),      STAT(7, I32, tty_nr),
	STAT(8, I32, tpgid),        STAT(9, U32, flags),        STAT(18, I64, priority),    STAT(19, I64, nice),
	STAT(20, I64, num_threads), STAT(22, U64, start_time),  STAT(26, U64, start_code),  STAT(27, U64, end_code),
	STAT(28, U64, start_stack), STAT(38, I32, exit_signal), STAT(40, U32, rt_priority), STAT(41, U32, policy),
	STAT(45, U64, start_data),  STAT(46, U64, end_data),    STAT(47, U64, start_brk),   STAT(48, U64, arg_start),
	STAT(49, U64, arg_end),     STAT(50, U64, env_start),   STAT(51, U64, env_end),     STAT(52, I32, exit_code),
};

/* The name may hold parentheses, blanks and newlines; nothing behind it does. */
static int take_comm(struct span *s, struct proc_stat *out)
{
	const char *close = memrchr(s->at, ')', (size_t)(s->end - s->at));
	size_t len;

	skip_status_blanks(s);
	if (!close || s->at >= close || *s->at != '(')
		return -EBADMSG;
	len = (size_t)(close - s->at - 1);
	memcpy(out->comm, s->at + 1, MIN(len, sizeof(out->comm) - 1));
	s->at = close + 1;
	return 0;
}

int proc_parse_stat(const char *text, size_t len, struct proc_stat *out)
{
	struct span s = { text, text + len };
	unsigned number = 4;
	int err;

	memset(out, 0, sizeof(*out));
	err = take_into(&s, I32, &out->pid);
	if (!err)
		err = take_comm(&s, out);
	if (err)
		return err;
	skip_status_blanks(&s);
	if (s.at == s.end || !isalpha((unsigned char)*s.at))
		return -EBADMSG;
	out->state = *s.at++;
	if (s.at == s.end || !is_blank(*s.at))
		return -EBADMSG;
	for (size_t i = 0; i < ARRAY_SIZE(stat_fields); i++) {
		const struct stat_field *f = &stat_fields[i];

		for (; number < f->number; number++) {
			skip_status_blanks(&s);
			while (s.at < s.end && !is_blank(*s.at))
				s.at++;
		}
		err = take_into(&s, f->width, (char *)out + f->offset);
		if (err)
			return err;
		number++;
	}
	return 0;
}

/* ---- status ---- */

static int take_ids(struct span *s, uint32_t ids[4])
{
	int err = 0;

	for (unsigned i = 0; !err && i < 4; i++)
		err = take_into(s, U32, &ids[i]);
	return err;
}

static int take_groups(struct span *s, struct arena *a, struct proc_status *out)
{
	for (skip_status_blanks(s); a && s->at < s->end; skip_status_blanks(s)) {
		uint32_t group;
		int err = take_into(s, U32, &group);

		if (err)
			return err;
		arena_push(a, &out->groups, &out->n_groups, group);
	}
	return 0;
}

static int take_pids(struct span *s, struct proc_pids *out)
{
	*out = (struct proc_pids) { 0 };
	for (skip_status_blanks(s); s->at < s->end; skip_status_blanks(s)) {
		int err = take_into(s, I32, &out->inner);

		if (err || out->inner < 0)
			return -EBADMSG;
		if (!out->levels++)
			out->ours = out->inner;
	}
	return out->levels ? 0 : -EBADMSG;
}

enum status_type { INT, COUNT, OCTAL, MASK, IDS, PIDS, GROUPS };

struct status_key {
	const char *key;
	enum status_type type;
	size_t offset;
};

#define KEY(key, type, field)                                                                                          \
	{                                                                                                              \
		key, type, offsetof(struct proc_status, field)                                                         \
	}

static const struct status_key status_keys[] = {
	KEY("Umask", OCTAL, umask),
	KEY("Tgid", INT, tgid),
	KEY("Pid", INT, pid),
	KEY("PPid", INT, ppid),
	KEY("TracerPid", INT, tracer),
	KEY("Uid", IDS, uid),
	KEY("Gid", IDS, gid),
	KEY("Groups", GROUPS, groups),
	KEY("NStgid", PIDS, ns_tgid),
	KEY("NSpid", PIDS, ns_pid),
	KEY("NSpgid", PIDS, ns_pgid),
	KEY("NSsid", PIDS, ns_sid),
	KEY("Threads", COUNT, threads),
	KEY("SigPnd", MASK, sig_pending),
	KEY("ShdPnd", MASK, shared_pending),
	KEY("SigBlk", MASK, sig_blocked),
	KEY("SigIgn", MASK, sig_ignored),
	KEY("SigCgt", MASK, sig_caught),
	KEY("CapInh", MASK, cap_inh),
	KEY("CapPrm", MASK, cap_prm),
	KEY("CapEff", MASK, cap_eff),
	KEY("CapBnd", MASK, cap_bnd),
	KEY("CapAmb", MASK, cap_amb),
	KEY("NoNewPrivs", COUNT, no_new_privs),
	KEY("Seccomp", COUNT, seccomp),
	KEY("Seccomp_filters", COUNT, seccomp_filters),
};

static int take_status_value(struct span *s, const struct status_key *k, struct arena *a, struct proc_status *out)
{
	void *to = (char *)out + k->offset;
	uint64_t v;
	int err = 0;

	switch (k->type) {
	case INT:
		return take_into(s, I32, to);
	case COUNT:
		out->has_seccomp |= to == &out->seccomp;
		return take_into(s, U32, to);
	case OCTAL:
		err = take_unsigned(s, 8, 0777, &v);
		*(uint32_t *)to = err ? 0 : (uint32_t)v;
		out->has_umask = !err;
		return err;
	case MASK:
		return take_unsigned(s, 16, UINT64_MAX, to);
	case IDS:
		return take_ids(s, to);
	case PIDS:
		return take_pids(s, to);
	case GROUPS:
		return take_groups(s, a, out);
	}
	return err;
}

static int parse_status_line(struct span line, struct arena *a, struct proc_status *out, uint64_t *seen)
{
	const char *colon = memchr(line.at, ':', (size_t)(line.end - line.at));

	if (!colon)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(status_keys); i++) {
		const char *key = status_keys[i].key;
		size_t len = (size_t)(colon - line.at);
		struct span value = { colon + 1, line.end };

		if (strlen(key) != len || memcmp(key, line.at, len))
			continue;
		if (*seen & (1ULL << i))
			return -EBADMSG;
		*seen |= 1ULL << i;
		return take_status_value(&value, &status_keys[i], a, out);
	}
	return 0;
}

int proc_parse_status(const char *text, size_t len, struct arena *a, struct proc_status *out)
{
	const char *end = text + len;
	uint64_t seen = 0;

	_Static_assert(ARRAY_SIZE(status_keys) <= 64, "a bit each");
	memset(out, 0, sizeof(*out));
	while (text < end) {
		const char *stop = memchr(text, '\n', (size_t)(end - text)) ?: end;
		int err = parse_status_line((struct span) { text, stop }, a, out, &seen);

		if (err)
			return err;
		text = stop < end ? stop + 1 : end;
	}
	/* The name, which is the first line, is escaped by the kernel: no line is made up by it. */
	return out->tgid > 0 && out->pid > 0 ? 0 : -EBADMSG;
}

int proc_parse_pid_list(const char *text, size_t len, struct arena *a, pid_t **pids, size_t *n)
{
	struct span s = { text, text + len };

	for (skip_status_blanks(&s); s.at < s.end; skip_status_blanks(&s)) {
		int32_t pid;
		int err = take_into(&s, I32, &pid);

		if (err || pid <= 0)
			return -EBADMSG;
		arena_push(a, pids, n, pid);
	}
	return 0;
}
