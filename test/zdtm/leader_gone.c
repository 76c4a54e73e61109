/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A process whose first thread has ended while others live on is refused (nobody can make one again), and lives on.
 *
 * zdtm: refuse main thread has exited
 */
#include <pthread.h>

#include "zdtm.h"
#include "zdtm_until.h"

static pthread_t first;

static void *thread(void *arg)
{
	char path[64], buf[300] = "";
	int fd;

	pthread_join(first, NULL);
	zdtm_until(getpid(), ") Z ");
	zdtm_ready();
	zdtm_wait();
	snprintf(path, sizeof(path), "/proc/%d/stat", getpid());
	fd = open(path, O_RDONLY);
	zdtm_check(fd >= 0 && read(fd, buf, 299) > 0 && strstr(buf, ") Z "), "the first thread lives: %s", buf);
	zdtm_check(syscall(SYS_gettid) != getpid(), "this is the first thread now");
	zdtm_pass();
	return NULL;
}

int main(void)
{
	pthread_t t;

	first = pthread_self();
	zdtm_must(!pthread_create(&t, NULL, thread, NULL));
	pthread_exit(NULL);
}
