/* SPDX-License-Identifier: GPL-2.0-only */
#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "proc/lockline.h"
#include "proc/proc.h"

static int kind_of(const char *word, enum file_lock_flag *kind)
{
	static const struct {
		const char *word;
		enum file_lock_flag kind;
	} kinds[] = {
		{ "FLOCK", LOCK_FLOCK }, { "POSIX", LOCK_POSIX }, { "OFDLCK", LOCK_OFD }, { "LEASE", LOCK_LEASE }
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!strcmp(word, kinds[i].word)) {
			*kind = kinds[i].kind;
			return 0;
		}
	}
	return -ENOTSUP;
}

static int lock_type_of(const char *word, int *type)
{
	if (!strcmp(word, "READ"))
		*type = F_RDLCK;
	else if (!strcmp(word, "WRITE"))
		*type = F_WRLCK;
	else if (!strcmp(word, "UNLCK"))
		*type = F_UNLCK;
	else
		return -ENOTSUP;
	return 0;
}

/* "10 14" is five bytes, "10 EOF" all from there. */
static int parse_range(const char *start, const char *end, struct lock_line *out)
{
	char *rest;
	long long last;

	errno = 0;
	out->start = strtoll(start, &rest, 10);
	if (errno || rest == start || *rest || out->start < 0)
		return -EBADMSG;
	out->len = 0;
	if (!strcmp(end, "EOF"))
		return 0;
	last = strtoll(end, &rest, 10);
	/* The last byte that there can be is shown as EOF. */
	if (errno || rest == end || *rest || last < out->start || last == LLONG_MAX)
		return -EBADMSG;
	out->len = last - out->start + 1;
	return 0;
}

int lockline_parse(const char *line, struct lock_line *out)
{
	char text[160], kind[16], state[16], type[16], start[24], end[24];
	size_t len = strcspn(line, "\n");
	int err;

	*out = (struct lock_line) { 0 };
	if (!strncmp(line, "lock:", 5)) {
		line += 5;
		len -= 5;
	}
	if (len >= sizeof(text))
		return -EBADMSG;
	memcpy(text, line, len); /* sscanf() measures what it is given: not the whole file for each line */
	text[len] = 0;
	if (sscanf(text, " %*u: %15s %15s %15s %d %" SCNx64 ":%" SCNx64 ":%" SCNu64 " %23s %23s", kind, state, type,
	           &out->pid, &out->dev_major, &out->dev_minor, &out->ino, start, end) != 9)
		return -EBADMSG;
	err = kind_of(kind, &out->kind);
	if (!err)
		err = lock_type_of(type, &out->type);
	out->breaking = !strcmp(state, "BREAKING");
	return err ?: parse_range(start, end, out);
}

const char *proc_next_line(const char *line)
{
	line = strchr(line, '\n');
	return line && line[1] ? line + 1 : NULL;
}

bool lockline_is_leased(const struct stat *st)
{
	_cleanup_free_ char *text = NULL;

	if (proc_read(AT_FDCWD, "/proc/locks", &text, NULL))
		return true;
	for (const char *at = text; at && *at; at = proc_next_line(at)) {
		struct lock_line line;

		if (!lockline_parse(at, &line) && line.kind == LOCK_LEASE && (!st || line.ino == st->st_ino))
			return true;
	}
	return false;
}
