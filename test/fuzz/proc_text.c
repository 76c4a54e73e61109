/* SPDX-License-Identifier: GPL-2.0-only */
/* Fuzzing stat, status and lists of pids in /proc: the first byte says which. */
#include <string.h>

#include "lib/arena.h"
#include "proc/proc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_pids(struct arena *a, const char *text, size_t len)
{
	pid_t *pids = NULL;
	size_t n = 0;

	if (proc_parse_pid_list(text, len, a, &pids, &n) == 0)
		for (size_t i = 0; i < n; i++)
			if (pids[i] <= 0)
				abort();
}

static void try_stat(const char *text, size_t len)
{
	struct proc_stat st;

	if (proc_parse_stat(text, len, &st) == 0 && (st.comm[sizeof(st.comm) - 1] || !st.state))
		abort();
}

static void try_status(struct arena *a, const char *text, size_t len)
{
	struct proc_status st;

	if (proc_parse_status(text, len, a, &st) == 0 && (st.tgid <= 0 || st.pid <= 0 || st.umask > 0777))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new();
	/* A copy of exactly this size: a read behind its end is seen. */
	char *text = malloc(size ?: 1);
	size_t len = size ? size - 1 : 0;

	memcpy(text, data + (size ? 1 : 0), len);
	switch (size ? data[0] % 3 : 0) {
	case 0:
		try_stat(text, len);
		break;
	case 1:
		try_status(a, text, len);
		break;
	default:
		try_pids(a, text, len);
		break;
	}
	free(text);
	arena_free(a);
	return 0;
}
