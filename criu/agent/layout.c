/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>

#include "agent/code.h"
#include "agent/layout.h"
#include "arch_page.h"
#include "lib/log.h"

#define LOWEST (64UL << 10)

struct line {
	raddr_t start, end;
	char perms[5];
	unsigned long long pgoff, ino;
	unsigned major, minor;
	const char *name;
};

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
	struct code_cache **cache;
	uint64_t size;
	raddr_t free_from;
	struct layout *l;
};

/* One line of /proc/PID/maps, see proc_pid_maps(5). False for what does not look like one. */
static bool parse_layout_line(char *text, struct line *m)
{
	unsigned long long start, end;
	int name = 0;

	if (sscanf(text, "%llx-%llx %4s %llx %x:%x %llu %n", &start, &end, m->perms, &m->pgoff, &m->major, &m->minor,
	           &m->ino, &name) < 7 ||
	    end <= start)
		return false;
	m->start = start;
	m->end = end;
	m->name = text + name;
	text[strcspn(text, "\n")] = '\0';
	return true;
}

static void find_area_hole(struct search *s, const struct line *m)
{
	/* A page is left free on both sides: a stack below which there is a mapping cannot grow (stack_guard_gap). */
	raddr_t from = s->free_from + PAGE_SIZE;

	if (!s->l->hole && m->start > from && m->start - from >= s->size + PAGE_SIZE)
		s->l->hole = from;
	s->free_from = m->end;
}

static void find_sigreturn_code(struct search *s, const struct line *m)
{
	struct code_cache *c;
	uint64_t len = m->end - m->start;

	for (c = *s->cache; c; c = c->next)
		if (c->ino == m->ino && c->major == m->major && c->minor == m->minor)
			break;
	if (!c) {
		raddr_t at = code_find_sigreturn(s->pid, m->start, len);

		s->l->sigreturn = at;
		c = arena_new_of(s->arena, struct code_cache);
		*c = (struct code_cache) { *s->cache, m->major, m->minor, m->ino, at ? at - m->start + m->pgoff : 0 };
		*s->cache = c;
	} else if (c->off >= m->pgoff && c->off - m->pgoff < len) {
		/* The task may have written over its copy: look again, at this place only. */
		s->l->sigreturn =
		    code_find_sigreturn(s->pid, m->start + (c->off - m->pgoff), MIN(32, len - (c->off - m->pgoff)));
	}
}

static void take_line(struct search *s, const struct line *m)
{
	bool code = m->perms[0] == 'r' && m->perms[2] == 'x';

	find_area_hole(s, m);
	if (!strcmp(m->name, "[stack]")) {
		s->l->stack_start = m->start;
		s->l->stack_end = m->end;
	} else if (!strcmp(m->name, "[vdso]")) {
		raddr_t at = code_find_syscall(s->pid, m->start, m->end - m->start);

		s->l->syscall_ip = at ?: s->l->syscall_ip;
	} else if (code && m->ino && !s->l->sigreturn) {
		/* Of files only: to read what a program made itself, and shares by fork, would undo the sharing. */
		find_sigreturn_code(s, m);
	}
}

/* No vDSO: any system call instruction will do. */
static void find_other_syscall(struct search *s, FILE *f)
{
	_cleanup_free_ char *text = NULL;
	size_t room = 0;
	struct line m;

	rewind(f);
	while (!s->l->syscall_ip && getline(&text, &room, f) > 0)
		if (parse_layout_line(text, &m) && m.perms[0] == 'r' && m.perms[2] == 'x' && m.name[0] != '[')
			s->l->syscall_ip = code_find_syscall(s->pid, m.start, m.end - m.start);
}

int layout_read(struct arena *a, pid_t pid, const char *who, uint64_t size, struct code_cache **cache, struct layout *l)
{
	struct search s = { a, pid, cache, size, LOWEST - PAGE_SIZE, l };
	_cleanup_free_ char *text = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	char path[32];
	size_t room = 0;
	struct line m;

	memset(l, 0, sizeof(*l));
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	if (!f)
		return log_errno(-errno, "%s: open of %s", who, path);
	while (getline(&text, &room, f) > 0)
		if (parse_layout_line(text, &m))
			take_line(&s, &m);
	if (!l->syscall_ip)
		find_other_syscall(&s, f);
	if (!l->hole)
		return log_errno(-ENOMEM, "%s: no hole of %llu bytes between its mappings", who,
		                 (unsigned long long)size);
	return 0;
}

bool layout_has_area(pid_t pid, raddr_t at)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	char path[32];
	size_t room = 0;
	struct line m;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	while (f && getline(&text, &room, f) > 0)
		if (parse_layout_line(text, &m) && m.start == at)
			return m.perms[3] == 's' && !strncmp(m.name, "/dev/zero", 9);
	return false;
}
