/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fuzzing the parsers of socket diagnostics: the first byte says which; the rest is an answer behind its nlmsghdr, or a
 * line of /proc/net/raw and its like.
 */
#include <string.h>

#include "lib/arena.h"
#include "sock/diag.h"
#include "sock/inet/inet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads all of it: what it says is there has to be there. */
static unsigned sum(const void *bytes, size_t len)
{
	unsigned s = 0;

	for (size_t i = 0; i < len; i++)
		s += ((const uint8_t *)bytes)[i];
	return s;
}

static void try_unix(struct arena *a, const void *answer, size_t len)
{
	struct diag_unix s;

	if (diag_parse_unix(a, answer, len, &s))
		return;
	if (sum(s.name, s.name_len) + sum(s.icons, s.n_icons * sizeof(*s.icons)) > 255 * len || s.name_len > len)
		abort();
}

static void try_inet(struct arena *a, const void *answer, size_t len)
{
	struct diag_inet s;

	if (diag_parse_inet(a, answer, len, &s) == 0 && len < 72)
		abort();
}

static void try_netlink(struct arena *a, const void *answer, size_t len)
{
	struct diag_netlink s;

	if (diag_parse_netlink(a, answer, len, &s))
		return;
	if (sum(s.groups, s.n_groups * sizeof(*s.groups)) > 255 * len)
		abort();
}

static void try_packet(struct arena *a, const void *answer, size_t len)
{
	struct diag_packet s;

	if (diag_parse_packet(a, answer, len, &s))
		return;
	for (size_t i = 0; i < s.n_mc; i++)
		if (s.mc[i].alen > sizeof(s.mc[i].addr))
			abort();
	if (s.n_mc * 44 > len || sum(s.rx_ring, s.rx_ring ? 28 : 0) + sum(s.tx_ring, s.tx_ring ? 28 : 0) > 255 * 56)
		abort();
}

static void try_line(struct arena *a, const void *answer, size_t len)
{
	char *line = arena_alloc(a, len + 1);
	union inet_addr local, peer;
	uint64_t ino;

	memcpy(line, answer, len);
	for (int family = AF_INET;; family = AF_INET6) {
		if (!inet_proc_parse_line(line, family, &ino, &local, &peer) &&
		    (local.any.sa_family != family || peer.any.sa_family != family || !*inet_addr_text(&peer)))
			abort();
		if (family == AF_INET6)
			break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const tries[])(struct arena *, const void *, size_t) = { try_unix, try_inet, try_netlink,
		                                                               try_packet, try_line };
	struct arena *a = arena_new();
	/* A copy of exactly this size: a read behind its end is seen. */
	size_t len = size ? size - 1 : 0;
	char *answer = malloc(len ?: 1);

	memcpy(answer, data + (size ? 1 : 0), len);
	tries[size ? data[0] % 5 : 0](a, answer, len);
	free(answer);
	arena_free(a);
	return 0;
}
