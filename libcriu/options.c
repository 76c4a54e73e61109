/* SPDX-License-Identifier: LGPL-2.1-only */
/* Options that have one value: a row each. lint: table */
#include <stdint.h>
#include <string.h>

#include "inner.h"

#define VALUE(name, type, field)                                                                                       \
	void criu_local_set_##name(criu_opts *opts, type value)                                                        \
	{                                                                                                              \
		if (!opts)                                                                                             \
			return;                                                                                        \
		opts->rpc->has_##field = true;                                                                         \
		opts->rpc->field = value;                                                                              \
	}                                                                                                              \
	void criu_set_##name(type value)                                                                               \
	{                                                                                                              \
		criu_local_set_##name(libcriu_global(), value);                                                        \
	}

#define FLAG(name) VALUE(name, bool, name)

#define STRING(verb, name, field)                                                                                      \
	int criu_local_##verb##_##name(criu_opts *opts, const char *value)                                             \
	{                                                                                                              \
		return opts ? libcriu_set_string(&opts->rpc->field, value) : libcriu_fail(-EINVAL);                    \
	}                                                                                                              \
	int criu_##verb##_##name(const char *value)                                                                    \
	{                                                                                                              \
		return criu_local_##verb##_##name(libcriu_global(), value);                                            \
	}

/* An enumeration: what criu would not take is refused here. */
#define CHOICE(name, type, field, lowest, highest)                                                                     \
	int criu_local_set_##name(criu_opts *opts, enum type value)                                                    \
	{                                                                                                              \
		if (!opts || value < (lowest) || value > (highest))                                                    \
			return libcriu_fail(-EINVAL);                                                                  \
		opts->rpc->has_##field = true;                                                                         \
		opts->rpc->field = (int)value;                                                                         \
		return 0;                                                                                              \
	}                                                                                                              \
	int criu_set_##name(enum type value)                                                                           \
	{                                                                                                              \
		return criu_local_set_##name(libcriu_global(), value);                                                 \
	}

VALUE(pid, int, pid)
VALUE(work_dir_fd, int, work_dir_fd)
VALUE(log_level, int, log_level)
VALUE(cpu_cap, unsigned int, cpu_cap)
VALUE(timeout, unsigned int, timeout)
VALUE(ghost_limit, unsigned int, ghost_limit)
VALUE(pidfd_store_sk, int, pidfd_store_sk)
VALUE(empty_ns, int, empty_ns)

FLAG(leave_running)
FLAG(ext_unix_sk)
FLAG(tcp_established)
FLAG(tcp_skip_in_flight)
FLAG(tcp_close)
FLAG(weak_sysctls)
FLAG(evasive_devices)
FLAG(shell_job)
FLAG(skip_file_rwx_check)
FLAG(unprivileged)
FLAG(orphan_pts_master)
FLAG(file_locks)
FLAG(track_mem)
FLAG(auto_dedup)
FLAG(force_irmap)
FLAG(link_remap)
FLAG(manage_cgroups)
FLAG(auto_ext_mnt)
FLAG(ext_sharing)
FLAG(ext_masters)
FLAG(mntns_compat_mode)

STRING(set, parent_images, parent_img)
STRING(set, log_file, log_file)
STRING(set, root, root)
STRING(set, freeze_cgroup, freeze_cgroup)
STRING(set, lsm_profile, lsm_profile)
STRING(set, lsm_mount_context, lsm_mount_context)
STRING(set, config_file, config_file)
/* Added, by their names, but criu takes one. */
STRING(add, cg_props, cgroup_props)
STRING(add, cg_props_file, cgroup_props_file)
STRING(add, cg_yard, cgroup_yard)

CHOICE(pre_dump_mode, criu_pre_dump_mode, pre_dump_mode, CRIU_PRE_DUMP_SPLICE, CRIU_PRE_DUMP_READ)
CHOICE(network_lock, criu_network_lock_method, network_lock, CRIU_NETWORK_LOCK_IPTABLES, CRIU_NETWORK_LOCK_SKIP)

/* A required field: it is always sent. */
void criu_local_set_images_dir_fd(criu_opts *opts, int fd)
{
	if (opts)
		opts->rpc->images_dir_fd = fd;
}

void criu_set_images_dir_fd(int fd)
{
	criu_local_set_images_dir_fd(libcriu_global(), fd);
}

void criu_local_set_manage_cgroups_mode(criu_opts *opts, enum criu_cg_mode mode)
{
	if (!opts)
		return;
	opts->rpc->has_manage_cgroups_mode = true;
	opts->rpc->manage_cgroups_mode = (int)mode;
}

void criu_set_manage_cgroups_mode(enum criu_cg_mode mode)
{
	criu_local_set_manage_cgroups_mode(libcriu_global(), mode);
}
