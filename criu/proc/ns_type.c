/* SPDX-License-Identifier: GPL-2.0-only */
#include "proc/ns_type.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/stat.h>

const struct ns_type ns_types[NAMESPACE_TYPES] = {
	{ "pid", "pid_for_children", "pid_ns_id", CLONE_NEWPID },
	{ "net", NULL, "net_ns_id", CLONE_NEWNET },
	{ "ipc", NULL, "ipc_ns_id", CLONE_NEWIPC },
	{ "uts", NULL, "uts_ns_id", CLONE_NEWUTS },
	{ "time", "time_for_children", "time_ns_id", CLONE_NEWTIME },
	{ "mnt", NULL, "mnt_ns_id", CLONE_NEWNS },
	{ "user", NULL, "user_ns_id", CLONE_NEWUSER },
	{ "cgroup", NULL, "cgroup_ns_id", CLONE_NEWCGROUP },
};

const struct ns_type *ns_type_of_flag(uint64_t flag)
{
	for (size_t i = 0; i < NAMESPACE_TYPES; i++)
		if (ns_types[i].flag == flag)
			return &ns_types[i];
	return NULL;
}

int ns_type_inode(int proc_fd, const char *file, uint64_t *ino)
{
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "ns/%s", file);
	if (fstatat(proc_fd, path, &st, 0))
		return -errno;
	*ino = st.st_ino;
	return 0;
}
