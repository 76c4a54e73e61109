/* SPDX-License-Identifier: GPL-2.0-only */
/* Private to foreign_*.c: what a dump keeps. */
#ifndef CRIU_FILES_FOREIGN_PARTS_H
#define CRIU_FILES_FOREIGN_PARTS_H

#include "helper/foreign.h"
#include "proc/fdinfo.h"
#include "tree/dump.h"
#include "tree/subsys.h"

struct foreign_server;

struct foreign_dump {
	struct foreign mounts;
	bool begun, failed, searched;
	bool has_namespaces; /* those of the tree have been added */
	struct foreign_server *servers;
	size_t n_servers;
	struct text_buf text;
};

struct foreign_dump *foreign_dump_of(struct dump *d);

struct foreign_restore {
	struct foreign mounts;
	bool begun;
	const struct task *asked_for; /* the task whose identity is the next */
	const struct proc_status *who;
};

extern const struct subsys foreign_subsys;

#endif
