/* SPDX-License-Identifier: GPL-2.0-only */
/* Fuzzing the lines of /proc/PID/mountinfo. */
#include <string.h>

#include "proc/mountinfo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new();
	char *text = malloc(size ?: 1);
	struct mount_at m;

	memcpy(text, data, size);
	for (size_t at = 0; at < size;) {
		const char *end = memchr(text + at, '\n', size - at);
		size_t len = end ? (size_t)(end - text) - at : size - at;

		if (!mountinfo_parse_line(text + at, len, a, &m) && (m.id < 0 || !m.path || !*m.path))
			abort();
		at += len + 1;
	}
	free(text);
	arena_free(a);
	return 0;
}
