/* SPDX-License-Identifier: GPL-2.0-only */
/* Whether criu can work with processes where it has been started (pid_namespaces(7)). */
#ifndef CRIU_PROC_OWN_PID_NS_H
#define CRIU_PROC_OWN_PID_NS_H

/*
 * /proc has the numbers of criu's pid namespace (elsewhere they would be those of other processes), and processes that
 * criu starts are born in there. 0 or a negative errno (logged, with the way out).
 */
int own_pid_ns_check(void);

#endif
