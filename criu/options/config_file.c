/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Configuration files, as criu(8) describes them: an option a line without its dashes, its value after blanks or '=',
 * in double quotes where it has blanks ('\"' stands for a quote, every other '\' for itself); '#' starts a comment.
 */
#include <string.h>

#include "lib/arena.h"
#include "lib/log.h"
#include "options/option_table.h"

#define LINE_MAX_BYTES 65536

static char *skip_config_blanks(char *s)
{
	return s + strspn(s, " \t\r\n");
}

static bool at_end(const char *s)
{
	return *s == '\0' || *s == '#';
}

/* Takes the value that starts at s, in place; *after is what follows it. NULL: a quote is not closed. */
static char *take_config_value(char *s, char **after)
{
	char *out = s + 1, *in;

	if (*s != '"') {
		*after = s + strcspn(s, " \t\r\n#");
		return s;
	}
	for (in = s + 1; *in && *in != '"'; in++) {
		if (in[0] == '\\' && in[1] == '"')
			in++;
		*out++ = *in;
	}
	if (!*in)
		return NULL;
	*out = '\0';
	*after = in + 1;
	return s + 1;
}

/* Splits a line in place. Returns 0 for an empty one, 1 with *name, *len and *value (NULL: none), or a negative errno.
 */
static int split_line(char *line, const char *from, char **name, size_t *len, char **value)
{
	char *s = skip_config_blanks(line), *after;
	bool equals;

	*value = NULL;
	if (at_end(s))
		return 0;
	*name = s;
	*len = strcspn(s, " \t\r\n=#");
	if (!*len) {
		log_errno(0, "%sa line starts with the name of an option", from);
		return -EINVAL;
	}
	if (*s == '-') {
		log_errno(0, "%s%.*s: options stand without dashes here", from, (int)*len, s);
		return -EINVAL;
	}
	s = skip_config_blanks(s + *len);
	equals = *s == '=';
	if (equals)
		s = skip_config_blanks(s + 1);
	if (at_end(s)) {
		if (equals) {
			log_errno(0, "%s%.*s: no value after =", from, (int)*len, *name);
			return -EINVAL;
		}
		return 1;
	}
	*value = take_config_value(s, &after);
	if (!*value) {
		log_errno(0, "%s%.*s: the quotes are not closed", from, (int)*len, *name);
		return -EINVAL;
	}
	s = skip_config_blanks(after);
	if (!at_end(s)) {
		log_errno(0, "%s%.*s: more than one value; put it in double quotes if it has blanks", from, (int)*len,
		          *name);
		return -EINVAL;
	}
	*after = '\0'; /* a blank, a comment, the closing quote's successor, or the end already */
	return 1;
}

static int apply_line(struct options *o, char *line, const char *from)
{
	const struct option_row *row;
	char *name, *value;
	bool negate;
	size_t len;
	int ret = split_line(line, from, &name, &len, &value);

	if (ret <= 0)
		return ret;
	row = option_lookup(name, len, &negate, from);
	if (!row)
		return -EINVAL;
	return option_apply(o, row, value ? arena_strdup(o->arena, value) : NULL, negate, from);
}

/* With its newline, followed by a zero; a longer line comes in part. -1: there is none. The file may have no end. */
static ssize_t read_line(FILE *f, char line[LINE_MAX_BYTES + 2])
{
	ssize_t n = 0;
	int c = 0;

	while (n <= LINE_MAX_BYTES && c != '\n' && (c = getc_unlocked(f)) != EOF)
		line[n++] = (char)c;
	line[n] = '\0';
	return n ?: -1;
}

int config_file_apply(struct options *o, const char *path, bool required)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_free_ char *line = malloc(LINE_MAX_BYTES + 2);
	ssize_t n;
	int first = 0;

	if (!f && !required) {
		if (errno != ENOENT)
			log_warn("open of the configuration file %s: %s; its options are not used", path,
			         strerror(errno));
		return 0;
	}
	if (!f)
		return log_errno(-errno, "open of the configuration file %s", path);
	if (!line)
		return log_errno(-ENOMEM, "the configuration file %s", path);
	for (unsigned number = 1; (n = read_line(f, line)) >= 0; number++) {
		const char *from = arena_printf(o->arena, "%s:%u: ", path, number);
		int err;

		if (n > LINE_MAX_BYTES || (size_t)n != strlen(line)) {
			log_errno(0, "%sthe line contains a zero byte or is too long", from);
			return -EINVAL;
		}
		err = apply_line(o, line, from);
		if (!first)
			first = err;
	}
	if (ferror(f))
		return log_errno(-errno, "read of the configuration file %s", path);
	return first;
}
