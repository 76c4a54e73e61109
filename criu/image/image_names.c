/* SPDX-License-Identifier: GPL-2.0-only */
#include "image/image_names.h"

#include <ctype.h>
#include <string.h>

#include "image/image_dir.h"

struct name_row {
	const char *name, *header;
};

static const struct name_row name_rows[] = {
#define IMAGE(id, file, head, number, message, extra) { .name = (file), .header = #head },
#include "images.def"
#undef IMAGE
	{ .name = IMAGE_SUMS, .header = "RAW" },
	{ .name = IMAGE_SERVER_SUMS, .header = "RAW" },
	{ .name = "punched.img.tmp", .header = "RAW" }, /* a killed dedup has left it */
	{ .name = IMAGE_SUMS ".tmp", .header = "RAW" }, /* versions before the exchange left it when they were killed */
};

/* Whether the name is the pattern with a number in the place of %u or %x. */
static bool fits_pattern(const char *name, const char *pattern)
{
	const char *mark = strchr(pattern, '%');
	size_t before = mark ? (size_t)(mark - pattern) : 0;
	const char *at = name + before;

	if (!mark)
		return !strcmp(name, pattern);
	if (strncmp(name, pattern, before) != 0)
		return false;
	while (mark[1] == 'x' ? isxdigit((unsigned char)*at) : isdigit((unsigned char)*at))
		at++;
	return at > name + before && !strcmp(at, mark + 2);
}

bool image_names_has(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(name_rows); i++)
		if (fits_pattern(name, name_rows[i].name))
			return strcmp(name_rows[i].header, "SERVICE") != 0;
	return false;
}
