/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * POSIX timers: a gap of a million between two numbers, hundreds of them, CPU clocks, and registration for
 * membarrier(2).
 * zdtm: restores 2
 */
#include <linux/membarrier.h>
#include <sys/prctl.h>

#include "zdtm.h"

#define RESTORE_IDS 77 /* PR_TIMER_CREATE_RESTORE_IDS, Linux 6.16 */
#define MANY        600
#define FAR         1000000

static int ids[MANY];

static int create(clockid_t clock, int id)
{
	struct sigevent ev = { .sigev_notify = SIGEV_NONE };

	zdtm_must(!syscall(SYS_timer_create, clock, &ev, &id));
	return id;
}

static void arm(int id, long seconds)
{
	struct itimerspec t = { { 1, 2 }, { seconds, 0 } };

	zdtm_must(!syscall(SYS_timer_settime, id, 0, &t, NULL));
}

static void look(int id, long seconds)
{
	struct itimerspec t;

	if (!zdtm_check(!syscall(SYS_timer_gettime, id, &t), "timer %d is not there", id))
		return;
	zdtm_check(t.it_interval.tv_sec == 1 && t.it_interval.tv_nsec == 2, "timer %d: interval", id);
	zdtm_check(t.it_value.tv_sec > seconds - 60 && t.it_value.tv_sec <= seconds, "timer %d: %ld s left", id,
	           t.it_value.tv_sec);
}

int main(void)
{
	int far = 0, cpu;

	zdtm_must(!syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0));
	for (int i = 0; i < MANY; i++)
		arm(ids[i] = create(CLOCK_MONOTONIC, 0), 2000 + i);
	cpu = create(CLOCK_PROCESS_CPUTIME_ID, 0);
	arm(cpu, 5000);
	if (!prctl(RESTORE_IDS, 1, 0, 0, 0)) {
		far = create(CLOCK_REALTIME, FAR);
		zdtm_must(!prctl(RESTORE_IDS, 0, 0, 0, 0) && far == FAR);
		arm(far, 3000);
	}
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < MANY; i++)
		look(ids[i], 2000 + i);
	look(cpu, 5000);
	if (far)
		look(far, 3000);
	zdtm_check(!syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0), "not registered for membarrier");
	zdtm_pass();
}
