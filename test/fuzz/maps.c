/* SPDX-License-Identifier: GPL-2.0-only */
/* Fuzzing /proc/PID/maps and smaps. */
#include <string.h>

#include "arch_page.h"
#include "lib/arena.h"
#include "proc/proc_maps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was taken is what the header promises. */
static void check(const struct proc_map *maps, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (maps[i].start >= maps[i].end || maps[i].start % PAGE_SIZE || maps[i].end % PAGE_SIZE ||
		    (i && maps[i].start < maps[i - 1].end) || !maps[i].name)
			abort();
}

/* Whole, and in two pieces of whole lines: the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct proc_map *maps = NULL, *pieces = NULL;
	size_t n = 0, n_pieces = 0, half = 0;
	struct arena *a = arena_new();
	char *text = malloc(len ?: 1);
	int err, part;

	memcpy(text, data, len);
	err = proc_parse_maps(text, len, a, &maps, &n);
	if (!err)
		check(maps, n);
	for (size_t i = 0; i < len / 2; i++)
		if (text[i] == '\n')
			half = i + 1;
	part = proc_parse_maps(text, half, a, &pieces, &n_pieces);
	if (!part)
		part = proc_parse_maps(text + half, len - half, a, &pieces, &n_pieces);
	if (!err && (part || n != n_pieces))
		abort();
	free(text);
	arena_free(a);
	return 0;
}
