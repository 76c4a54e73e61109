/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stages of a command, and what is called at them: the action scripts of --action-script, and functions (the
 * service's notifications). One list; in the order of their entry.
 */
#ifndef CRIU_OPTIONS_STAGES_H
#define CRIU_OPTIONS_STAGES_H

#include <signal.h>
#include <sys/resource.h>

#include "options/options.h"

enum stage {
	STAGE_PRE_STREAM,
	STAGE_PRE_DUMP,
	STAGE_NETWORK_LOCK,
	STAGE_QUERY_EXT_FILES,
	STAGE_POST_DUMP,
	STAGE_NETWORK_UNLOCK, /* of both commands */
	STAGE_PRE_RESTORE,
	STAGE_SETUP_NAMESPACES,
	STAGE_POST_SETUP_NAMESPACES,
	STAGE_ORPHAN_PTS_MASTER,
	STAGE_POST_RESTORE,
	STAGE_PRE_RESUME,
	STAGE_POST_RESUME,
	STAGE_STATUS_READY,
	STAGE_COUNT,
};

/* What there is to know of a stage. */
struct stage_row {
	const char *name; /* CRIU's: "pre-dump" */
	bool scripts;     /* action scripts are run at it; else only hooks are called */
	bool late;        /* what fails at it is logged, and the command goes on */
	bool hears;       /* a client of the service cannot refuse it: that is logged */
	bool tells_pid;   /* a client is told the root task's pid */
};

extern const struct stage_row stages_rows[STAGE_COUNT];

/* CRIU's name of a stage: "pre-dump". */
const char *stages_name(enum stage stage);

/* A hook: returns 0, or a negative errno (logged) to fail the stage. root_pid is 0 before the root task exists. */
struct hook {
	int (*run)(void *arg, enum stage stage, pid_t root_pid);
	void *arg;
	struct hook *next;
};

/*
 * What a command that can be taken back has: whatever ends criu while a script runs ends the script too. Nothing ends
 * criu between begin() and started(), which returns 0 or a negative errno (logged).
 */
struct stages_keeper {
	void (*begin)(void *arg);
	int (*started)(void *arg, pid_t script); /* 0: it could not be started */
	void (*ended)(void *arg);
	void *arg;
};

struct stages {
	const struct options *opts;
	struct rlimit files; /* RLIMIT_NOFILE as criu was started with: what it executes gets that */
	struct hook *hooks;
	const struct stages_keeper *keeper;
	const sigset_t *ended_by; /* all is done: these, which are blocked, end the script and not criu; NULL: none */
	/* Is called while a script of that kind is waited for, when the root task may have stopped or ended. SIGCHLD is
	 * blocked. */
	void (*root_changed)(pid_t root);
	pid_t root;
};

/* No hooks but the action scripts of o, which must outlive *e. Before criu raises its limit of open files. */
void stages_init(struct stages *e, const struct options *o);

/* Adds a hook behind the earlier ones; it belongs to the caller and must outlive *e. */
void stages_add(struct stages *e, struct hook *hook);

/*
 * Calls all hooks, then runs all scripts, also when one fails. A script is what sh -c understands; it runs in the work
 * directory with descriptors 0 to 2 alone, e->files, no signal blocked, and in its environment
 *	CRTOOLS_SCRIPT_ACTION	the stage's name
 *	CRTOOLS_IMAGE_DIR	the absolute path of the image directory
 *	CRTOOLS_INIT_PID	root_pid in our pid namespace, where it is above 0
 * Returns 0 or the first negative errno (logged); -EPERM for a script that did not exit with 0. 0 where the stage is a
 * late one.
 */
int stages_run(struct stages *e, enum stage stage, pid_t root_pid);

#endif
