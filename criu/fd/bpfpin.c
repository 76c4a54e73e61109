/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * BPF programs and links that are pinned (BPF_OBJ_PIN): they stay when their processes end, and are opened again where
 * they are pinned. Those that are not end with their last descriptor, and nothing shows how to make them again.
 */
#include <dirent.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "bpf-pin.pb-c.h"
#include "files/files.h"
#include "lib/fd_flags.h"
#include "lib/log.h"
#include "proc/mountinfo.h"

#define LINK_OF_PROGRAM "anon_inode:bpf-prog"
#define LINK_OF_LINK    "anon_inode:bpf_link"
#define DEPTH_MAX       16

extern const struct fd_kind bpfpin_kind;

static int call_bpf(int cmd, union bpf_attr *a)
{
	int ret = (int)syscall(SYS_bpf, cmd, a, sizeof(*a));

	return ret < 0 ? -errno : ret;
}

static int open_pin(const char *path)
{
	union bpf_attr a = { .pathname = (uintptr_t)path };

	return call_bpf(BPF_OBJ_GET, &a);
}

/* What is compared of an object. */
struct object {
	bool link;
	uint32_t type, id;
	uint8_t tag[BPF_TAG_SIZE];
};

/* 0, or a negative errno: -EINVAL where it is neither a program nor a link. */
static int look_at(int fd, struct object *o)
{
	union {
		struct bpf_prog_info prog;
		struct bpf_link_info link;
	} info = { 0 };
	union bpf_attr a = { .info = { .bpf_fd = (uint32_t)fd, .info_len = sizeof(info), .info = (uintptr_t)&info } };
	char proc[40], name[64];
	ssize_t n;
	int err;

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	n = readlink(proc, name, sizeof(name) - 1);
	name[MAX(n, 0)] = 0;
	o->link = !strcmp(name, LINK_OF_LINK);
	if (!o->link && strcmp(name, LINK_OF_PROGRAM))
		return -EINVAL;
	err = call_bpf(BPF_OBJ_GET_INFO_BY_FD, &a);
	if (err < 0)
		return err;
	o->type = o->link ? info.link.type : info.prog.type;
	o->id = o->link ? info.link.id : info.prog.id;
	if (!o->link)
		memcpy(o->tag, info.prog.tag, sizeof(o->tag));
	return 0;
}

static bool bpfpin_match(const struct fd_info *info)
{
	return !strcmp(info->link, LINK_OF_PROGRAM) || !strcmp(info->link, LINK_OF_LINK);
}

/* ---- dump: where it is pinned ---- */

struct pin {
	char *path;
	struct object object;
	struct pin *next;
};

struct pins {
	bool read;
	struct pin *all;
};

static void read_pins(struct arena *a, struct pins *pins, const char *dir, int depth);

static void read_pin(struct arena *a, struct pins *pins, const char *path, const struct dirent *e, int depth)
{
	struct object o = { 0 };
	struct pin *p;
	int fd;

	if (e->d_type == DT_DIR)
		read_pins(a, pins, path, depth + 1);
	if (e->d_type != DT_REG)
		return;
	fd = open_pin(path);
	if (fd < 0)
		return;
	if (!look_at(fd, &o)) {
		p = arena_new_of(a, struct pin);
		*p = (struct pin) { arena_strdup(a, path), o, pins->all };
		pins->all = p;
	}
	close(fd);
}

static void read_pins(struct arena *a, struct pins *pins, const char *dir, int depth)
{
	DIR *d = depth < DEPTH_MAX ? opendir(dir) : NULL;
	const struct dirent *e;

	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			read_pin(a, pins, arena_printf(a, "%s/%s", dir, e->d_name), e, depth);
	if (d)
		closedir(d);
}

static const struct pin *find_pin(struct dump *d, const struct object *o)
{
	struct pins *pins = dump_state(d, &bpfpin_kind);
	struct mount_at *mounts = NULL;
	const struct pin *p;
	size_t n = 0;

	if (!pins->read && !mountinfo_read(d->arena, &mounts, &n))
		for (size_t i = 0; i < n; i++)
			if (!strcmp(mounts[i].type, "bpf"))
				read_pins(d->arena, pins, mounts[i].path, 0);
	pins->read = true;
	p = pins->all;
	while (p && (p->object.link != o->link || p->object.id != o->id))
		p = p->next;
	return p;
}

static int bpfpin_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	BpfPinEntry *m = msg;
	struct object o = { 0 };
	const struct pin *p;
	int err = look_at(info->fd, &o);

	if (err)
		return log_errno(err, "%s: bpf(BPF_OBJ_GET_INFO_BY_FD)", fd_name(info));
	p = find_pin(d, &o);
	if (!p) {
		log_refusal(-EOPNOTSUPP, "%s: %s (%s), which is not pinned; %s", fd_name(info), info->link,
		            fd_what(info), fd_way_out(info));
		return DUMP_REFUSED;
	}
	m->path = p->path;
	m->link = o.link;
	m->type = o.type;
	m->has_tag = !o.link;
	m->tag.len = o.link ? 0 : sizeof(o.tag);
	m->tag.data = arena_memdup(d->arena, o.tag, sizeof(o.tag));
	return 0;
}

/* ---- restore ---- */

static bool is_same_object(const BpfPinEntry *m, const struct object *o)
{
	return m->link == o->link && m->type == o->type &&
	       (!m->has_tag || (m->tag.len == sizeof(o->tag) && !memcmp(m->tag.data, o->tag, sizeof(o->tag))));
}

static int bpfpin_check(struct restore *r, const void *msg, const char **why)
{
	const BpfPinEntry *m = msg;
	const char *what = m->link ? "link" : "program";
	_cleanup_close_ int fd = open_pin(m->path);
	struct object o = { 0 };

	if (fd < 0) {
		*why = arena_printf(r->arena, "the BPF %s that is pinned as %s: %s", what, m->path, strerror(-fd));
		return fd;
	}
	if (!look_at(fd, &o) && is_same_object(m, &o))
		return 0;
	*why = arena_printf(r->arena, "what is pinned as %s is not the BPF %s that was", m->path, what);
	return -ESTALE;
}

static int bpfpin_open(struct restore *r, const void *msg)
{
	const BpfPinEntry *m = msg;
	_cleanup_close_ int fd = open_pin(m->path);
	int err;

	if (fd < 0)
		return log_errno(fd, "%s: bpf(BPF_OBJ_GET)", m->path);
	err = fd_flags_restore(fd, m->flags);
	return err ?: move_fd(&fd);
}

const struct fd_kind bpfpin_kind = {
	.name = "pinned BPF object",
	.state = { .dump = sizeof(struct pins) },
	.type = FD_TYPES__BPF_PIN,
	.field = 1007,
	.pb = &bpf_pin_entry__descriptor,
	.match = bpfpin_match,
	.dump = bpfpin_dump,
	.check = bpfpin_check,
	.open = bpfpin_open,
};
