/* SPDX-License-Identifier: GPL-2.0-only */
/* linux/prctl.h: PR_TIMER_CREATE_RESTORE_IDS, Linux 6.16. linux/membarrier.h: MEMBARRIER_CMD_GET_REGISTRATIONS, 6.3. */
#ifndef CRIU_UAPI_PRCTL_NEW_H
#define CRIU_UAPI_PRCTL_NEW_H

#include <linux/membarrier.h>
#include <sys/prctl.h>

#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS     77
#define PR_TIMER_CREATE_RESTORE_IDS_OFF 0
#define PR_TIMER_CREATE_RESTORE_IDS_ON  1
#endif

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65 /* Linux 6.3 */
#define PR_GET_MDWE 66
#endif

/* An enum in the header: no #ifdef can ask for it. */
#define MEMBARRIER_GET_REGISTRATIONS (1 << 9)

#endif
