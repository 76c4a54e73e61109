/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Options: one table (name, type, commands, help) that the command line, configuration files, --help and later the
 * service protocol read. The struct is filled once and const ever after.
 */
#ifndef CRIU_CORE_OPTIONS_H
#define CRIU_CORE_OPTIONS_H

#include "common.h"

enum command { CMD_NONE, CMD_DUMP, CMD_RESTORE, CMD_CHECK, CMD_COUNT };

struct options {
	enum command command;
	int verbosity;
	bool log_pid, display_stats;
	const char *images_dir, *work_dir, *log_file, *pidfile;
	const char **action_scripts; /* NULL-terminated */
	pid_t tree;
	bool leave_running, leave_stopped, restore_detached, restore_sibling, shell_job, exec_cmd;
	const char *freeze_cgroup;
	unsigned timeout; /* seconds */
	bool allow_edited_images;
	char **exec_argv; /* after --, for --exec-cmd; NULL-terminated */
	unsigned kill_at; /* test only, --test-kill-at N: the tool kills itself at the N-th fault point; 0: never */
};

/*
 * Fills *o from the configuration files and the command line (which wins). 0: go on; 1: all is said (--help, --version),
 * end with success; negative: an error that has been printed on standard error.
 */
int options_parse(struct options *o, int argc, char **argv);

/* A fault point: with --test-kill-at it counts, and kills the tool with SIGKILL when its turn has come. */
void fault_point(const char *name);
void fault_init(unsigned kill_at);

#endif
