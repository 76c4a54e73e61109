/* SPDX-License-Identifier: GPL-2.0-only */
#include "helper/ns_enter.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "arch_page.h"
#include "helper/executor_parts.h"

struct entry_job {
	const struct ns_type *type; /* of a new namespace */
	int fd;                     /* of the namespace; of the owner of a new one, or -1 */
	helper_fn before, fn;       /* may be NULL */
	void *arg;
	bool ran;
};

static int run_inside(void *arg)
{
	struct entry_job *job = arg;
	uint64_t entered;
	int err = executor_enter(&job->fd, 1, &entered);

	job->ran = true;
	return err ?: job->fn(job->arg);
}

static int run_in_copy(void *arg)
{
	struct entry_job *job = arg;
	uint64_t entered;
	int err = job->fd >= 0 ? executor_enter(&job->fd, 1, &entered) : 0;

	job->ran = true;
	err = err ?: executor_unshare(CLONE_NEWNS);
	return err ?: job->fn(job->arg);
}

/* /proc is another one, or none, in a new mount namespace. */
static int make_inside(void *arg)
{
	struct entry_job *job = arg;
	_cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char path[32];
	uint64_t entered;
	int err = job->before ? job->before(job->arg) : 0;

	job->ran = true;
	if (!err && job->fd >= 0)
		err = executor_enter(&job->fd, 1, &entered);
	err = err ?: executor_unshare(job->type->flag);
	if (!err && job->fn)
		err = job->fn(job->arg);
	if (err)
		return err;
	snprintf(path, sizeof(path), "self/ns/%s", job->type->for_children ?: job->type->name);
	job->fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	return job->fd < 0 ? log_errno(-errno, "open of /proc/%s", path) : job->fd;
}

/* One that enters a user namespace makes our common memory undumpable: nobody in there may trace the helper. */
static int run_job(struct entry_job *job, helper_fn fn)
{
	const struct helper_spec spec = { .flags = CLONE_VM | CLONE_FILES };
	int dumpable = prctl(PR_GET_DUMPABLE), ret = helper_run(&spec, fn, job);

	if (dumpable == 1)
		prctl(PR_SET_DUMPABLE, 1);
	return job->ran ? ret : log_errno(ret, "clone3 of a helper that enters a namespace");
}

int ns_enter_run(int fd, helper_fn fn, void *arg)
{
	return run_job(&(struct entry_job) { .fd = fd, .fn = fn, .arg = arg }, run_inside);
}

int ns_enter_copy(int fd, helper_fn fn, void *arg)
{
	return run_job(&(struct entry_job) { .fd = fd, .fn = fn, .arg = arg }, run_in_copy);
}

int ns_enter_make(const struct ns_type *type, int owner, helper_fn before, helper_fn fn, void *arg)
{
	return run_job(&(struct entry_job) { .type = type, .fd = owner, .before = before, .fn = fn, .arg = arg },
	               make_inside);
}

int ns_enter_join(const struct ns_type *type, int fd)
{
	return executor_join(type->flag, fd);
}

int ns_enter_thread(int fd, uint64_t flag)
{
	return executor_set_thread(fd, flag);
}

struct time_look {
	int fd;
	char *text; /* a page that both have */
};

/* A fork: it neither logs nor allocates. */
static int read_offsets(void *arg)
{
	const struct time_look *look = arg;
	int err = executor_enter_time(look->fd), fd;

	if (err)
		return err;
	fd = open("/proc/self/timens_offsets", O_RDONLY | O_CLOEXEC);
	return fd < 0 || read(fd, look->text, PAGE_SIZE - 1) < 0 ? -errno : 0;
}

/* The kernel takes into a time namespace only who shares no memory with another. */
int ns_enter_time_offsets(int fd, struct timens_offsets *o)
{
	char *text = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int err = text == MAP_FAILED ? -errno : 0;

	if (err)
		return log_errno(err, "mmap of a page");
	err = helper_run(&(struct helper_spec) { 0 }, read_offsets, &(struct time_look) { fd, text });
	err = err ?: timens_parse(text, o);
	munmap(text, PAGE_SIZE);
	return err ? log_errno(err, "a helper: setns(time), and reading its timens_offsets") : 0;
}

int ns_enter_inode(int fd, uint64_t *ino)
{
	struct stat st;

	if (fstat(fd, &st))
		return log_errno(-errno, "fstat of a namespace");
	*ino = st.st_ino;
	return 0;
}
