/* SPDX-License-Identifier: GPL-2.0-only */
/* Fuzzing the parsers of /proc: the first byte says which. */
#include <string.h>

#include "core/arena.h"
#include "core/fd_flags.h"
#include "core/fdinfo.h"
#include "core/lockline.h"
#include "core/proc.h"
#include "core/proc_maps.h"
#include "core/procfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was taken is what the header promises. */
static void check_maps(const struct proc_map *maps, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (maps[i].start >= maps[i].end || maps[i].start % PAGE_SIZE || maps[i].end % PAGE_SIZE ||
		    (i && maps[i].start < maps[i - 1].end) || !maps[i].name)
			abort();
}

/* Whole, and in two pieces of whole lines: the same. */
static void try_maps(struct arena *a, const char *text, size_t len)
{
	struct proc_map *maps = NULL, *pieces = NULL;
	size_t n = 0, n_pieces = 0, half = 0;
	int err = parse_proc_maps(text, len, a, &maps, &n), part;

	if (!err)
		check_maps(maps, n);
	for (size_t i = 0; i < len / 2; i++)
		if (text[i] == '\n')
			half = i + 1;
	part = parse_proc_maps(text, half, a, &pieces, &n_pieces);
	if (!part)
		part = parse_proc_maps(text + half, len - half, a, &pieces, &n_pieces);
	if (!err && (part || n != n_pieces))
		abort();
}

static void try_pids(struct arena *a, const char *text, size_t len)
{
	pid_t *pids = NULL;
	size_t n = 0;

	if (parse_pid_list(text, len, a, &pids, &n) == 0)
		for (size_t i = 0; i < n; i++)
			if (pids[i] <= 0)
				abort();
}

static void try_stat(const char *text, size_t len)
{
	struct proc_stat st;

	if (parse_proc_stat(text, len, &st) == 0 && (st.comm[sizeof(st.comm) - 1] || !st.state))
		abort();
}

static void try_status(struct arena *a, const char *text, size_t len)
{
	struct proc_status st;

	if (parse_proc_status(text, len, a, &st) == 0 && (st.tgid <= 0 || st.pid <= 0 || st.umask > 0777))
		abort();
}

/* This one takes a string. */
static void try_fdinfo(struct arena *a, const char *text, size_t len)
{
	char *copy = arena_alloc(a, len + 1);
	struct proc_path path;
	int32_t pid, inner;
	struct fdinfo info;
	const char *v;
	uint64_t n;

	memcpy(copy, text, len);
	parse_fdinfo(copy, &info);
	v = fdinfo_value(copy, "it_value");
	if (v && (v < copy || v > copy + len))
		abort();
	fdinfo_number(copy, "ticks", 10, &n);
	for (const char *at = copy; at; at = next_line(at)) {
		struct lock_line l;

		if (!parse_lock_line(at, &l) && (l.start < 0 || l.len < 0 || l.start > INT64_MAX - l.len))
			abort();
	}
	if (!parse_fdinfo_pidfd(copy, &pid, &inner) && (pid < -1 || inner < -1))
		abort();
	if (proc_path_parse(copy, &path) &&
	    (path.pid <= 0 || path.tid < 0 || path.mount_len >= len || path.rest < copy || path.rest > copy + len))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new();
	/* A copy of exactly this size: a read behind its end is seen. */
	char *text = malloc(size ?: 1);
	size_t len = size ? size - 1 : 0;

	memcpy(text, data + (size ? 1 : 0), len);
	switch (size ? data[0] % 5 : 0) {
	case 0:
		try_stat(text, len);
		break;
	case 1:
		try_status(a, text, len);
		break;
	case 2:
		try_pids(a, text, len);
		break;
	case 3:
		try_fdinfo(a, text, len);
		break;
	default:
		try_maps(a, text, len);
		break;
	}
	free(text);
	arena_free(a);
	return 0;
}
