/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel numbers a process's timers upwards from 0. To get a timer with a certain number, timers are created and
 * deleted up to it, or, from Linux 6.16 on, the number is asked for (PR_TIMER_CREATE_RESTORE_IDS). For low numbers the
 * first way is taken even there: it also makes the task's next timer get a number above those that the task had.
 */
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "arch/arch_abi.h"
#include "lib/log.h"
#include "task/timer_ids.h"
#include "uapi/prctl_new.h"

#define COUNT_UP_TO 4096U      /* by creating and deleting, where the kernel could do otherwise */
#define COUNT_MAX   (4U << 20) /* and where it cannot: seconds */

/* ---- /proc/PID/timers ---- */

static uint32_t parse_notify(const char *how, const char *whom)
{
	uint32_t notify = !strcmp(how, "signal") ? SIGEV_SIGNAL : !strcmp(how, "none") ? SIGEV_NONE : SIGEV_THREAD;

	return notify | (!strcmp(whom, "tid") ? SIGEV_THREAD_ID : 0);
}

int timer_parse(const char **textp, struct timer_line *out)
{
	char how[8], whom[4];
	int len = -1;

	if (!**textp)
		return 0;
	/* The value is a pointer in hexadecimal without 0x, as %p of the kernel writes it. */
	if (sscanf(*textp,
	           "ID: %" SCNu32 "\nsignal: %" SCNu32 "/%" SCNx64 "\nnotify: %7[a-z]/%3[a-z].%" SCNd32
	           "\nClockID: %" SCNd32 "\n%n",
	           &out->id, &out->signo, &out->value, how, whom, &out->pid, &out->clock, &len) < 7 ||
	    len < 0)
		return -EBADMSG;
	out->notify = parse_notify(how, whom);
	*textp += len;
	return 1;
}

/* ---- creating ---- */

static bool kernel_takes_ids(void)
{
	long on = prctl(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_ON, 0, 0, 0);

	if (on)
		return false;
	prctl(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_OFF, 0, 0, 0);
	return true;
}

int timer_ids_check(const char *who, uint32_t max_id)
{
	if (max_id < COUNT_MAX || kernel_takes_ids())
		return 0;
	return log_refusal(-EOPNOTSUPP,
	                   "%s: has a timer with the number %u, which takes too long to reach without "
	                   "PR_TIMER_CREATE_RESTORE_IDS (Linux 6.16)",
	                   who, max_id);
}

static void create_timer(struct batch *b, const PosixTimerEntry *e, raddr_t id_at)
{
	struct arch_sigevent ev = {
		.value = e->sival_ptr,
		.signo = (int32_t)e->si_signo,
		.notify = (int32_t)e->it_sigev_notify,
		.tid = e->notify_thread_id,
	};

	batch_call(b, SYS_timer_create, (uint64_t)(int32_t)e->clock_id, batch_data(b, &ev, sizeof(ev)), id_at);
}

/* A timer that is created only to get past its number. */
static void skip_timer(struct batch *b, uint32_t id)
{
	struct arch_sigevent ev = { .notify = SIGEV_NONE };
	const void *unused;

	batch_reserve(b, 2, sizeof(ev) + 16);
	batch_call(b, SYS_timer_create, CLOCK_MONOTONIC, batch_data(b, &ev, sizeof(ev)), batch_space(b, 4, &unused));
	batch_call(b, SYS_timer_delete, id);
}

/* Creates a timer and compares the number that it got. */
static int create_checked(const char *who, struct batch *b, const PosixTimerEntry *e)
{
	uint32_t *id;
	raddr_t at;
	int err;

	batch_reserve(b, 1, sizeof(struct arch_sigevent) + 16);
	at = batch_space(b, sizeof(*id), &id);
	*id = e->it_id;
	create_timer(b, e, at);
	err = batch_run(b);
	if (!err && *id != e->it_id)
		err = log_errno(-EEXIST, "%s: a timer got the number %u instead of %u", who, *id, e->it_id);
	return err;
}

int timer_ids_create(const char *who, struct batch *b, PosixTimerEntry *const *timers, size_t n)
{
	uint32_t next = 0, max = timers[n - 1]->it_id;
	bool by_id = max >= COUNT_UP_TO && kernel_takes_ids();
	int err = 0;

	if (by_id)
		batch_call(b, SYS_prctl, PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_ON);
	for (size_t i = 0; !err && i < n; i++) {
		for (; !by_id && next < timers[i]->it_id; next++)
			skip_timer(b, next);
		err = create_checked(who, b, timers[i]);
		next++;
	}
	if (by_id)
		batch_call(b, SYS_prctl, PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_OFF);
	return err;
}
