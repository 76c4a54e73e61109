/* SPDX-License-Identifier: GPL-2.0-only */
/* Triggers of pressure stall information: what a program has written to a file of /proc/pressure, or a cgroup's. */
#ifndef CRIU_FD_PSI_H
#define CRIU_FD_PSI_H

#include "regfile.pb-c.h"
#include "tree/kind.h"

/* Of any open file: its trigger, if it can have one and has. 0 or DUMP_REFUSED. */
int psi_dump(struct dump *d, const struct fd_info *info, RegFileEntry *m);

/* Writes it to the file that was opened again. */
int psi_restore(const RegFileEntry *m, int fd);

#endif
