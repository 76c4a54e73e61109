/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>
#include <sys/mman.h>

#include "agent/code.h"
#include "agent/layout.h"
#include "arch_page.h"
#include "lib/log.h"
#include "proc/proc.h"

#define LOWEST     (64UL << 10)

/* So often mappings are read in which lines contradict each other. */
#define READ_TRIES 5

/* Where sigreturn code is in a file: found once for each C library. */
struct code_cache {
	struct code_cache *next;
	unsigned major, minor;
	unsigned long long ino;
	uint64_t off; /* of the code in the file; 0: the file has no such code */
};

struct search {
	struct arena *arena;
	pid_t pid;
	bool compat;
	struct code_cache **cache;
	uint64_t size;
	raddr_t free_from;
	struct layout *l;
};

static void find_area_hole(struct search *s, const struct proc_map *m)
{
	/* A page is left free on both sides: a stack below which there is a mapping cannot grow (stack_guard_gap). */
	raddr_t from = s->free_from + PAGE_SIZE;

	if (!s->l->hole && m->start > from && m->start - from >= s->size + PAGE_SIZE)
		s->l->hole = from;
	s->free_from = m->end;
}

static void find_sigreturn_code(struct search *s, const struct proc_map *m)
{
	struct code_cache *c;
	uint64_t len = m->end - m->start;

	for (c = *s->cache; c; c = c->next)
		if (c->ino == m->ino && c->major == m->major && c->minor == m->minor)
			break;
	if (!c) {
		raddr_t at = code_find_sigreturn(s->pid, false, m->start, len);

		s->l->sigreturn = at;
		c = arena_new_of(s->arena, struct code_cache);
		*c = (struct code_cache) { *s->cache, m->major, m->minor, m->ino, at ? at - m->start + m->pgoff : 0 };
		*s->cache = c;
	} else if (c->off >= m->pgoff && c->off - m->pgoff < len) {
		/* The task may have written over its copy: look again, at this place only. */
		s->l->sigreturn = code_find_sigreturn(s->pid, false, m->start + (c->off - m->pgoff),
		                                      MIN(32, len - (c->off - m->pgoff)));
	}
}

static bool is_code(const struct proc_map *m)
{
	return (m->prot & (PROT_READ | PROT_EXEC)) == (PROT_READ | PROT_EXEC);
}

static void take_map(struct search *s, const struct proc_map *m)
{
	find_area_hole(s, m);
	if (!strcmp(m->name, "[stack]")) {
		s->l->stack_start = m->start;
		s->l->stack_end = m->end;
	} else if (!strcmp(m->name, "[vdso]")) {
		raddr_t at = code_find_syscall(s->pid, s->compat, m->start, m->end - m->start);

		s->l->syscall_ip = at ?: s->l->syscall_ip;
		if (s->compat)
			s->l->sigreturn = code_find_sigreturn(s->pid, true, m->start, m->end - m->start);
	}
}

/* Mostly the code is there, and other libraries are large. */
static bool is_c_library(const struct proc_map *m)
{
	const char *slash = strrchr(m->name, '/'), *base = slash ? slash + 1 : m->name;

	return !strncmp(base, "libc.", 5) || !strncmp(base, "libc-", 5) || !strncmp(base, "ld-musl", 7);
}

/* In files only: to read what a program made itself, and shares by fork, would undo the sharing. */
static void find_sigreturn_in(struct search *s, const struct task_maps *maps, bool c_library)
{
	for (size_t i = 0; !s->l->sigreturn && i < maps->n; i++)
		if (is_code(&maps->v[i]) && maps->v[i].ino && is_c_library(&maps->v[i]) == c_library)
			find_sigreturn_code(s, &maps->v[i]);
}

/* No vDSO: any system call instruction will do. */
static void find_other_syscall(struct search *s, const struct task_maps *maps)
{
	for (size_t i = 0; !s->l->syscall_ip && i < maps->n; i++) {
		const struct proc_map *m = &maps->v[i];

		if (is_code(m) && m->name[0] != '[')
			s->l->syscall_ip = code_find_syscall(s->pid, s->compat, m->start, m->end - m->start);
	}
}

/* Another process that lives in the same memory may change it while it is read (-EBADMSG). */
int layout_read_maps(struct arena *a, pid_t pid, struct task_maps *maps)
{
	_cleanup_close_ int fd = proc_open(pid);
	int err = fd < 0 ? fd : -EBADMSG;

	for (int tries = 0; err == -EBADMSG && tries < READ_TRIES; tries++) {
		*maps = (struct task_maps) {};
		err = proc_read_maps(fd, "maps", a, &maps->v, &maps->n);
	}
	return err;
}

int layout_find(struct arena *a, pid_t pid, bool compat, const struct task_maps *maps, const char *who, uint64_t size,
                struct code_cache **cache, struct layout *l)
{
	struct search s = { a, pid, compat, cache, size, LOWEST - PAGE_SIZE, l };

	memset(l, 0, sizeof(*l));
	for (size_t i = 0; i < maps->n; i++)
		take_map(&s, &maps->v[i]);
	if (!compat)
		find_sigreturn_in(&s, maps, true);
	if (!compat)
		find_sigreturn_in(&s, maps, false);
	if (!l->syscall_ip)
		find_other_syscall(&s, maps);
	if (!l->hole)
		return log_errno(-ENOMEM, "%s: no hole of %llu bytes between its mappings", who,
		                 (unsigned long long)size);
	return 0;
}

bool layout_has_area(const struct task_maps *maps, raddr_t at)
{
	for (size_t i = 0; i < maps->n; i++)
		if (maps->v[i].start == at)
			return maps->v[i].shared && !strncmp(maps->v[i].name, "/dev/zero", 9);
	return false;
}
