/* SPDX-License-Identifier: GPL-2.0-only */
/* Working directory, root and umask: what CLONE_FS shares. */
#ifndef CRIU_TASK_FS_H
#define CRIU_TASK_FS_H

#include "tree/dump.h"
#include "tree/restore.h"

/* Fills t->fs and writes fs-<vpid>.img, for every live task. 0 or a negative errno (logged; refusals too). */
int fs_dump(struct dump *d, struct task *t);

/* Sets them in the task through its agent, before files_install(). For the first task of an fs_id. */
int fs_restore(struct restore *r, struct task *t);

#endif
