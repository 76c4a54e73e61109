/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Options: one table (name, type, commands, help) that the command line, configuration files, --help and later the
 * service protocol read. The struct is filled once and const ever after.
 */
#ifndef CRIU_OPTIONS_OPTIONS_H
#define CRIU_OPTIONS_OPTIONS_H

#include "arch/arch_cpu.h"
#include "common.h"
#include "options/commands.h"

struct arena;

/* The default of --network-lock-mark, the mark of packets that criu itself makes; criu(8) says why this one. */
#define NETWORK_LOCK_MARK 0x3002U

/* --network-lock: how packets are held off. The numbers are rpc.proto's; 0: the option is not
 * given. */
enum network_lock { NETWORK_LOCK_DEFAULT, NETWORK_LOCK_IPTABLES, NETWORK_LOCK_NFTABLES, NETWORK_LOCK_SKIP };

/* --file-validation; each takes in the one before. 0: the option is not given. */
enum validation { VALIDATE_DEFAULT, VALIDATE_SIZE, VALIDATE_BUILD_ID, VALIDATE_CHECKSUM };

/* --cpu-cap: bits of enum cpu_cap, and this one if the option is given. */
#define CPU_CAP_GIVEN 0x80000000U

/* --manage-cgroups. CRIU's none: tasks are moved, no group is made. */
enum manage_cgroups { MANAGE_CGROUPS_SOFT, MANAGE_CGROUPS_NONE, MANAGE_CGROUPS_IGNORE };

struct options {
	enum command command;
	int verbosity;
	bool log_pid, display_stats;
	const char *images_dir, *work_dir; /* never NULL: "." and images_dir if not given */
	const char *log_file, *pidfile;    /* relative to work_dir; NULL if not given */
	const char **action_scripts;       /* NULL-terminated */
	size_t n_action_scripts;
	const char **close_fds; /* --close; NULL-terminated */
	size_t n_close_fds;
	pid_t tree;
	bool leave_running, leave_stopped, restore_detached, restore_sibling, shell_job, exec_cmd;
	const char *freeze_cgroup;
	enum manage_cgroups manage_cgroups;
	unsigned timeout;   /* seconds */
	unsigned cpu_cap;   /* CPU_CAP_* */
	bool cpuinfo_check; /* criu cpuinfo check, not dump */
	bool allow_edited_images;
	bool allow_uprobes;
	bool file_locks;
	bool tcp_established, tcp_close;
	bool tcp_fallback_close; /* --tcp-fallback close; without the option such a restore fails */
	enum network_lock network_lock;
	unsigned network_lock_mark;    /* of criu's own packets */
	bool force_irmap;              /* path/watched.h, with the next */
	const char **irmap_scan_paths; /* NULL-terminated */
	size_t n_irmap_scan_paths;
	uint64_t ghost_limit; /* bytes of one deleted file; 0: none */
	bool link_remap, ghost_links;
	bool ghost_fiemap;  /* find the holes of deleted files by FS_IOC_FIEMAP */
	const char *libdir; /* of plugins, which are not there yet; NULL if not given */
	enum validation file_validation;
	bool skip_file_rwx_check;
	bool skip_in_flight;
	bool external_lost_close; /* --external-lost close */
	const char **ext_unix_sk; /* inodes as text, "" for all: options/external.h */
	size_t n_ext_unix_sk;
	const char **external; /* NULL-terminated, as the next: options/external.h */
	size_t n_external;
	const char **inherit_fd;
	size_t n_inherit_fd;
	bool check_extra, check_experimental, check_all;
	const char **features; /* --feature of check; NULL-terminated */
	size_t n_features;
	char **exec_argv;    /* after --, for --exec-cmd; NULL-terminated */
	unsigned kill_at;    /* test only, --test-kill-at N: criu kills itself at the N-th fault point; 0: never */
	bool kill_guardian;  /* test only: and its guardian with it */
	struct arena *arena; /* where its strings come from, those of argv aside */
};

/*
 * Fills *o from the configuration files and the command line (which wins). 0: go on; 1: all is said (--help,
 * --version), end with success; negative: an error that has been printed on standard error.
 */
int options_parse(struct options *o, int argc, char **argv);

/* Gives back what options_parse() took, whatever it returned. */
void options_free(struct options *o);

/* The name of a command, for messages. */
const char *options_command_name(enum command command);

/*
 * The work directory, where logs, pid files and statistics go: its descriptor (O_PATH), and a file in it, created or
 * truncated, for writing, mode 0600. Negative errno (logged). The caller closes.
 */
int work_dir_open(const struct options *o);
int work_dir_create(const struct options *o, const char *name);

/* --pidfile: writes pid into it; does nothing without the option. 0 or a negative errno (logged). */
int work_dir_write_pidfile(const struct options *o, pid_t pid);

#endif
