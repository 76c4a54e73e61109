/* SPDX-License-Identifier: GPL-2.0-only */
/* Figures of one run, for stats-dump, stats-restore and --display-stats. Times are microseconds. */
#ifndef CRIU_OPTIONS_STATS_H
#define CRIU_OPTIONS_STATS_H

#include "lib/clock.h"
#include "options/options.h"

#define STATS_LAPS 16

struct stats {
	uint64_t started; /* CLOCK_MONOTONIC, us */
	struct {
		const char *name;
		uint64_t time;
	} laps[STATS_LAPS]; /* in the order in which they were met first */
	size_t n_laps;
	uint64_t lap_at; /* the end of the last one; 0: none yet */
	uint64_t freezing_time, frozen_time, memdump_time, memwrite_time;
	uint64_t pages_scanned, pages_written, pages_skipped_prev, shpages_scanned, shpages_written;
	uint64_t forking_time, restore_time, pages_restored, pages_compared, pages_skipped_cow;
};

/* What was done since the lap before, or since the start, was this (a constant text); laps of one name are added up. */
void stats_lap(struct stats *s, const char *name);

/*
 * The end of a dump or a restore: writes stats-dump or stats-restore into the work directory, and prints the figures
 * with --display-stats. 0 or a negative errno (logged).
 */
int stats_finish(const struct options *o, const struct stats *s, enum command command);

#endif
