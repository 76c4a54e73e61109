/* SPDX-License-Identifier: LGPL-2.1-only */
/*
 * libcriu: checkpoints of processes from within a program, by a criu that the library starts, or by the service.
 * libcriu(3) tells of each function. lint: table
 *
 *	criu_init_opts();
 *	criu_set_pid(pid);
 *	criu_set_images_dir_fd(fd);
 *	ret = criu_dump();
 *
 * Every function exists twice: criu_X() works on one set of options of the process, which only one thread at a time may
 * use; criu_local_X() takes the options, and threads with options of their own do not disturb each other.
 *
 * Functions that return int give 0, or what is said with them, or a negative error number, with errno set to what is
 * known best:
 *
 *	-EINVAL		no options (criu_init_opts() was not called), an argument that cannot be, or a request that this
 *			criu does not know
 *	-ENOMEM		memory
 *	-ECONNREFUSED	criu cannot be started, or the service cannot be reached; errno has the reason
 *	-ECOMM		criu has ended, or the connection broke, before there was an answer
 *	-EBADMSG	the answer is none to this request
 *	-EBADE		criu says that it could not; errno is ESRCH, EEXIST, EBADRQC, ... if criu named one, else EBADE
 */
#ifndef CRIU_LIB_H
#define CRIU_LIB_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus /* lint: allow: C++ callers */
extern "C" {
#endif

#pragma GCC visibility push(default)

enum criu_service_comm {
	CRIU_COMM_SK,  /* the socket of `criu service` */
	CRIU_COMM_FD,  /* a connection that the caller has */
	CRIU_COMM_BIN, /* `criu swrk`, started for each request; the default */
};

enum criu_cg_mode {
	CRIU_CG_MODE_IGNORE,
	CRIU_CG_MODE_NONE,
	CRIU_CG_MODE_PROPS,
	CRIU_CG_MODE_SOFT,
	CRIU_CG_MODE_FULL,
	CRIU_CG_MODE_STRICT,
	CRIU_CG_MODE_DEFAULT,
};

enum criu_network_lock_method {
	CRIU_NETWORK_LOCK_IPTABLES = 1,
	CRIU_NETWORK_LOCK_NFTABLES = 2,
	CRIU_NETWORK_LOCK_SKIP = 3,
};

enum criu_pre_dump_mode {
	CRIU_PRE_DUMP_SPLICE = 1,
	CRIU_PRE_DUMP_READ = 2,
};

#define CRIU_LOG_UNSET (-1)
#define CRIU_LOG_MSG   (0)
#define CRIU_LOG_ERROR (1)
#define CRIU_LOG_WARN  (2)
#define CRIU_LOG_INFO  (3)
#define CRIU_LOG_DEBUG (4)

typedef struct criu_opts criu_opts;
typedef struct criu_notify_arg *criu_notify_arg_t; /* lives as long as the callback */
typedef void *criu_predump_info;                   /* nothing is told: always NULL */
typedef int (*criu_notify_cb)(char *action, criu_notify_arg_t na);
typedef int (*criu_more_cb)(criu_predump_info pi);

/* In: what is asked for. Out: what is asked for and works. */
struct criu_feature_check {
	bool mem_track;
	bool lazy_pages;
	bool pidfd_store;
};

/* Begins anew, with no options set. */
int criu_init_opts(void);
int criu_local_init_opts(criu_opts **opts);
void criu_free_opts(void);
void criu_local_free_opts(criu_opts *opts);

/*
 * Who does the work; the last call of these counts. NULL: "./criu_service.socket", and "criu" of $PATH. A descriptor is
 * closed after the request.
 */
int criu_set_service_address(const char *path);
int criu_local_set_service_address(criu_opts *opts, const char *path);
void criu_set_service_fd(int fd);
void criu_local_set_service_fd(criu_opts *opts, int fd);
int criu_set_service_binary(const char *path);
int criu_local_set_service_binary(criu_opts *opts, const char *path);
void criu_set_service_comm(enum criu_service_comm comm);
void criu_local_set_service_comm(criu_opts *opts, enum criu_service_comm comm);

/* Options, as criu(8) has them. A string is copied; NULL takes it away again. */
void criu_set_pid(int pid);
void criu_local_set_pid(criu_opts *opts, int pid);
void criu_set_images_dir_fd(int fd);
void criu_local_set_images_dir_fd(criu_opts *opts, int fd);
void criu_set_work_dir_fd(int fd);
void criu_local_set_work_dir_fd(criu_opts *opts, int fd);
void criu_set_leave_running(bool leave_running);
void criu_local_set_leave_running(criu_opts *opts, bool leave_running);
void criu_set_ext_unix_sk(bool ext_unix_sk);
void criu_local_set_ext_unix_sk(criu_opts *opts, bool ext_unix_sk);
void criu_set_tcp_established(bool tcp_established);
void criu_local_set_tcp_established(criu_opts *opts, bool tcp_established);
void criu_set_tcp_skip_in_flight(bool tcp_skip_in_flight);
void criu_local_set_tcp_skip_in_flight(criu_opts *opts, bool tcp_skip_in_flight);
void criu_set_tcp_close(bool tcp_close);
void criu_local_set_tcp_close(criu_opts *opts, bool tcp_close);
void criu_set_weak_sysctls(bool weak_sysctls);
void criu_local_set_weak_sysctls(criu_opts *opts, bool weak_sysctls);
void criu_set_evasive_devices(bool evasive_devices);
void criu_local_set_evasive_devices(criu_opts *opts, bool evasive_devices);
void criu_set_shell_job(bool shell_job);
void criu_local_set_shell_job(criu_opts *opts, bool shell_job);
void criu_set_skip_file_rwx_check(bool skip_file_rwx_check);
void criu_local_set_skip_file_rwx_check(criu_opts *opts, bool skip_file_rwx_check);
void criu_set_unprivileged(bool unprivileged);
void criu_local_set_unprivileged(criu_opts *opts, bool unprivileged);
void criu_set_orphan_pts_master(bool orphan_pts_master);
void criu_local_set_orphan_pts_master(criu_opts *opts, bool orphan_pts_master);
void criu_set_file_locks(bool file_locks);
void criu_local_set_file_locks(criu_opts *opts, bool file_locks);
void criu_set_track_mem(bool track_mem);
void criu_local_set_track_mem(criu_opts *opts, bool track_mem);
void criu_set_auto_dedup(bool auto_dedup);
void criu_local_set_auto_dedup(criu_opts *opts, bool auto_dedup);
void criu_set_force_irmap(bool force_irmap);
void criu_local_set_force_irmap(criu_opts *opts, bool force_irmap);
void criu_set_link_remap(bool link_remap);
void criu_local_set_link_remap(criu_opts *opts, bool link_remap);
void criu_set_log_level(int log_level);
void criu_local_set_log_level(criu_opts *opts, int log_level);
void criu_set_cpu_cap(unsigned int cap);
void criu_local_set_cpu_cap(criu_opts *opts, unsigned int cap);
void criu_set_manage_cgroups(bool manage);
void criu_local_set_manage_cgroups(criu_opts *opts, bool manage);
void criu_set_manage_cgroups_mode(enum criu_cg_mode mode);
void criu_local_set_manage_cgroups_mode(criu_opts *opts, enum criu_cg_mode mode);
void criu_set_timeout(unsigned int timeout);
void criu_local_set_timeout(criu_opts *opts, unsigned int timeout);
void criu_set_auto_ext_mnt(bool auto_ext_mnt);
void criu_local_set_auto_ext_mnt(criu_opts *opts, bool auto_ext_mnt);
void criu_set_ext_sharing(bool ext_sharing);
void criu_local_set_ext_sharing(criu_opts *opts, bool ext_sharing);
void criu_set_ext_masters(bool ext_masters);
void criu_local_set_ext_masters(criu_opts *opts, bool ext_masters);
void criu_set_ghost_limit(unsigned int limit);
void criu_local_set_ghost_limit(criu_opts *opts, unsigned int limit);
void criu_set_pidfd_store_sk(int sk);
void criu_local_set_pidfd_store_sk(criu_opts *opts, int sk);
void criu_set_mntns_compat_mode(bool mntns_compat_mode);
void criu_local_set_mntns_compat_mode(criu_opts *opts, bool mntns_compat_mode);
void criu_set_empty_ns(int namespaces);
void criu_local_set_empty_ns(criu_opts *opts, int namespaces);
int criu_set_parent_images(const char *path);
int criu_local_set_parent_images(criu_opts *opts, const char *path);
int criu_set_log_file(const char *log_file);
int criu_local_set_log_file(criu_opts *opts, const char *log_file);
int criu_set_root(const char *root);
int criu_local_set_root(criu_opts *opts, const char *root);
int criu_set_freeze_cgroup(const char *name);
int criu_local_set_freeze_cgroup(criu_opts *opts, const char *name);
int criu_set_lsm_profile(const char *name);
int criu_local_set_lsm_profile(criu_opts *opts, const char *name);
int criu_set_lsm_mount_context(const char *name);
int criu_local_set_lsm_mount_context(criu_opts *opts, const char *name);
int criu_set_config_file(const char *path);
int criu_local_set_config_file(criu_opts *opts, const char *path);
int criu_set_pre_dump_mode(enum criu_pre_dump_mode mode);
int criu_local_set_pre_dump_mode(criu_opts *opts, enum criu_pre_dump_mode mode);
int criu_set_network_lock(enum criu_network_lock_method method);
int criu_local_set_network_lock(criu_opts *opts, enum criu_network_lock_method method);
int criu_set_page_server_address_port(const char *address, int port);
int criu_local_set_page_server_address_port(criu_opts *opts, const char *address, int port);
int criu_set_exec_cmd(int argc, char *argv[]);
int criu_local_set_exec_cmd(criu_opts *opts, int argc, char *argv[]);

/* Options that can be given several times. */
int criu_add_unix_sk(unsigned int inode);
int criu_local_add_unix_sk(criu_opts *opts, unsigned int inode);
int criu_add_ext_mount(const char *key, const char *val);
int criu_local_add_ext_mount(criu_opts *opts, const char *key, const char *val);
int criu_add_veth_pair(const char *in, const char *out);
int criu_local_add_veth_pair(criu_opts *opts, const char *in, const char *out);
int criu_add_cg_root(const char *ctrl, const char *path);
int criu_local_add_cg_root(criu_opts *opts, const char *ctrl, const char *path);
int criu_add_enable_fs(const char *fs);
int criu_local_add_enable_fs(criu_opts *opts, const char *fs);
int criu_add_skip_mnt(const char *mnt);
int criu_local_add_skip_mnt(criu_opts *opts, const char *mnt);
int criu_add_irmap_path(const char *path);
int criu_local_add_irmap_path(criu_opts *opts, const char *path);
int criu_add_cg_props(const char *stream);
int criu_local_add_cg_props(criu_opts *opts, const char *stream);
int criu_add_cg_props_file(const char *path);
int criu_local_add_cg_props_file(criu_opts *opts, const char *path);
int criu_add_cg_dump_controller(const char *name);
int criu_local_add_cg_dump_controller(criu_opts *opts, const char *name);
int criu_add_cg_yard(const char *path);
int criu_local_add_cg_yard(criu_opts *opts, const char *path);
int criu_add_inherit_fd(int fd, const char *key);
int criu_local_add_inherit_fd(criu_opts *opts, int fd, const char *key);
int criu_add_external(const char *key);
int criu_local_add_external(criu_opts *opts, const char *key);
int criu_join_ns_add(const char *ns, const char *ns_file, const char *extra_opt);
int criu_local_join_ns_add(criu_opts *opts, const char *ns, const char *ns_file, const char *extra_opt);

/*
 * Called with the name of each stage ("pre-dump", "post-restore", ...), while criu waits. Anything but 0 says that the
 * stage has failed. criu_notify_pid() is the pid of the root task, 0 where it is not told.
 */
void criu_set_notify_cb(criu_notify_cb cb);
void criu_local_set_notify_cb(criu_opts *opts, criu_notify_cb cb);
int criu_notify_pid(criu_notify_arg_t na);
/* At "orphan-pts-master", once: the master of the terminal, which the caller has to close. -1: there is none. */
int criu_get_orphan_pts_master_fd(void);
int criu_local_get_orphan_pts_master_fd(criu_opts *opts);

/* Requests. */
int criu_check(void);
int criu_local_check(criu_opts *opts);
/* Without a pid, or with the caller's own, of the caller: 0 in the caller that goes on, 1 in the restored one. */
int criu_dump(void);
int criu_local_dump(criu_opts *opts);
int criu_pre_dump(void);
int criu_local_pre_dump(criu_opts *opts);
/* Pre-dumps, and more() after each: above 0 for one more, 0 for the dump, a negative number to end with it. */
int criu_dump_iters(criu_more_cb more);
int criu_local_dump_iters(criu_opts *opts, criu_more_cb more);
/*
 * The pid of the root task; of criu_restore_child() a child of the caller, for which that has to wait: also where the
 * restore has failed, when it has been killed.
 */
int criu_restore(void);
int criu_local_restore(criu_opts *opts);
int criu_restore_child(void);
int criu_local_restore_child(criu_opts *opts);
/* 40200 for version 4.2; 1 where the version is `minimum` or later, 0 where not. */
int criu_get_version(void);
int criu_local_get_version(criu_opts *opts);
int criu_check_version(int minimum);
int criu_local_check_version(criu_opts *opts, int minimum);
/* `size` is sizeof(*features) of the caller. */
int criu_feature_check(struct criu_feature_check *features, size_t size);
int criu_local_feature_check(criu_opts *opts, struct criu_feature_check *features, size_t size);

#pragma GCC visibility pop

#ifdef __cplusplus /* lint: allow: C++ callers */
}
#endif

#endif
