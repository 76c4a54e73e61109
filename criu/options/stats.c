/* SPDX-License-Identifier: GPL-2.0-only */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "image/image.h"
#include "lib/log.h"
#include "options/stats.h"
#include "options/work_dir.h"
#include "stats.pb-c.h"

/* The format has 32 bits for a time: an hour and eleven minutes. */
static uint32_t saturated_time(uint64_t us)
{
	return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

static void show_time(const char *what, uint32_t us)
{
	log_msg("%s: %" PRIu32 " us", what, us);
}

static void show_count(const char *what, uint64_t n)
{
	log_msg("%s: %" PRIu64 " (0x%" PRIx64 ")", what, n, n);
}

void stats_lap(struct stats *s, const char *name)
{
	uint64_t now = clock_now_us(), since = s->lap_at ?: s->started;
	size_t i = 0;

	while (i < s->n_laps && strcmp(s->laps[i].name, name))
		i++;
	if (i == STATS_LAPS)
		return;
	s->n_laps = MAX(s->n_laps, i + 1);
	s->laps[i].name = name;
	s->laps[i].time += now - since;
	s->lap_at = now;
}

static void show_laps(const struct stats *s)
{
	for (size_t i = 0; i < s->n_laps; i++)
		log_msg("Time of %s: %" PRIu64 " us", s->laps[i].name, s->laps[i].time);
}

static int finish_dump(int dir, const struct options *o, const struct stats *s)
{
	DumpStatsEntry dump = DUMP_STATS_ENTRY__INIT;
	StatsEntry entry = STATS_ENTRY__INIT;

	entry.dump = &dump;
	dump.freezing_time = saturated_time(s->freezing_time);
	dump.frozen_time = saturated_time(s->frozen_time);
	dump.memdump_time = saturated_time(s->memdump_time);
	dump.memwrite_time = saturated_time(s->memwrite_time);
	dump.pages_scanned = s->pages_scanned;
	dump.pages_written = s->pages_written;
	dump.pages_skipped_parent = s->pages_skipped_prev;
	dump.has_shpages_scanned = dump.has_shpages_skipped_parent = dump.has_shpages_written = true;
	dump.shpages_scanned = s->shpages_scanned;
	dump.shpages_written = s->shpages_written;
	if (o->display_stats) {
		log_msg("Displaying dump stats:");
		show_time("Freezing time", dump.freezing_time);
		show_time("Frozen time", dump.frozen_time);
		show_time("Memory dump time", dump.memdump_time);
		show_time("Memory write time", dump.memwrite_time);
		show_count("Memory pages scanned", dump.pages_scanned);
		show_count("Memory pages skipped from parent", dump.pages_skipped_parent);
		show_count("Memory pages written", dump.pages_written);
		show_count("Shared memory pages scanned", dump.shpages_scanned);
		show_count("Shared memory pages written", dump.shpages_written);
		show_count("Lazy memory pages", dump.pages_lazy);
		show_laps(s);
	}
	return image_write_at(dir, IMG_STATS_DUMP, 0, &entry);
}

static int finish_restore(int dir, const struct options *o, const struct stats *s)
{
	RestoreStatsEntry restore = RESTORE_STATS_ENTRY__INIT;
	StatsEntry entry = STATS_ENTRY__INIT;

	entry.restore = &restore;
	restore.pages_compared = s->pages_compared;
	restore.pages_skipped_cow = s->pages_skipped_cow;
	restore.has_pages_restored = true;
	restore.pages_restored = s->pages_restored;
	restore.forking_time = saturated_time(s->forking_time);
	restore.restore_time = saturated_time(s->restore_time);
	if (o->display_stats) {
		log_msg("Displaying restore stats:");
		show_count("Pages compared", restore.pages_compared);
		show_count("Pages skipped COW", restore.pages_skipped_cow);
		show_count("Pages restored", restore.pages_restored);
		show_time("Restore time", restore.restore_time);
		show_time("Forking time", restore.forking_time);
		show_laps(s);
	}
	return image_write_at(dir, IMG_STATS_RESTORE, 0, &entry);
}

int stats_finish(const struct options *o, const struct stats *s, enum command command)
{
	_cleanup_close_ int dir = work_dir_open(o);

	if (dir < 0)
		return dir;
	return command != CMD_RESTORE ? finish_dump(dir, o, s) : finish_restore(dir, o, s);
}
