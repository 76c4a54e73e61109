/* SPDX-License-Identifier: GPL-2.0-only */
/* Action scripts and the guardian: what ends criu ends the script that criu waits for. */
#ifndef CRIU_CMD_SCRIPT_KEEPER_H
#define CRIU_CMD_SCRIPT_KEEPER_H

#include "options/stages.h"
#include "undo/guardian.h"

struct script_keeper {
	struct stages_keeper keeper;
	struct guardian *guardian;
	int number;        /* of the undo entry */
	int was_subreaper; /* what criu was before the script */
};

/* From here on, as long as the guardian lives; *k must outlive that. */
void script_keeper_begin(struct script_keeper *k, struct guardian *g, struct stages *stages);
void script_keeper_end(struct stages *stages);

#endif
