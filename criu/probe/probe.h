/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the running kernel can do, found out by trying and never by its version. For those that have another way when a
 * feature is missing, and for `criu check`. A missing feature is an error only for a checkpoint that needs it.
 */
#ifndef CRIU_PROBE_PROBE_H
#define CRIU_PROBE_PROBE_H

#include "common.h"
#include "kernel_features.h"

struct feature_row {
	const char *name;
	enum feature_class class;
	const char *purpose;
	int (*probe)(void); /* 0: there; a negative errno: why not */
};

extern const struct feature_row probe_features[FEATURE_COUNT];

/* Tries one feature now; 0 or a negative errno (not logged). Forks for some; leaves nothing behind. */
int probe_try(enum feature feature);

/* Looks a feature up by name: its number, or -ENOENT. */
int probe_by_name(const char *name);

#endif
