/* SPDX-License-Identifier: GPL-2.0-only */
/* The mappings of a task at dump: smaps becomes vma_entry messages, or refusals by name. */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "files/files.h"
#include "lib/log.h"
#include "mm/mm.h"
#include "mm/vma.h"
#include "uapi/map_flags.h"

/* A file that is mapped: opening it through map_files costs more than all else here, so each is opened once. */
struct mapped_file {
	char *key;
	uint32_t id;
	const struct task *refused; /* 0 as the id: the task for which it was refused last */
	UT_hash_handle hh;
};

static const struct {
	uint32_t flag;
	unsigned advice; /* madvise(2) */
} advices[] = {
	{ VMF_rr, MADV_RANDOM },   { VMF_sr, MADV_SEQUENTIAL }, { VMF_dc, MADV_DONTFORK }, { VMF_mg, MADV_MERGEABLE },
	{ VMF_hg, MADV_HUGEPAGE }, { VMF_nh, MADV_NOHUGEPAGE }, { VMF_dd, MADV_DONTDUMP }, { VMF_wf, MADV_WIPEONFORK },
};

static const struct {
	uint32_t flag;
	const char *what;
} refused_flags[] = {
	{ VMF_ht, "huge pages of hugetlbfs are not supported yet" },
	{ VMF_ss, "it is a user shadow stack, which is not supported yet" },
	{ VMF_um, "userfaultfd watches it; unregister it before the dump" },
	{ VMF_uw, "userfaultfd watches it; unregister it before the dump" },
	{ VMF_ui, "userfaultfd watches it; unregister it before the dump" },
	{ VMF_sf, "MAP_SYNC is not supported" },
	{ VMF_sl, "it is sealed (mseal), which is not supported yet" },
	{ VMF_mt, "memory tags are not supported yet" },
	{ VMF_io, "it is memory of a device; unmap it before the dump" },
	{ VMF_pf, "it maps pages that belong to a driver; unmap it before the dump" },
};

static const struct {
	const char *prefix, *what;
} refused_names[] = {
	{ "/SYSV", "System V shared memory is not supported yet; detach it (shmdt) before the dump" },
	{ "/[aio]", "rings of asynchronous I/O (io_setup) are not supported yet; io_destroy() it before the dump" },
	{ "/secretmem", "memory of memfd_secret cannot be read by anybody else; unmap it before the dump" },
	{ "socket:", "mappings of sockets are not supported yet; unmap it before the dump" },
	{ "anon_inode:", "mappings of this kind of descriptor are not supported; unmap it before the dump" },
	{ "[uprobes]", "a uprobe has been put into this task; take it away (perf, bpftrace) before the dump" },
};

static bool starts_with(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

static bool is_vdso(const struct proc_map *m)
{
	return !strcmp(m->name, "[vdso]");
}

static bool is_vvar(const struct proc_map *m)
{
	return starts_with(m->name, "[vvar");
}

static int refuse(const struct task *t, const struct proc_map *m, const char *why)
{
	return log_refusal(-ENOTSUP, "%s: mapping %" PRIx64 "-%" PRIx64 "%s%s: %s", task_name(t), m->start, m->end,
	                   *m->name ? " of " : "", m->name, why);
}

/* The device of the kernel's own tmpfs, where shared anonymous memory and System V's lie. */
static uint64_t shmem_dev(struct mm_shared *shared)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (shared->shmem_dev)
		return shared->shmem_dev;
	fd = memfd_create("criu", MFD_CLOEXEC);
	if (fd >= 0 && !fstat(fd, &st))
		shared->shmem_dev = st.st_dev;
	return shared->shmem_dev;
}

static bool on_shmem(struct mm_shared *shared, const struct proc_map *m)
{
	return m->ino && makedev(m->major, m->minor) == shmem_dev(shared);
}

/* A name of a prctl() is shown instead of the file's. */
static bool is_shared_anon(struct mm_shared *shared, const struct proc_map *m)
{
	return m->shared && (!strcmp(m->name, "/dev/zero (deleted)") || starts_with(m->name, "[anon_shmem:")) &&
	       on_shmem(shared, m);
}

static bool is_memfd(struct mm_shared *shared, const struct proc_map *m)
{
	return starts_with(m->name, "/memfd:") && on_shmem(shared, m);
}

/* A name that another file can have too is meant only where the kernel made it. */
static const char *bad_name(struct mm_shared *shared, const struct proc_map *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused_names); i++)
		if (starts_with(m->name, refused_names[i].prefix) &&
		    (starts_with(m->name, "/SYSV") ? on_shmem(shared, m) : *m->name != '/' || !m->major))
			return refused_names[i].what;
	return NULL;
}

/* Why a mapping cannot be dumped, or NULL. */
static const char *why_not(struct mm_shared *shared, const struct proc_map *m)
{
	const char *why = bad_name(shared, m);

	if (why || is_vdso(m) || is_vvar(m))
		return why;
	for (size_t i = 0; i < ARRAY_SIZE(refused_flags); i++)
		if (m->flags & refused_flags[i].flag)
			return refused_flags[i].what;
	if (m->pkey && m->prot != PROT_EXEC) /* the kernel gives one to what can only be executed, by itself */
		return "a protection key (pkey_mprotect) is not supported yet";
	return NULL;
}

static void file_key(char *key, size_t size, const struct proc_map *m, uint32_t flags)
{
	snprintf(key, size, "%x:%x:%" PRIx64 ":%x:%s", m->major, m->minor, m->ino, flags, m->name);
}

static struct mapped_file *mapped_file_of(struct dump *d, struct mm_shared *shared, const struct proc_map *m,
                                          uint32_t flags)
{
	size_t size = strlen(m->name) + 64, len;
	_cleanup_free_ char *key = malloc(size);
	struct mapped_file *f;

	if (!key)
		return NULL;
	file_key(key, size, m, flags);
	len = strlen(key);
	HASH_FIND(hh, shared->files, key, len, f);
	if (!f) {
		f = arena_new_of(d->arena, struct mapped_file);
		f->key = arena_memdup(d->arena, key, len + 1);
		HASH_ADD_KEYPTR_IN(d->arena, hh, shared->files, f->key, len, f);
	}
	return f;
}

static int fill_file(struct dump *d, struct task *t, struct mm_shared *shared, const struct proc_map *m, VmaEntry *e)
{
	bool writes = m->shared && (m->flags & VMF_mw);
	struct mapped_file *f = mapped_file_of(d, shared, m, writes ? O_RDWR : O_RDONLY);
	unsigned refusals = log_refusals();
	char path[80], what[64];
	int err;

	if (!f)
		return -ENOMEM;
	e->status |= m->shared ? VMA_FILE_SHARED : VMA_FILE_PRIVATE;
	e->has_fdflags = true;
	e->fdflags = writes ? O_RDWR : O_RDONLY;
	if (!f->id && f->refused != t) {
		snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, t->pid, m->start, m->end);
		snprintf(what, sizeof(what), "mapping %" PRIx64 "-%" PRIx64, m->start, m->end);
		err = files_dump_path(d, t, path, e->fdflags, what, &f->id);
		if (err && log_refusals() == refusals)
			return err;
		f->refused = err ? t : NULL;
	}
	e->shmid = f->id;
	return 0;
}

static void note_shmem(struct dump *d, struct task *t, const struct proc_map *m)
{
	char path[80];

	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, t->pid, m->start, m->end);
	shmem_note_object(d, t, m->ino, path);
}

static char *anon_name(struct arena *a, const struct proc_map *m)
{
	const char *colon = starts_with(m->name, "[anon") ? strchr(m->name, ':') : NULL;
	size_t len = colon ? strlen(colon + 1) : 0;
	char *name = len ? arena_memdup(a, colon + 1, len) : NULL;

	if (name)
		name[len - 1] = 0; /* the closing bracket */
	return name;
}

static void fill_flags(const struct proc_map *m, VmaEntry *e)
{
	e->flags = m->flags & VMF_dp ? MAP_DROPPABLE : m->shared ? MAP_SHARED : MAP_PRIVATE;
	e->flags |= (m->flags & VMF_gd ? MAP_GROWSDOWN : 0) | (m->flags & VMF_nr ? MAP_NORESERVE : 0) |
	            (m->flags & VMF_lo ? MAP_LOCKED : 0);
	e->has_locked = m->flags & VMF_lo;
	e->locked = m->flags & VMF_lf ? VMA_LOCKED_ON_FAULT : VMA_LOCKED_ALL;
	/* What can be written counts anyway, and shared memory does with its object. */
	e->has_accounted = m->flags & VMF_ac && !m->shared && !(m->prot & PROT_WRITE);
	e->accounted = e->has_accounted;
	for (size_t i = 0; i < ARRAY_SIZE(advices); i++)
		if (m->flags & advices[i].flag)
			e->madv |= UINT64_C(1) << advices[i].advice;
	e->has_madv = e->madv != 0;
}

static VmaEntry *new_entry(struct dump *d, const struct proc_map *m)
{
	VmaEntry *e = arena_msg(d->arena, VmaEntry, vma_entry);

	e->start = m->start;
	e->end = m->end;
	e->pgoff = m->pgoff;
	e->prot = m->prot;
	e->status = VMA_REGULAR;
	e->fd = -1;
	e->anon_name = anon_name(d->arena, m);
	fill_flags(m, e);
	return e;
}

static int fill_vma(struct dump *d, struct task *t, struct mm_shared *shared, const struct proc_map *m, struct vma *v)
{
	VmaEntry *e = v->entry;

	v->anon_huge = m->anon_huge;
	if (is_shared_anon(shared, m)) {
		e->status |= VMA_ANON_SHARED;
		e->flags |= MAP_ANONYMOUS;
		e->shmid = m->ino;
		note_shmem(d, t, m);
		return 0;
	}
	if (m->ino || (*m->name && *m->name != '[')) {
		v->pages = m->shared ? VMA_PAGES_NONE : VMA_PAGES_COPIES;
		if (is_memfd(shared, m)) {
			e->status |= VMA_MEMFD;
			note_shmem(d, t, m);
		}
		return fill_file(d, t, shared, m, e);
	}
	e->pgoff = 0;
	e->flags |= MAP_ANONYMOUS;
	e->status |= VMA_ANON_PRIVATE;
	v->pages = m->flags & VMF_dp ? VMA_PAGES_NONE : VMA_PAGES_ANON;
	if (is_vdso(m)) {
		e->status |= VMA_VDSO;
		v->pages = VMA_PAGES_ALL;
	} else if (is_vvar(m)) {
		e->status |= VMA_VVAR;
		v->pages = VMA_PAGES_NONE;
	} else if (!strcmp(m->name, "[heap]")) {
		e->status |= VMA_HEAP;
	}
	return 0;
}

/* Names in brackets that we do not know are the kernel's own, and a task that is made anew gets them from there. */
static bool is_passed_over(struct mm_shared *shared, const struct task *t, const struct proc_map *m)
{
	static const char *const known[] = { "[vdso]", "[vvar", "[heap]", "[stack]", "[anon", "[uprobes]" };

	if (!strcmp(m->name, "[vsyscall]"))
		return true;
	if (m->ino || *m->name != '[')
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (starts_with(m->name, known[i]))
			return false;
	if (!shared->warned_special)
		log_warn("%s: mapping %" PRIx64 "-%" PRIx64 " %s is unknown and passed over", task_name(t), m->start,
		         m->end, m->name);
	shared->warned_special = true;
	return true;
}

static int collect_one(struct dump *d, struct task *t, const struct proc_map *m)
{
	struct mm_shared *shared = mm_shared_of(d);
	struct vma_list *list = t->dump->vmas;
	struct vma v = { 0 };
	const char *why;
	int err;

	if (is_passed_over(shared, t, m))
		return 0;
	why = why_not(shared, m);
	if (why) {
		refuse(t, m, why);
		return 0;
	}
	v.entry = new_entry(d, m);
	err = fill_vma(d, t, shared, m, &v);
	if (err)
		return err;
	arena_push(d->arena, &list->v, &list->n, v);
	arena_push(d->arena, &t->mm->vmas, &t->mm->n_vmas, v.entry);
	return 0;
}

int mm_collect(struct dump *d, struct task *t)
{
	struct proc_map *maps = NULL;
	size_t n = 0;
	int err;

	t->mm = arena_msg(d->arena, MmEntry, mm_entry);
	t->dump->vmas = arena_new_of(d->arena, struct vma_list);
	err = proc_read_maps(t->dump->proc_fd, "smaps", d->arena, &maps, &n);
	if (err)
		return log_errno(err, "%s: reading /proc/%d/smaps", task_name(t), t->pid);
	for (size_t i = 0; !err && i < n; i++) {
		if (!maps[i].has_flags)
			return log_errno(-EBADMSG, "%s: /proc/%d/smaps has no VmFlags", task_name(t), t->pid);
		err = collect_one(d, t, &maps[i]);
	}
	return err;
}
