/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "core/proc_maps.h"

#define FIRST_BUFFER (32UL << 10)
#define MAX_BUFFER   (1UL << 20) /* a name has PATH_MAX bytes, each of which may be escaped with four */

/* ---- one line ---- */

static bool parse_hex(const char **p, uint64_t *v)
{
	const char *s = *p;
	uint64_t n = 0;

	for (;; s++) {
		unsigned digit;

		if (*s >= '0' && *s <= '9')
			digit = (unsigned)(*s - '0');
		else if (*s >= 'a' && *s <= 'f')
			digit = (unsigned)(*s - 'a') + 10;
		else
			break;
		if (n >> 60)
			return false;
		n = n << 4 | digit;
	}
	if (s == *p)
		return false;
	*p = s;
	*v = n;
	return true;
}

static bool parse_dec(const char **p, uint64_t *v)
{
	char *end;

	if (**p < '0' || **p > '9')
		return false;
	errno = 0;
	*v = strtoull(*p, &end, 10);
	*p = end;
	return !errno;
}

static bool expect(const char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

/* "rwxp" and the like. */
static bool parse_perms(const char **p, struct map_entry *e)
{
	const char *s = *p;

	if ((s[0] != 'r' && s[0] != '-') || (s[1] != 'w' && s[1] != '-') || (s[2] != 'x' && s[2] != '-') ||
	    (s[3] != 'p' && s[3] != 's'))
		return false;
	e->prot = (s[0] == 'r' ? PROT_READ : 0) | (s[1] == 'w' ? PROT_WRITE : 0) | (s[2] == 'x' ? PROT_EXEC : 0);
	e->shared = s[3] == 's';
	*p = s + 4;
	return true;
}

int parse_map_line(char *line, size_t len, struct map_entry *e)
{
	const char *p = line;
	uint64_t major, minor;

	memset(e, 0, sizeof(*e));
	line[len] = 0;
	if (!parse_hex(&p, &e->start) || !expect(&p, '-') || !parse_hex(&p, &e->end) || !expect(&p, ' ') ||
	    !parse_perms(&p, e) || !expect(&p, ' ') || !parse_hex(&p, &e->pgoff) || !expect(&p, ' ') ||
	    !parse_hex(&p, &major) || !expect(&p, ':') || !parse_hex(&p, &minor) || !expect(&p, ' ') ||
	    !parse_dec(&p, &e->ino))
		return -EBADMSG;
	if (*p && *p != ' ')
		return -EBADMSG;
	while (*p == ' ')
		p++;
	if (e->start >= e->end || e->start % PAGE_SIZE || e->end % PAGE_SIZE || major > UINT32_MAX ||
	    minor > UINT32_MAX || strlen(line) != len)
		return -EBADMSG;
	e->major = (unsigned)major;
	e->minor = (unsigned)minor;
	e->name = p;
	return 0;
}

uint64_t parse_vm_flags(const char *text)
{
	static const char names[][3] = {
#define X(f) #f,
		VM_FLAGS(X)
#undef X
	};
	uint64_t flags = 0;

	for (const char *p = text;;) {
		size_t i = 0, len;

		p += strspn(p, " \t");
		len = strcspn(p, " \t");
		if (!len)
			return flags;
		while (i < VMF_COUNT && (len != 2 || memcmp(names[i], p, 2)))
			i++;
		flags |= i < VMF_COUNT ? 1ULL << i : VMF_UNKNOWN;
		p += len;
	}
}

/* ---- the file ---- */

struct reader {
	int fd;
	char *buf;
	size_t size, begin, end; /* what is not parsed yet */
	struct map_entry e;      /* collected so far */
	char *line;              /* the first line of e: names point into it */
	size_t line_size;
	bool pending;
	raddr_t last_end;
	map_entry_fn fn;
	void *arg;
};

static int emit(struct reader *r)
{
	if (!r->pending)
		return 0;
	r->pending = false;
	return r->fn(r->arg, &r->e);
}

static int begin_entry(struct reader *r, const char *line, size_t len)
{
	int err = emit(r);

	if (err)
		return err;
	if (r->line_size < len + 1) {
		free(r->line);
		r->line_size = round_up(len + 1, 256);
		r->line = malloc(r->line_size);
		if (!r->line) {
			r->line_size = 0;
			return -ENOMEM;
		}
	}
	memcpy(r->line, line, len);
	err = parse_map_line(r->line, len, &r->e);
	if (err || r->e.start < r->last_end)
		return -EBADMSG;
	r->last_end = r->e.end;
	r->pending = true;
	return 0;
}

/* Keys start with a capital letter; addresses are lower-case hexadecimal. */
static int take_line(struct reader *r, char *line, size_t len)
{
	line[len] = 0;
	if (!(*line >= 'A' && *line <= 'Z'))
		return begin_entry(r, line, len);
	if (!r->pending)
		return -EBADMSG;
	if (!strncmp(line, "VmFlags:", 8)) {
		r->e.flags = parse_vm_flags(line + 8);
		r->e.has_flags = true;
	} else if (!strncmp(line, "ProtectionKey:", 14)) {
		r->e.pkey = (uint32_t)strtoul(line + 14, NULL, 10);
	}
	return 0;
}

static int fill(struct reader *r, bool *at_end)
{
	ssize_t n;

	if (r->begin) {
		memmove(r->buf, r->buf + r->begin, r->end - r->begin);
		r->end -= r->begin;
		r->begin = 0;
	}
	if (r->end == r->size) {
		char *bigger = r->size < MAX_BUFFER ? realloc(r->buf, r->size * 2 + 1) : NULL;

		if (!bigger)
			return r->size < MAX_BUFFER ? -ENOMEM : -EBADMSG;
		r->buf = bigger;
		r->size *= 2;
	}
	do
		n = read(r->fd, r->buf + r->end, r->size - r->end);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	r->end += (size_t)n;
	*at_end = !n;
	return 0;
}

static int take_lines(struct reader *r)
{
	int err = 0;
	char *nl;

	while (!err && (nl = memchr(r->buf + r->begin, '\n', r->end - r->begin))) {
		char *line = r->buf + r->begin;

		r->begin = (size_t)(nl + 1 - r->buf);
		err = take_line(r, line, (size_t)(nl - line));
	}
	return err;
}

int proc_each_map(int dir_fd, const char *path, map_entry_fn fn, void *arg)
{
	_cleanup_close_ int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
	struct reader r = { .fd = fd, .size = FIRST_BUFFER, .fn = fn, .arg = arg };
	bool at_end = false;
	int err = 0;

	if (fd < 0)
		return -errno;
	r.buf = malloc(r.size + 1);
	if (!r.buf)
		return -ENOMEM;
	while (!err && !at_end) {
		err = fill(&r, &at_end);
		if (!err)
			err = take_lines(&r);
	}
	if (!err && r.begin != r.end)
		err = -EBADMSG;
	if (!err)
		err = emit(&r);
	free(r.buf);
	free(r.line);
	return err;
}
