/* SPDX-License-Identifier: GPL-2.0-only */
#include "mm/vdso.h"

#include <elf.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "agent/agent.h"
#include "agent/code.h"
#include "arch/arch_vdso.h"
#include "arch_page.h"
#include "helper/helper.h"
#include "lib/log.h"
#include "mm/vdso_redirect.h"

extern const struct vma_kind vdso_kind;

/* ---- dump ---- */

static bool is_code(const struct proc_map *m)
{
	return !strcmp(m->name, "[vdso]");
}

static bool vdso_match(struct dump *d, const struct proc_map *m)
{
	return is_code(m) || !strncmp(m->name, "[vvar", 5);
}

/*
 * What code the task runs at the moment says which program it is. A 64-bit program can run 32-bit code as well (Wine
 * does), and the other way round: its vdso tells.
 */
static int check_class(const struct task *t, const struct proc_map *m)
{
	uint8_t ident[EI_NIDENT] = { 0 };
	bool compat;
	int err;

	if (!is_code(m) || (m->start > UINT32_MAX && !t->compat))
		return 0;
	err = agent_read_task(t->pid, m->start, ident, sizeof(ident));
	if (err)
		return log_errno(err, "%s: reading its vdso", task_name(t));
	compat = ident[EI_CLASS] == ELFCLASS32;
	if (compat == t->compat)
		return 0;
	return log_refusal(-EOPNOTSUPP,
	                   "%s: is a %s-bit program that runs %s-bit code at the moment, which is not "
	                   "supported; try again",
	                   task_name(t), compat ? "32" : "64", t->compat ? "32" : "64");
}

static int vdso_dump(struct dump *d, struct task *t, const struct proc_map *m, struct vma *v)
{
	int err = check_class(t, m);

	if (err)
		return err;
	v->entry->pgoff = 0;
	v->entry->flags |= MAP_ANONYMOUS;
	v->entry->status |= VMA_ANON_PRIVATE | (is_code(m) ? VMA_VDSO : VMA_VVAR);
	v->pages = is_code(m) ? VMA_PAGES_ALL : VMA_PAGES_NONE;
	return 0;
}

/* ---- that of criu ---- */

#define MAX_PARTS 8

/* The mappings of a vdso, which follow one another. */
struct vdso_block {
	raddr_t start, vdso; /* of all, and of the code */
	uint64_t size, vdso_size;
	const uint8_t *code; /* its bytes, where this kernel maps it */
	size_t n;
	struct {
		uint64_t size;
		bool code;
	} part[MAX_PARTS];
};

static bool add_part(struct vdso_block *b, raddr_t start, raddr_t end, bool code)
{
	if (!b->n)
		b->start = start;
	if (b->n == MAX_PARTS || start != b->start + b->size)
		return false;
	b->part[b->n].size = end - start;
	b->part[b->n++].code = code;
	b->size = end - b->start;
	if (code) {
		b->vdso = start;
		b->vdso_size = end - start;
	}
	return true;
}

static int read_block(pid_t pid, struct vdso_block *b)
{
	_cleanup_fclose_ FILE *f = NULL;
	char line[4400];

	snprintf(line, sizeof(line), "/proc/%d/maps", pid);
	f = fopen(line, "re");
	if (!f)
		return log_errno(-errno, "fopen %s", line);
	while (fgets(line, sizeof(line), f)) {
		const char *name = strchr(line, '[');
		uint64_t start, end;
		bool code = name && !strncmp(name, "[vdso]", 6);

		if (!name || (!code && strncmp(name, "[vvar", 5)))
			continue;
		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) != 2 || !add_part(b, start, end, code))
			return log_errno(-EBADMSG, "/proc/%d/maps: criu's own vdso is in pieces: %s", pid, line);
	}
	return 0;
}

/* That of 32-bit programs is in none of criu's processes: a helper gives up its own for it, and shows it. */
static int map_compat(void *arg)
{
	const struct vdso_block *native = arg;
	struct arch_vdso_call call;

	arch_vdso_map(native->start, true, &call);
	if (syscall(SYS_munmap, native->start, native->size) || syscall(call.nr, call.arg[0], call.arg[1]) < 0)
		return 1;
	kill(getpid(), SIGSTOP);
	return 0;
}

static int read_compat_block(struct arena *a, const struct vdso_block *native, struct vdso_block *b)
{
	struct vdso_block arg = *native;
	pid_t pid = helper_start(&(struct helper_spec) { 0 }, map_compat, &arg);
	uint8_t *code;
	int status, err;

	if (pid < 0)
		return log_errno(pid, "starting a helper for the vdso of 32-bit programs");
	if (waitpid(pid, &status, WUNTRACED | __WALL) != pid || !WIFSTOPPED(status)) {
		helper_kill(pid);
		return log_errno(-ENOSYS, "arch_prctl(ARCH_MAP_VDSO_32): this kernel has no vdso for 32-bit programs");
	}
	err = read_block(pid, b);
	code = err ? NULL : arena_alloc(a, b->vdso_size);
	b->code = code;
	if (!err)
		err = agent_read_task(pid, b->vdso, code, b->vdso_size);
	helper_kill(pid);
	return err ? log_errno(err, "reading the vdso of 32-bit programs") : 0;
}

struct vdso_restore {
	bool known, compat_known;
	struct vdso_block block, compat;
};

static int own_block(struct restore *r, bool compat, const struct vdso_block **bp)
{
	struct vdso_restore *own = restore_state(r, &vdso_kind);
	int err = own->known ? 0 : read_block(getpid(), &own->block);

	own->known |= !err;
	own->block.code = (const uint8_t *)(uintptr_t)own->block.vdso;
	if (!err && compat && !own->compat_known) {
		err = read_compat_block(r->arena, &own->block, &own->compat);
		own->compat_known = !err;
	}
	*bp = compat ? &own->compat : &own->block;
	return err;
}

/* After vdso_check(). */
static const struct vdso_block *own_block_of(const struct restore *r, bool compat)
{
	struct vdso_restore *own = restore_state(r, &vdso_kind);

	return compat ? &own->compat : &own->block;
}

/* ---- that of the image ---- */

static int read_image_block(const struct task *t, struct vdso_block *b)
{
	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];

		if (!(v->status & (VMA_VDSO | VMA_VVAR)))
			continue;
		if (!add_part(b, v->start, v->end, v->status & VMA_VDSO))
			return log_refusal(-EOPNOTSUPP,
			                   "%s: mm-%d.img: the vdso is in pieces (at %" PRIx64
			                   "): such a layout is not supported",
			                   task_name(t), t->vpid.v, v->start);
	}
	return 0;
}

static bool same_layout(const struct vdso_block *a, const struct vdso_block *b)
{
	bool same = a->n == b->n;

	for (size_t i = 0; same && i < a->n; i++)
		same = a->part[i].size == b->part[i].size && a->part[i].code == b->part[i].code;
	return same;
}

/* Reads what is stored of the vdso into m->old_vdso. *all: every page of it is. */
static int read_stored(struct restore *r, const struct vdso_block *b, struct task_mm *m, bool *same, bool *all,
                       const uint8_t *ours)
{
	uint64_t pages = 0;
	int err;

	m->old_vdso = arena_alloc(r->arena, b->vdso_size);
	for (size_t i = 0; i < m->pages->n_runs; i++) {
		const struct page_run *run = &m->pages->runs[i];
		uint64_t off = run->at - b->vdso, len = run->n * PAGE_SIZE;

		if (run->at < b->vdso || run->at >= b->vdso + b->vdso_size)
			continue;
		err = pages_read_run(m->pages, run, m->old_vdso + off);
		if (err)
			return err;
		*same &= ours && !memcmp(m->old_vdso + off, ours + off, len);
		pages += run->n;
	}
	*all = pages * PAGE_SIZE == b->vdso_size;
	return 0;
}

int vdso_check(struct restore *r, const struct task *t, struct task_mm *m)
{
	struct vdso_block b = { 0 };
	const struct vdso_block *own;
	bool same, all = false;
	int err = own_block(r, t->compat, &own);

	if (!err)
		err = read_image_block(t, &b);
	if (err || !b.vdso_size)
		return err;
	m->vdso_start = b.start;
	m->vdso_size = b.size;
	m->vdso_code = b.vdso;
	m->vdso_code_size = b.vdso_size;
	same = same_layout(&b, own);
	err = read_stored(r, &b, m, &same, &all, same ? own->code : NULL);
	if (err)
		return err;
	m->vdso_foreign = !same;
	if (!same && (!all || !own->vdso_size))
		return log_refusal(
		    -EOPNOTSUPP,
		    "%s: the vdso (in mm-%d.img and pagemap-%d.img) is another kernel's, and %s: restore on a "
		    "kernel of the same build",
		    task_name(t), t->vpid.v, t->vpid.v,
		    all ? "this one has none" : "its pages are not in the checkpoint");
	if (!same && t->compat)
		return log_refusal(-EOPNOTSUPP,
		                   "%s: the vdso of this 32-bit program (in mm-%d.img and pagemap-%d.img) is another "
		                   "kernel's: restore "
		                   "on a kernel of the same build",
		                   task_name(t), t->vpid.v, t->vpid.v);
	return 0;
}

uint64_t vdso_hole_size(struct restore *r, const struct task_mm *m)
{
	return m->vdso_foreign ? own_block_of(r, false)->size : 0;
}

/* ARCH_MAP_VDSO_64 takes the address as a hint: only the bytes there show whether it was followed. */
static int check_mapped(const struct task *t, raddr_t at, const struct vdso_block *own)
{
	_cleanup_free_ uint8_t *now = malloc(own->vdso_size);
	raddr_t code = at + (own->vdso - own->start);
	int err = now ? agent_read_task(t->pid, code, now, own->vdso_size) : -ENOMEM;

	if (!err && memcmp(now, own->code, own->vdso_size))
		err = -EEXIST;
	return err ? log_errno(err, "%s: the kernel did not put its vdso at %" PRIx64, task_name(t), code) : 0;
}

int vdso_map(struct restore *r, struct task *t, struct task_mm *m, raddr_t hole)
{
	struct batch *b = agent_batch(t->restore->agent, "mapping its vdso");
	raddr_t at = m->vdso_foreign ? hole : m->vdso_start;
	struct arch_vdso_call call;
	int err;

	if (!m->vdso_start)
		return 0;
	arch_vdso_map(at, t->compat, &call);
	batch_call(b, call.nr, call.arg[0], call.arg[1]);
	err = batch_run(b);
	if (!err)
		err = check_mapped(t, at, own_block_of(r, t->compat));
	if (err || !m->vdso_foreign)
		return err;
	log_info("%s: the vdso is another kernel's: calls go on to this one's, at %" PRIx64, task_name(t), at);
	m->new_vdso = at;
	m->new_vdso_size = own_block_of(r, t->compat)->size;
	return 0;
}

int vdso_fill(struct restore *r, struct task *t, const struct task_mm *m)
{
	const struct vdso_block *own = own_block_of(r, t->compat);
	int n = vdso_redirect(m->old_vdso, m->vdso_code_size, own->code, own->vdso_size,
	                      m->new_vdso + (own->vdso - own->start));
	int err = n < 0 ? n : agent_write_task(t->pid, m->vdso_code, m->old_vdso, m->vdso_code_size);

	return err ? log_errno(err, "%s: redirecting its vdso", task_name(t)) : 0;
}

/* The place of another kernel's vdso becomes memory, for vdso_fill(). */
static int vdso_map_memory(struct batch *b, struct task_mm *m, struct segment *s)
{
	s->prot = (int)s->vma->prot | PROT_WRITE;
	batch_call(b, SYS_mmap, s->start, s->end - s->start, (uint64_t)s->prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
	           UINT64_MAX, 0);
	return 0;
}

const struct vma_kind vdso_kind = {
	.name = "vdso",
	.state = { .restore = sizeof(struct vdso_restore) },
	.status = VMA_VDSO | VMA_VVAR,
	.kernels = true,
	.match = vdso_match,
	.dump = vdso_dump,
	.map = vdso_map_memory,
};
