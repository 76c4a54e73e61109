/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "arch_page.h"
#include "proc/proc_maps.h"

/* A line holds a path of 4 KiB, of which every byte may be written as four. */
#define BUF_SIZE (64UL << 10)

struct cursor {
	const char *at, *end;
};

static const char flag_names[VMF_BITS][3] = {
#define X(name) #name,
	PROC_MAP_FLAGS(X)
#undef X
};

#define LETTERS 26U

/* By two small letters: the bit of the flag of that name, plus one; 0: none that is used. */
struct flag_table {
	uint8_t bit[LETTERS * LETTERS];
};

static struct flag_table make_flag_table(void)
{
	struct flag_table t = { 0 };

	for (unsigned i = 0; i < VMF_BITS; i++)
		t.bit[(unsigned)(flag_names[i][0] - 'a') * LETTERS + (unsigned)(flag_names[i][1] - 'a')] =
		    (uint8_t)(i + 1);
	return t;
}

static bool take_prefix(struct cursor *c, char wanted)
{
	if (c->at == c->end || *c->at != wanted)
		return false;
	c->at++;
	return true;
}

static void skip_map_blanks(struct cursor *c)
{
	while (c->at < c->end && (*c->at == ' ' || *c->at == '\t'))
		c->at++;
}

/* A number without sign or prefix; false where no number stands there or it does not fit. */
static bool take_map_number(struct cursor *c, unsigned base, uint64_t max, uint64_t *value)
{
	const char *first = c->at;

	*value = 0;
	for (; c->at < c->end; c->at++) {
		unsigned char ch = (unsigned char)*c->at;
		unsigned digit = ch >= '0' && ch <= '9'   ? (unsigned)(ch - '0')
		                 : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10U
		                                          : base;

		if (digit >= base)
			break;
		if (__builtin_mul_overflow(*value, base, value) || __builtin_add_overflow(*value, digit, value) ||
		    *value > max)
			return false;
	}
	return c->at > first;
}

static bool take_perms(struct cursor *c, struct proc_map *m)
{
	static const struct {
		char on;
		uint32_t prot;
	} bits[] = { { 'r', PROT_READ }, { 'w', PROT_WRITE }, { 'x', PROT_EXEC } };

	for (size_t i = 0; i < ARRAY_SIZE(bits); i++) {
		if (take_prefix(c, bits[i].on))
			m->prot |= bits[i].prot;
		else if (!take_prefix(c, '-'))
			return false;
	}
	m->shared = take_prefix(c, 's');
	return m->shared || take_prefix(c, 'p');
}

/* The kernel writes a newline in a name as \012, and nothing else so. */
static const char *decode_name(struct arena *a, const char *text, size_t len)
{
	char *name = arena_alloc(a, len + 1), *to = name;

	for (size_t i = 0; i < len; i++) {
		if (len - i >= 4 && !memcmp(text + i, "\\012", 4)) {
			*to++ = '\n';
			i += 3;
		} else {
			*to++ = text[i];
		}
	}
	return name;
}

static int parse_head(struct cursor c, struct arena *a, uint64_t floor, struct proc_map *m)
{
	uint64_t major, minor;

	if (!take_map_number(&c, 16, UINT64_MAX, &m->start) || !take_prefix(&c, '-') ||
	    !take_map_number(&c, 16, UINT64_MAX, &m->end) || !take_prefix(&c, ' ') || !take_perms(&c, m) ||
	    !take_prefix(&c, ' ') || !take_map_number(&c, 16, UINT64_MAX, &m->pgoff) || !take_prefix(&c, ' ') ||
	    !take_map_number(&c, 16, UINT32_MAX, &major) || !take_prefix(&c, ':') ||
	    !take_map_number(&c, 16, UINT32_MAX, &minor) || !take_prefix(&c, ' ') ||
	    !take_map_number(&c, 10, UINT64_MAX, &m->ino))
		return -EBADMSG;
	if (m->start < floor || m->start >= m->end || (m->start | m->end | m->pgoff) % PAGE_SIZE)
		return -EBADMSG;
	if (c.at < c.end && !take_prefix(&c, ' '))
		return -EBADMSG;
	skip_map_blanks(&c);
	if (memchr(c.at, 0, (size_t)(c.end - c.at)))
		return -EBADMSG;
	m->major = (uint32_t)major;
	m->minor = (uint32_t)minor;
	m->name = c.at == c.end ? "" : decode_name(a, c.at, (size_t)(c.end - c.at));
	return 0;
}

static void parse_flags(struct cursor c, const struct flag_table *table, struct proc_map *m)
{
	m->has_flags = true;
	for (skip_map_blanks(&c); c.end - c.at >= 2; skip_map_blanks(&c)) {
		unsigned first = (unsigned char)c.at[0] - (unsigned)'a',
		         second = (unsigned char)c.at[1] - (unsigned)'a';
		unsigned bit = first < LETTERS && second < LETTERS ? table->bit[first * LETTERS + second] : 0;

		m->flags |= bit ? 1U << (bit - 1) : 0;
		c.at += 2;
	}
}

/* Of the lines that are sizes, where the value goes, or NULL: it is not used. */
static uint64_t *size_of_key(const char *key, size_t len, struct proc_map *m)
{
#define IS(name) (len == sizeof(name) - 1 && !memcmp(key, name, sizeof(name) - 1))
	return IS("AnonHugePages")    ? &m->anon_huge
	       : IS("KernelPageSize") ? &m->page_size
	       : IS("Anonymous")      ? &m->anonymous
	       : IS("Shared_Dirty")   ? &m->shared_dirty
	                              : NULL;
#undef IS
}

/* "Key:   value"; keys that are not used are passed over. */
static int parse_attribute(struct cursor c, const struct flag_table *table, struct proc_map *m)
{
	const char *colon = memchr(c.at, ':', (size_t)(c.end - c.at));
	size_t len = colon ? (size_t)(colon - c.at) : 0;
	const char *key = c.at;
	uint64_t value, *size;

	if (!colon)
		return -EBADMSG;
	c.at = colon + 1;
	if (len == 7 && !memcmp(key, "VmFlags", len)) {
		parse_flags(c, table, m);
	} else if ((size = size_of_key(key, len, m))) {
		skip_map_blanks(&c);
		if (!take_map_number(&c, 10, UINT64_MAX >> 10, &value))
			return -EBADMSG;
		*size = value << 10;
	} else if (len == 13 && !memcmp(key, "ProtectionKey", len)) {
		skip_map_blanks(&c);
		if (!take_map_number(&c, 10, UINT32_MAX, &value))
			return -EBADMSG;
		m->pkey = (uint32_t)value;
	}
	return 0;
}

static bool is_attribute(struct cursor c)
{
	return c.at < c.end && *c.at >= 'A' && *c.at <= 'Z';
}

static int add_map(struct cursor c, struct arena *a, struct proc_map **maps, size_t *n)
{
	struct proc_map m = { .name = "" };
	int err = parse_head(c, a, *n ? (*maps)[*n - 1].end : 0, &m);

	if (!err)
		arena_push(a, maps, n, m);
	return err;
}

int proc_parse_maps(const char *text, size_t len, struct arena *a, struct proc_map **maps, size_t *n)
{
	const struct flag_table table = make_flag_table();
	const char *end = text + len;
	int err = 0;

	while (!err && text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		struct cursor c = { text, newline ? newline : end };

		text = newline ? newline + 1 : end;
		if (is_attribute(c))
			err = *n ? parse_attribute(c, &table, &(*maps)[*n - 1]) : -EBADMSG;
		else
			err = add_map(c, a, maps, n);
	}
	return err;
}

int proc_read_maps(int proc_fd, const char *file, struct arena *a, struct proc_map **maps, size_t *n)
{
	_cleanup_close_ int fd = openat(proc_fd, file, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *buf = malloc(BUF_SIZE);
	size_t len = 0;

	if (fd < 0)
		return -errno;
	if (!buf)
		return -ENOMEM;
	for (;;) {
		ssize_t got = read(fd, buf + len, BUF_SIZE - len);
		const char *newline;
		size_t whole;
		int err;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			return len ? proc_parse_maps(buf, len, a, maps, n) : 0;
		len += (size_t)got;
		newline = memrchr(buf, '\n', len);
		if (!newline && len == BUF_SIZE)
			return -EBADMSG;
		whole = newline ? (size_t)(newline - buf) + 1 : 0;
		err = proc_parse_maps(buf, whole, a, maps, n);
		if (err)
			return err;
		memmove(buf, buf + whole, len - whole);
		len -= whole;
	}
}
