/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>

#include "lib/own_pids.h"

#define PID_MAX "/proc/sys/kernel/pid_max"

#define LOWEST  300  /* where the kernel begins again, too, when it has come to the end (RESERVED_PIDS) */
#define STRETCH 1000 /* so many numbers in a row are enough for what scripts start */

static struct {
	const pid_t *avoided;
	size_t n;
	pid_t last; /* that was chosen */
	pid_t max;
} own;

static pid_t read_number(const char *path, pid_t otherwise)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[24] = "";
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	pid_t number = n > 0 ? atoi(text) : 0;

	return number > 0 ? number : otherwise;
}

void own_pids_avoid(const pid_t *pids, size_t n)
{
	own.avoided = pids;
	own.n = n;
	if (!n)
		return;
	own.last = getpid();
	own.max = read_number(PID_MAX, 32768) - 1;
	own_pids_steer();
}

/* Where the first number from pid on lies in the list. */
static size_t place_from(pid_t pid)
{
	size_t low = 0, high = own.n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (own.avoided[mid] < pid)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool own_pids_avoided(pid_t pid)
{
	size_t at = place_from(pid);

	return at < own.n && own.avoided[at] == pid;
}

pid_t own_pids_last_avoided(void)
{
	return own.n ? own.avoided[own.n - 1] : 0;
}

/* As a process, a thread, or a group. (Of a session clone3(2) tells.) */
static bool is_free(pid_t pid)
{
	return kill(pid, 0) < 0 && errno == ESRCH && kill(-pid, 0) < 0 && errno == ESRCH;
}

/* One after the other, as the kernel does: a number that has just become free is not taken again at once. */
static pid_t next_number(void)
{
	pid_t last = __atomic_load_n(&own.last, __ATOMIC_RELAXED), next;

	do
		next = last < own.max ? last + 1 : MIN((pid_t)LOWEST, own.max);
	while (!__atomic_compare_exchange_n(&own.last, &last, next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return next;
}

/* Free at this moment. 0: any will do. */
static pid_t choose_number(void)
{
	for (pid_t tries = 0; own.n && tries < own.max; tries++) {
		pid_t pid = next_number();

		if (pid > 1 && !own_pids_avoided(pid) && is_free(pid))
			return pid;
	}
	return 0;
}

void own_pids_set(struct own_pid *n, struct clone_args *args)
{
	n->chosen = n->any ? 0 : choose_number();
	args->set_tid = n->chosen ? (uintptr_t)&n->chosen : 0;
	args->set_tid_size = n->chosen != 0;
}

bool own_pids_again(struct own_pid *n, long pid)
{
	if (n->chosen && (pid == -EPERM || pid == -EINVAL))
		n->any = true;
	return n->chosen && (n->any || pid == -EEXIST);
}

/* The last number before a stretch that holds none to be avoided; `last` where that is so at once. */
static pid_t past_avoided(pid_t last)
{
	for (size_t i = place_from(last + 1); i < own.n && own.avoided[i] - last <= STRETCH; i++)
		last = own.avoided[i];
	return last;
}

void own_pids_steer(void)
{
	pid_t last = own.n ? read_number(OWN_PIDS_LAST, 0) : 0, wanted = last ? past_avoided(last) : 0;
	_cleanup_close_ int fd = -1;
	char text[24];

	if (wanted == last || wanted > own.max)
		return;
	fd = open(OWN_PIDS_LAST, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, text, (size_t)snprintf(text, sizeof(text), "%d", wanted)) < 0)
		errno = 0; /* not allowed, or read-only: then it stays as it is */
}

/* ---- threads ---- */

struct thread_start {
	void *(*fn)(void *);
	void *arg;
	bool avoided;
	sem_t known;
};

/* pthread_create(3) takes no number: a thread with a wrong one ends before it does anything. */
static void *thread_main(void *arg)
{
	struct thread_start *s = arg, start = { .fn = s->fn, .arg = s->arg };
	bool avoided = own_pids_avoided(gettid());

	s->avoided = avoided;
	sem_post(&s->known); /* gone with the creator's stack from here on */
	return avoided ? NULL : start.fn(start.arg);
}

/* -EEXIST: its number was one to be avoided. */
static int try_thread(pthread_t *thread, struct thread_start *s)
{
	int err = -pthread_create(thread, NULL, thread_main, s);

	if (err)
		return err;
	while (sem_wait(&s->known))
		;
	if (!s->avoided)
		return 0;
	pthread_join(*thread, NULL);
	return -EEXIST;
}

int own_pids_thread(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	struct thread_start s = { .fn = fn, .arg = arg };
	int err = -EEXIST;

	if (!own.n)
		return -pthread_create(thread, NULL, fn, arg);
	if (sem_init(&s.known, 0, 0))
		return -errno;
	/* Where the counter cannot be set, it counts up all the same: each number that is avoided is met once. */
	for (size_t tries = 0; err == -EEXIST && tries <= own.n; tries++) {
		own_pids_steer();
		err = try_thread(thread, &s);
	}
	sem_destroy(&s.known);
	return err == -EEXIST ? -EAGAIN : err;
}
