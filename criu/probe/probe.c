/* SPDX-License-Identifier: GPL-2.0-only */
/* The table of features. */
#include <string.h>

#include "probe/probe_fns.h"

const struct feature_row probe_features[FEATURE_COUNT] = {
#define FEATURE_ROW(id, name, class, purpose) [FEATURE_##id] = { name, FEATURE_##class, purpose, probe_##id },
	FEATURES(FEATURE_ROW)
#undef FEATURE_ROW
};

int probe_try(enum feature feature)
{
	return probe_features[feature].probe();
}

/* Other names of the same, CRIU's where we have another. */
static const struct {
	const char *name;
	enum feature feature;
} aliases[] = {
	{ "kcmp_epoll", FEATURE_epoll_targets },
	{ "nftables", FEATURE_network_lock_nft },
	{ "network_lock_nftables", FEATURE_network_lock_nft },
};

int probe_by_name(const char *name)
{
	for (int i = 0; i < FEATURE_COUNT; i++)
		if (strcmp(probe_features[i].name, name) == 0)
			return i;
	for (size_t i = 0; i < ARRAY_SIZE(aliases); i++)
		if (strcmp(aliases[i].name, name) == 0)
			return (int)aliases[i].feature;
	return -ENOENT;
}
