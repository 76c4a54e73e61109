/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef CRIU_LIB_MEMFD_EXEC_H
#define CRIU_LIB_MEMFD_EXEC_H

/*
 * A memfd that may be executed, whatever the machine makes of memfds that do not say (vm.memfd_noexec is 1). flags:
 * MFD_* beside that. Negative errno (not logged): -EACCES where none may be (2).
 */
int memfd_exec(const char *name, unsigned flags);

#endif
