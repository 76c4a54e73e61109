/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Options: one table for the command line, configuration files, --help and the service protocol. The struct is const
 * once filled, but for what a client of the service says in the middle of a dump (query-ext-files).
 */
#ifndef CRIU_OPTIONS_OPTIONS_H
#define CRIU_OPTIONS_OPTIONS_H

#include "arch/arch_cpu.h"
#include "common.h"
#include "options/commands.h"
#include "options/option_values.h"

struct arena;

/* The default of --network-lock-mark, the mark of packets that criu itself makes; criu(8) says why this one. */
#define NETWORK_LOCK_MARK 0x3002U

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
	const char *freeze_cgroup, *root, *lsm_profile; /* lsm_profile: TYPE:NAME; NULL if not given */
	enum manage_cgroups manage_cgroups;
	const char *cgroup_yard, *cgroup_props, *cgroup_props_file; /* NULL if not given; cgroup/cgroup_props.h */
	const char **cgroup_roots; /* "CTRL:/PATH" or "/PATH"; NULL-terminated, as the next */
	size_t n_cgroup_roots;
	const char **cgroup_dump_controllers;
	size_t n_cgroup_dump_controllers;
	unsigned timeout;         /* seconds */
	unsigned cpu_cap;         /* CPU_CAP_* */
	bool cpuinfo_check;       /* criu cpuinfo check, not dump */
	bool stream, page_server; /* images go through a streamer; pages go to a page server */
	bool lazy_pages;          /* restore: memory comes later */
	bool allow_edited_images, allow_uprobes, file_locks, tcp_established, tcp_close;
	bool tcp_fallback_close; /* --tcp-fallback close; without the option such a restore fails */
	enum network_lock network_lock;
	unsigned network_lock_mark;    /* of criu's own packets */
	const char **irmap_scan_paths; /* NULL-terminated; path/watched.h */
	size_t n_irmap_scan_paths;
	uint64_t ghost_limit; /* bytes of one deleted file; 0: none */
	bool link_remap, ghost_links, force_irmap, ghost_fiemap;
	enum validation file_validation;
	enum cow_pages cow_pages;
	enum snapshot snapshot;
	const char *compress;        /* "lz4", "zstd" or "zstd:LEVEL"; NULL if not given */
	int compress_level;          /* of zstd; 0: lz4 */
	const char *prev_images_dir; /* NULL if not given */
	bool track_mem, auto_dedup;
	enum pre_dump_mode pre_dump_mode;                                                          /* 0 if not given */
	bool skip_file_rwx_check, skip_in_flight, weak_sysctls, external_lost_close, empty_net_ns; /* --empty-ns net */
	const char **ext_unix_sk; /* inodes as text, "" for all: options/external.h */
	size_t n_ext_unix_sk;
	const char **ext_mount_map; /* "KEY:VALUE", NULL-terminated, as the next: options/external.h */
	size_t n_ext_mount_map;
	bool external_masters; /* mounts whose master criu does not see come back private */
	const char **skip_mnt; /* places of mounts */
	size_t n_skip_mnt;
	const char **external; /* NULL-terminated, as the next: options/external.h */
	size_t n_external;
	const char **veth_pairs; /* IN=OUT; NULL-terminated */
	size_t n_veth_pairs;
	const char **inherit_fd;
	size_t n_inherit_fd;
	const char **join_ns; /* tree/ns_given.h */
	size_t n_join_ns;
	bool check_extra, check_experimental, check_all, tls, tls_no_cn_verify;
	const char **features; /* --feature of check; NULL-terminated */
	size_t n_features;
	char **exec_argv;                          /* after --, for --exec-cmd; NULL-terminated */
	const char *config, *libdir;               /* NULL if not given; the second: of plugins */
	bool no_default_config, orphan_pts_master; /* the second of the service protocol alone: tty/orphan_pts.c */
	int client_socket;   /* swrk: the socket to its client; dump, restore: the client's that asked; -1: none did */
	const char *address; /* of the service or page server; NULL if not given */
	unsigned port;       /* its port */
	int status_fd, ps_socket;                                /* -1: not given */
	const char *tls_cacert, *tls_cacrl, *tls_cert, *tls_key; /* NULL if not given: pages/page_tls.c */
	uint64_t lent_caps;  /* of the same: capabilities of criu's that no task may be given */
	unsigned kill_at;    /* test only, --test-kill-at N: criu kills itself at the N-th fault point; 0: never */
	bool kill_guardian;  /* test only: and its guardian with it */
	struct arena *arena; /* where its strings come from, those of argv aside */
};

/*
 * Fills *o from the configuration files and the command line (which wins). 0: go on; 1: all is said (--help,
 * --version), end with success; negative: an error that has been printed on standard error.
 */
int options_parse(struct options *o, int argc, char **argv);

/* Gives back what options_parse() took, or options_begin_request(), whatever they returned. */
void options_free(struct options *o);

/* The name of a command, for messages. */
const char *options_command_name(enum command command);

#endif
