/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

#include "fd/psi.h"
#include "files/files.h"
#include "format.h"
#include "lib/kernel_view.h"
#include "lib/log.h"

#define TAIL ".pressure"
#define USEC 1000 /* ns */

/* Without a trigger it is a text like any other. */
static bool is_psi_file(const struct fd_info *info, bool *of_cgroup)
{
	size_t len = strlen(info->link), tail = strlen(TAIL);
	struct statfs fs;

	if (!S_ISREG(info->st.st_mode) || info->fd < 0 || info->flags & O_PATH ||
	    (info->flags & O_ACCMODE) == O_RDONLY || !strstr(info->link, "pressure") || fstatfs(info->fd, &fs))
		return false;
	*of_cgroup = fs.f_type == CGROUP2_SUPER_MAGIC;
	if (*of_cgroup)
		return len > tail && !strcmp(info->link + len - tail, TAIL) && !strstr(info->link, "/cgroup" TAIL);
	return fs.f_type == PROC_SUPER_MAGIC && strstr(info->link, "/pressure/");
}

/* Where the pointer to the trigger lies, from the file. */
static int find_way(const struct btf_types *b, bool of_cgroup, struct kernel_way *w)
{
	int file = btf_offset(b, "file", "private_data"), seq = btf_offset(b, "seq_file", "private");

	if (file < 0 || seq < 0)
		return -ENOENT;
	*w = (struct kernel_way) { .hops = { file }, .n = 1, .last = seq };
	if (!of_cgroup)
		return 0;
	w->hops[w->n++] = seq;
	w->hops[w->n++] = btf_offset(b, "kernfs_open_file", "priv");
	w->last = btf_offset(b, "cgroup_file_ctx", "psi.trigger");
	return w->hops[2] < 0 || w->last < 0 ? -ENOENT : 0;
}

struct trigger {
	uint64_t at, threshold, window; /* ns; at 0: none */
	uint32_t state;
};

static int read_trigger(struct kernel_view *v, int fd, bool of_cgroup, struct trigger *t)
{
	const struct btf_types *b = kernel_types(v);
	int state = btf_offset(b, "psi_trigger", "state"), threshold = btf_offset(b, "psi_trigger", "threshold"),
	    window = btf_offset(b, "psi_trigger", "win.size"), err;
	struct kernel_way way;

	err = state < 0 || threshold < 0 || window < 0 ? -ENOENT : find_way(b, of_cgroup, &way);
	err = err ?: kernel_read_of_file(v, fd, &way, &t->at, sizeof(t->at));
	if (err || !t->at)
		return err;
	err = kernel_read(v, kaddr_plus(t->at, state), &t->state, sizeof(t->state));
	err = err ?: kernel_read(v, kaddr_plus(t->at, threshold), &t->threshold, sizeof(t->threshold));
	return err ?: kernel_read(v, kaddr_plus(t->at, window), &t->window, sizeof(t->window));
}

/* The states of the kernel go by twos, some and full; of interrupts there is only the second. */
static const char *name_of_state(const struct fd_info *info, uint32_t state)
{
	return state % 2 || strstr(info->link, "irq") ? "full" : "some";
}

int psi_dump(struct dump *d, const struct fd_info *info, RegFileEntry *m)
{
	const char *call = "the kernel's memory";
	struct kernel_view *v = NULL;
	struct trigger t = { 0 };
	bool of_cgroup;
	int err;

	if (!is_psi_file(info, &of_cgroup))
		return 0;
	err = kernel_view_open(&v, &call);
	err = err ?: read_trigger(v, info->fd, of_cgroup, &t);
	kernel_view_close(v);
	if (err) {
		log_refusal(
		    -ENOTSUP,
		    "%s: %s: is open for writing, and may have a trigger, which the kernel does not show (%s: %s): "
		    "run criu with CAP_BPF and CAP_PERFMON, or close the file before the dump",
		    fd_name(info), info->link, call, strerror(-err));
		return DUMP_REFUSED;
	}
	if (!t.at)
		return 0;
	m->psi_trigger = arena_printf(d->arena, "%s %llu %llu", name_of_state(info, t.state),
	                              (unsigned long long)(t.threshold / USEC), (unsigned long long)(t.window / USEC));
	d->inventory->img_version = FORMAT_VERSION_OURS;
	return 0;
}

int psi_restore(const RegFileEntry *m, int fd)
{
	size_t len = m->psi_trigger ? strlen(m->psi_trigger) + 1 : 0;

	if (!len || write(fd, m->psi_trigger, len) == (ssize_t)len)
		return 0;
	return log_errno(-errno, "%s: write of its trigger, %s%s", m->name, m->psi_trigger,
	                 errno == EINVAL ? " (without CAP_SYS_RESOURCE the kernel takes windows of whole 2 s alone)"
	                                 : "");
}
