/* SPDX-License-Identifier: GPL-2.0-only */
#include <sys/prctl.h>

#include "cmd/script_keeper.h"
#include "proc/proc.h"

/* What a script leaves when it ends falls to criu as long as the script runs, so that the guardian finds it there. */
static void begin_script(void *arg)
{
	struct script_keeper *k = arg;

	prctl(PR_GET_CHILD_SUBREAPER, &k->was_subreaper);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	guardian_hold_end(k->guardian);
}

static int note_script(void *arg, pid_t script)
{
	struct script_keeper *k = arg;
	struct undo u = { .type = UNDO_KILL_BELOW, .fd = -1, .pid = script };

	k->number = -1;
	if (script) {
		u.start_time = proc_start_time(script);
		k->number = guardian_note(k->guardian, &u);
	} else {
		prctl(PR_SET_CHILD_SUBREAPER, k->was_subreaper);
	}
	guardian_allow_end(k->guardian);
	return script ? MIN(k->number, 0) : 0;
}

static void forget_script(void *arg)
{
	const struct script_keeper *k = arg;

	if (k->number >= 0)
		guardian_drop(k->guardian, k->number);
	prctl(PR_SET_CHILD_SUBREAPER, k->was_subreaper);
}

void script_keeper_begin(struct script_keeper *k, struct guardian *g, struct stages *stages)
{
	*k = (struct script_keeper) {
		.keeper = { .begin = begin_script, .started = note_script, .ended = forget_script, .arg = k },
		.guardian = g,
		.number = -1,
	};
	stages->keeper = &k->keeper;
}

void script_keeper_end(struct stages *stages)
{
	stages->keeper = NULL;
}
