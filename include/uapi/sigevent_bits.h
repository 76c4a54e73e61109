/* SPDX-License-Identifier: GPL-2.0-only */
/* The thread of SIGEV_THREAD_ID, timer_create(2): glibc before 2.38 has the field without its documented name. */
#ifndef UAPI_SIGEVENT_BITS_H
#define UAPI_SIGEVENT_BITS_H

#include <signal.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#endif
