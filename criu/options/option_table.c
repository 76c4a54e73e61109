/* SPDX-License-Identifier: GPL-2.0-only */
/* lint: table */
/* The rows of options/option_table.h. Order is that of --help. */
#include <limits.h>

#include "options/option_table.h"

#define BIT(command) (1U << (command))
#define DUMP         BIT(CMD_DUMP)
#define PRE_DUMP     BIT(CMD_PRE_DUMP)
#define DUMPS        (DUMP | PRE_DUMP)
#define RESTORE      BIT(CMD_RESTORE)
#define CHECK        BIT(CMD_CHECK)
#define UNLOCK       BIT(CMD_UNLOCK)
#define LAZY_PAGES   BIT(CMD_LAZY_PAGES)
#define CPUINFO      BIT(CMD_CPUINFO)
#define SERVICE      BIT(CMD_SERVICE)
#define PAGE_SERVER  BIT(CMD_PAGE_SERVER)
#define SERVERS      (SERVICE | PAGE_SERVER | LAZY_PAGES)
#define BOTH         (DUMP | RESTORE)
#define PAGES        (DUMPS | PAGE_SERVER | LAZY_PAGES)
#define THREE        (DUMPS | RESTORE)
#define CPU_CAP      (BOTH | CPUINFO)
#define ALL          (BIT(CMD_COUNT) - BIT(CMD_NONE + 1))

#define AT(member)   offsetof(struct options, member)

#define FLAG(name, letter, commands, member, help)                                                                     \
	{                                                                                                              \
		name, letter, OPT_FLAG, commands, AT(member), NULL, help, 0, 0, NULL                                   \
	}
#define STRING(name, letter, commands, member, arg, help)                                                              \
	{                                                                                                              \
		name, letter, OPT_STRING, commands, AT(member), arg, help, 0, 0, NULL                                  \
	}
#define WORD(name, type, commands, member, arg, words, help)                                                           \
	{                                                                                                              \
		name, 0, type, commands, AT(member), arg, help, 0, 0, words                                            \
	}
#define TAKEN(name, letter, type, why)                                                                                 \
	{                                                                                                              \
		name, letter, TAKEN_##type, 0, 0, NULL, why, 0, 0, NULL                                                \
	}

static const struct option_word network_lock_words[] = {
	{ "nftables", NETWORK_LOCK_NFTABLES },
	{ "iptables", NETWORK_LOCK_IPTABLES },
	{ "skip", NETWORK_LOCK_SKIP },
	{ NULL, 0 },
};

static const struct option_word cow_pages_words[] = {
	{ "auto", COW_PAGES_AUTO },
	{ "once", COW_PAGES_ONCE },
	{ "copy", COW_PAGES_COPY },
	{ NULL, 0 },
};

static const struct option_word snapshot_words[] = {
	{ "auto", SNAPSHOT_AUTO },
	{ "never", SNAPSHOT_NEVER },
	{ "always", SNAPSHOT_ALWAYS },
	{ NULL, 0 },
};

static const struct option_word pre_dump_words[] = {
	{ "splice", PRE_DUMP_SPLICE },
	{ "read", PRE_DUMP_READ },
	{ NULL, 0 },
};

static const struct option_word validation_words[] = {
	{ "filesize", VALIDATE_SIZE },
	{ "buildid", VALIDATE_BUILD_ID },
	{ "checksum", VALIDATE_CHECKSUM },
	{ NULL, 0 },
};

static const struct option_word manage_cgroups_words[] = {
	{ "soft", MANAGE_CGROUPS_SOFT }, /* the first: without a value */
	{ "none", MANAGE_CGROUPS_NONE },     { "props", MANAGE_CGROUPS_PROPS },   { "full", MANAGE_CGROUPS_FULL },
	{ "strict", MANAGE_CGROUPS_STRICT }, { "ignore", MANAGE_CGROUPS_IGNORE }, { NULL, 0 },
};

static const struct option_word cpu_cap_words[] = {
	{ "all", CPU_CAP_ALL }, /* the first: without a value */
	{ "cpu", CPU_CAP_CPU }, { "fpu", CPU_CAP_FPU }, { "ins", CPU_CAP_INS }, { "none", CPU_CAP_NONE }, { NULL, 0 },
};

static const struct option_word close_word[] = { { "close", 1 }, { NULL, 0 } };
static const struct option_word net_word[] = { { "net", 1 }, { NULL, 0 } };

const struct command_row option_commands[] = {
#define COMMAND_ROW(id, function, name, help) { name, CMD_##id, help },
	COMMANDS(COMMAND_ROW)
#undef COMMAND_ROW
	    { "exec", CMD_NONE, NULL },
	{ "show", CMD_NONE, NULL },
	{ NULL, CMD_NONE, NULL },
};

const struct option_row option_rows[] = {
	/* Any command */
	STRING("images-dir", 'D', ALL, images_dir, "DIR", "directory of the image files (default: the current one)"),
	STRING("work-dir", 'W', ALL, work_dir, "DIR",
	       "directory for logs, pid files and statistics (default: that of -D)"),
	STRING("log-file", 'o', ALL, log_file, "FILE", "write the log to FILE in the work directory"),
	{ "verbosity", 'v', OPT_VERBOSITY, ALL, AT(verbosity), "N",
	  "say more: each v adds one; -vN sets it: 0 nothing, 1 errors, 2 warnings (default), 3 information and times, "
	  "4 all",
	  0, 0, NULL },
	STRING("libdir", 'L', ALL, libdir, "DIR", "directory of plugins (default /usr/local/lib/criu, /usr/lib/criu)"),
	{ "close", 0, OPT_LIST, ALL, AT(close_fds), "FD",
	  "close this descriptor first of all; can be given several times", 0, 0, NULL },
	{ "config", 0, OPT_CONFIG, ALL, 0, "FILE", "read options from this configuration file too", 0, 0, NULL },
	{ "no-default-config", 0, OPT_NO_CONFIG, ALL, 0, NULL, "do not read the default configuration files", 0, 0,
	  NULL },
	{ "version", 'V', OPT_VERSION, ALL, 0, NULL, "print the version", 0, 0, NULL },
	{ "help", 'h', OPT_HELP, ALL, 0, NULL, "print this text", 0, 0, NULL },

	/* dump and restore */
	FLAG("shell-job", 'j', BOTH, shell_job, "the tree shares its session or terminal with the caller's shell"),
	FLAG("leave-stopped", 's', BOTH, leave_stopped, "leave the tasks stopped afterwards"),
	{ "action-script", 0, OPT_LIST, BOTH | SERVICE, AT(action_scripts), "SCRIPT",
	  "run SCRIPT at every stage; can be given several times", 0, 0, NULL },
	FLAG("lazy-pages", 0, BOTH | PAGE_SERVER, lazy_pages,
	     "restore: let the tasks run before their memory is there; criu lazy-pages brings the memory. dump: memory "
	     "is "
	     "not written, and given to criu lazy-pages on another host. page-server: the same of a checkpoint"),
	FLAG("stream", 0, THREE, stream, "images go through criu-image-streamer, which listens in the directory of -D"),
	STRING(
	    "pidfile", 0, BOTH | SERVERS, pidfile, "FILE",
	    "write the pid of the root task, or of the service, page server or daemon, to FILE in the work directory"),
	{ "status-fd", 0, OPT_UINT, BOTH | SERVERS, AT(status_fd), "FD",
	  "write a zero byte to this descriptor, and close it, when the service, page server or daemon listens", 0,
	  INT_MAX, NULL },
	FLAG("display-stats", 0, THREE, display_stats, "print figures of the run at its end"),
	FLAG("tcp-established", 0, BOTH, tcp_established, "keep TCP connections"),
	FLAG("tcp-close", 0, BOTH, tcp_close, "close TCP connections instead"),
	WORD(
	    "tcp-fallback", OPT_WORD_FLAG, RESTORE, tcp_fallback_close, "close", close_word,
	    "what becomes of a connection that cannot come back: close (it is closed; without this the restore fails)"),
	WORD("network-lock", OPT_WORD, BOTH, network_lock, "METHOD", network_lock_words,
	     "how packets of connections are held off during the command: nftables (default; at restore what the dump "
	     "used), "
	     "iptables, skip"),
	{ "network-lock-mark", 0, OPT_UINT, BOTH, AT(network_lock_mark), "N",
	  "the mark of packets that criu itself sends (default 0x3002)", 1, UINT32_MAX, NULL },
	FLAG("allow-uprobes", 0, BOTH, allow_uprobes,
	     "take tasks in which uprobes were hit: they have to be in their files at restore too"),
	FLAG("file-locks", 'l', BOTH, file_locks, "save file locks and leases, and take them again"),
	WORD("cow-pages", OPT_WORD, DUMP, cow_pages, "HOW", cow_pages_words,
	     "memory that forked tasks share, or mapped files have too: once (stored once, which CRIU cannot read), "
	     "copy "
	     "(stored with each task), auto (default; once, where that saves 64 MiB)"),
	STRING("compress", 0, DUMP, compress, "lz4|zstd[:LEVEL]",
	       "compress pages files, which CRIU cannot read then; LEVEL: 1 (default, fast) to 22 (small)"),
	WORD("file-validation", OPT_WORD, BOTH, file_validation, "HOW", validation_words,
	     "how files are known to be as they were: filesize, buildid (default), checksum"),
	WORD("manage-cgroups", OPT_WORD_MAYBE, BOTH, manage_cgroups, "MODE", manage_cgroups_words,
	     "cgroups of the tasks: soft (default; tasks come back into theirs, which are made with their properties "
	     "where "
	     "they are missing), full (properties of existing ones too), strict (none may exist), props and none (all "
	     "have "
	     "to exist; with and without properties), ignore (tasks come into the caller's)"),
	{ "cgroup-root", 0, OPT_LIST, BOTH, AT(cgroup_roots), "[CTRL:]PATH",
	  "dump: save all groups from PATH down; restore: groups come back there; can be given several times", 0, 0,
	  NULL },
	STRING("cgroup-yard", 0, BOTH, cgroup_yard, "DIR",
	       "cgroup file systems are mounted in DIR, each under the names of its controllers"),
	{ "veth-pair", 0, OPT_LIST, BOTH, AT(veth_pairs), "IN=OUT", "the older way of --external veth[IN]:OUT", 0, 0,
	  NULL },
	FLAG("weak-sysctls", 0, BOTH, weak_sysctls, "a setting of the network that cannot be written is a warning"),
	WORD("empty-ns", OPT_WORD_FLAG, BOTH, empty_net_ns, "net", net_word,
	     "net: network namespaces are made empty; another program fills them"),
	{ "ext-mount-map", 'M', OPT_LIST, BOTH, AT(ext_mount_map), "KEY:VALUE",
	  "the same as --external mnt[KEY]:VALUE; can be given several times", 0, 0, NULL },
	FLAG("enable-external-masters", 0, BOTH, external_masters,
	     "mounts that are slaves of mounts which neither the tree nor criu sees come back as private ones"),
	{ "skip-mnt", 0, OPT_LIST, BOTH, AT(skip_mnt), "PATH",
	  "leave the mount at PATH, and those on it, out of the checkpoint; can be given several times", 0, 0, NULL },
	STRING("root", 'r', BOTH, root, "DIR", "DIR is the root of the restored tree's mount namespace"),
	{ "external", 0, OPT_LIST, BOTH, AT(external), "RESOURCE",
	  "RESOURCE is not part of the checkpoint: unix[INODE], tty[RDEV:DEV], ...; can be given several times", 0, 0,
	  NULL },
	{ "inherit-fd", 0, OPT_LIST, BOTH, AT(inherit_fd), "fd[N]:RESOURCE",
	  "restore: descriptor N of criu takes the place of RESOURCE (pipe:[INODE], socket:[INODE], tty[RDEV:DEV]); "
	  "dump: RESOURCE is handed in later",
	  0, 0, NULL },
	{ "join-ns", 'J', OPT_LIST, RESTORE, AT(join_ns), "NS:PID|FILE[,UID,GID]",
	  "tasks come back in an existing namespace (NS: uts, ipc, net, time, user, mnt) in the place of that of the "
	  "root task; can be "
	  "given several times",
	  0, 0, NULL },
	{ "ext-unix-sk", 'x', OPT_LIST_ALL, BOTH, AT(ext_unix_sk), "INODE",
	  "datagram sockets may be connected to unix sockets outside of the tree (to the one of INODE alone)", 0, 0,
	  NULL },

	/* dump, restore and cpuinfo */
	WORD("cpu-cap", OPT_WORD_SET, CPU_CAP, cpu_cap, "WORDS", cpu_cap_words,
	     "dump: write what this processor can do; restore: what of it must be here: fpu, ins (both are on by "
	     "default), cpu, all, none, with commas between them; ^WORD takes one away"),

	/* dump */
	{ "tree", 't', OPT_PID, DUMPS, AT(tree), "PID", "the root of the process tree", 0, 0, NULL },
	STRING("prev-images-dir", 0, DUMPS | PAGE_SERVER, prev_images_dir, "DIR",
	       "store only pages that were written to since the dump in DIR (seen from -D), which had --track-mem; "
	       "page-server: DIR has what was received of that dump"),
	FLAG("track-mem", 0, DUMPS, track_mem,
	     "have the kernel note from now on which pages are written to, for the next dump"),
	FLAG("auto-dedup", 0, THREE | PAGE_SERVER, auto_dedup,
	     "dump, pre-dump, page-server: then give back room of older checkpoints, as criu dedup does; restore: give "
	     "back the room of all pages that were restored"),
	WORD("pre-dump-mode", OPT_WORD, PRE_DUMP, pre_dump_mode, "MODE", pre_dump_words,
	     "when pages are read: splice (default; while the tree stands still), read (when it runs again; default "
	     "with --page-server)"),
	FLAG("leave-running", 'R', DUMP, leave_running, "let the tasks run on instead of killing them"),
	WORD("snapshot", OPT_WORD, DUMP, snapshot, "WHEN", snapshot_words,
	     "with -R: let the tasks run on before their memory is written, which is read from copies on write: never, "
	     "always, auto (default; where it is more than 64 MiB and there is room)"),
	STRING("lsm-profile", 0, BOTH, lsm_profile, "TYPE:NAME",
	       "restore: give tasks that have one another label: apparmor:PROFILE or selinux:CONTEXT"),
	STRING("freeze-cgroup", 0, DUMPS, freeze_cgroup, "PATH", "stop the tree with this freezer cgroup"),
	STRING("cgroup-props", 0, DUMP, cgroup_props, "TEXT", "which files of cgroups are properties: criu(8)"),
	STRING("cgroup-props-file", 0, DUMP, cgroup_props_file, "FILE", "the same, out of a file"),
	{ "cgroup-dump-controller", 0, OPT_LIST, DUMP, AT(cgroup_dump_controllers), "NAME",
	  "save this controller's cgroups alone; can be given several times", 0, 0, NULL },
	{ "timeout", 0, OPT_UINT, THREE | PAGE_SERVER | LAZY_PAGES, AT(timeout), "SECONDS",
	  "how long stopping the tree, an answer of a file system, or the other end of a connection for pages may take "
	  "(default 10)",
	  1, INT_MAX / 1000, NULL },
	{ "ghost-limit", 0, OPT_SIZE, DUMP, AT(ghost_limit), "SIZE",
	  "refuse deleted files that hold more than SIZE (with K, M or G) bytes (default: no limit)", 0, 0, NULL },
	FLAG("link-remap", 0, DUMP, link_remap,
	     "make a new link to a file whose name was deleted, where no other name of it can be found"),
	FLAG("ghost-fiemap", 0, DUMP, ghost_fiemap,
	     "find the holes of deleted files in the file system's list of extents, where it has one"),
	FLAG("ghost-links", 0, DUMP, ghost_links, "save such a file with what is in it instead"),
	FLAG("force-irmap", 0, DUMPS, force_irmap, "find a path for every file that inotify or fanotify watches"),
	{ "irmap-scan-path", 0, OPT_LIST, DUMPS, AT(irmap_scan_paths), "DIR",
	  "look for such files below DIR first; can be given several times", 0, 0, NULL },
	WORD("external-lost", OPT_WORD_FLAG, DUMP, external_lost_close, "close", close_word,
	     "stream unix sockets whose peer is outside of the tree are restored with that end closed"),
	FLAG("skip-in-flight", 0, DUMP, skip_in_flight,
	     "drop connections that have not been accepted yet, and netlink answers"),

	/* restore */
	FLAG("restore-detached", 'd', RESTORE | SERVICE, restore_detached,
	     "end when the tree is restored; do not wait for its root (service: the same as --daemon)"),
	FLAG("restore-sibling", 'S', RESTORE, restore_sibling, "make the root task a sibling of criu (with -d)"),
	FLAG("exec-cmd", 0, RESTORE, exec_cmd, "then become the command after --, the parent of the root task"),
	FLAG("log-pid", 0, RESTORE, log_pid, "write what concerns one task to FILE.PID (with -o)"),
	FLAG("skip-file-rwx-check", 0, RESTORE, skip_file_rwx_check, "take files whose permissions have changed"),
	FLAG("allow-edited-images", 0, RESTORE | LAZY_PAGES | PAGE_SERVER, allow_edited_images,
	     "take images that were changed since the dump"),

	/* check */
	FLAG("extra", 0, CHECK, check_extra, "look for features that only some trees need, too"),
	FLAG("experimental", 0, CHECK, check_experimental, "look for features that are experimental, too"),
	FLAG("all", 0, CHECK, check_all, "look for all features"),
	{ "feature", 0, OPT_LIST, CHECK, AT(features), "NAME",
	  "look for this feature alone; \"list\" names all; can be given several times", 0, 0, NULL },

	/* page-server, dump --page-server, and lazy pages of another host */
	FLAG("page-server", 0, DUMPS | LAZY_PAGES, page_server,
	     "dump, pre-dump: send the pages to the page server of --address and --port; lazy-pages: fetch them from "
	     "there"),
	{ "port", 0, OPT_UINT, PAGES, AT(port), "N",
	  "the TCP port of the page server (default where pages are given or taken: 0, any that is free)", 0,
	  UINT16_MAX, NULL },
	{ "ps-socket", 0, OPT_UINT, PAGES, AT(ps_socket), "FD",
	  "the connection for pages is this descriptor, which criu has inherited", 0, INT_MAX, NULL },

	FLAG("tls", 0, PAGES, tls, "encrypt the connection for pages; both ends show a certificate"),
	STRING("tls-cacert", 0, PAGES, tls_cacert, "FILE",
	       "trust certificates of this authority alone (default: the system's and /etc/pki/CA/cacert.pem)"),
	STRING("tls-cacrl", 0, PAGES, tls_cacrl, "FILE",
	       "certificates that were revoked (default /etc/pki/CA/cacrl.pem, if it is there)"),
	STRING("tls-cert", 0, PAGES, tls_cert, "FILE", "the certificate to show (default /etc/pki/criu/cert.pem)"),
	STRING("tls-key", 0, PAGES, tls_key, "FILE", "its key (default /etc/pki/criu/private/key.pem)"),
	FLAG("tls-no-cn-verify", 0, PAGES, tls_no_cn_verify,
	     "the server's certificate need not be of the name or address in --address"),

	/* service and page-server */
	STRING(
	    "address", 0, DUMPS | SERVERS, address, "ADDRESS",
	    "service: its socket, in the work directory (default criu_service.socket); page-server, dump "
	    "--lazy-pages: the address on which it listens (default: any); dump, lazy-pages: that of the page server "
	    "(default: this host)"),
	FLAG("daemon", 0, SERVERS, restore_detached, "go to the background when the socket listens"),

	/* for tests */
	{ "test-kill-at", 0, OPT_UINT, ALL, AT(kill_at), "N", NULL, 0, UINT_MAX, NULL },
	FLAG("test-kill-guardian", 0, DUMPS, kill_guardian, NULL),

	/* CRIU's that are taken, since scripts give them, and have nothing to do here */
	TAKEN("deprecated", 0, FLAG, "nothing in criu is deprecated"),
	TAKEN("ms", 0, FLAG, "features are tried, whether they are in a released kernel or not"),
	TAKEN("unprivileged", 0, FLAG, "criu does what its privileges allow, with or without this option"),
	TAKEN("enable-external-sharing", 0, FLAG, "mounts that are shared with criu's own are, with or without it"),
	TAKEN("enable-fs", 0, VALUE, "every file system that can be made anew is, with or without it"),
	TAKEN("mntns-compat-mode", 0, FLAG, "there is one way of restoring mounts"),
	TAKEN("lsm-mount-context", 0, VALUE, "no context of a mount is replaced"),
	TAKEN("evasive-devices", 0, FLAG, "a device whose name is gone is created again"),

	{ NULL, 0, OPT_FLAG, 0, 0, NULL, NULL, 0, 0, NULL },
};
