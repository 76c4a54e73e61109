/* SPDX-License-Identifier: GPL-2.0-only */
#include "proc/ns_type.h"

#include <linux/sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* By the text of the link, "net:[4026531840]": stat(2), which has the kernel make the inode, takes twice as long. */
int ns_type_inode(int proc_fd, const char *file, uint64_t *ino)
{
	char path[32], text[64], *number, *end;
	ssize_t n;

	snprintf(path, sizeof(path), "ns/%s", file);
	n = readlinkat(proc_fd, path, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = 0;
	number = strchr(text, '[');
	if (!number)
		return -EBADMSG;
	*ino = strtoull(number + 1, &end, 10);
	return *end == ']' ? 0 : -EBADMSG;
}
