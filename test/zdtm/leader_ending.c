/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The first thread ends so many microseconds after the program is ready (argument; else 40,000), maybe in the middle of
 * a dump (leader_ended.py). In the end it is gone, the others live, and the last one's end is the first one's status.
 *
 * zdtm: flavour no pidns
 */
#include <pthread.h>

#include "zdtm.h"
#include "zdtm_until.h"

#define N      3
#define STATUS (ended_early ? 7 : 0)

static pid_t process;
static int passed, ended_early;

static void *other(void *arg)
{
	zdtm_wait();
	zdtm_until(process, ") Z ");
	if (!__atomic_fetch_add(&passed, 1, __ATOMIC_SEQ_CST))
		zdtm_say("PASS", 0, "%s", "");
	syscall(SYS_exit, STATUS); /* the last one's: before Linux 5.17 the first one's counts */
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t;

	process = getpid();
	ended_early = argc > 1;
	for (int i = 0; i < N; i++)
		zdtm_must(!pthread_create(&t, NULL, other, NULL));
	usleep(20000);
	zdtm_ready();
	if (argc < 2)
		zdtm_wait();
	for (int us = argc < 2 ? 0 : atoi(argv[1]); us > 0; us -= 1000)
		usleep(1000);
	syscall(SYS_exit, STATUS);
	return 0;
}
