/* SPDX-License-Identifier: GPL-2.0-only */
#include "mm/vdso.h"

#include <elf.h>
#include <inttypes.h>
#include <string.h>
#include <sys/auxv.h>

#include "agent/batch.h"
#include "agent/code.h"
#include "arch/arch_vdso.h"
#include "arch_page.h"
#include "lib/log.h"
#include "proc/proc.h"

#define MAX_SYMBOLS 1024

/* ---- the dynamic symbols of a vdso, which is loaded as it lies in the file ---- */

struct symbols {
	const uint8_t *image;
	size_t size;
	const Elf64_Sym *syms;
	size_t n_syms;
	const char *names;
	size_t names_size;
};

static const void *at_offset(const struct symbols *s, uint64_t off, uint64_t size, size_t align)
{
	return off <= s->size && size <= s->size - off && off % align == 0 ? s->image + off : NULL;
}

static const Elf64_Dyn *find_dynamic(const struct symbols *s, size_t *n)
{
	const Elf64_Ehdr *eh = at_offset(s, 0, sizeof(*eh), 8);
	const Elf64_Phdr *ph;

	if (!eh || memcmp(eh->e_ident, ELFMAG, SELFMAG) || eh->e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh->e_phentsize != sizeof(*ph))
		return NULL;
	ph = at_offset(s, eh->e_phoff, eh->e_phnum * sizeof(*ph), 8);
	for (size_t i = 0; ph && i < eh->e_phnum; i++) {
		if (ph[i].p_type != PT_DYNAMIC)
			continue;
		*n = ph[i].p_filesz / sizeof(Elf64_Dyn);
		return at_offset(s, ph[i].p_offset, ph[i].p_filesz, 8);
	}
	return NULL;
}

/* A string table without an end within the image is none. */
static bool read_symbols(const uint8_t *image, size_t size, struct symbols *s)
{
	uint64_t symtab = 0, strtab = 0, strsz = 0, hash = 0;
	const Elf64_Dyn *dyn;
	const uint32_t *table;
	size_t n = 0;

	*s = (struct symbols) { .image = image, .size = size };
	dyn = find_dynamic(s, &n);
	for (size_t i = 0; dyn && i < n && dyn[i].d_tag != DT_NULL; i++) {
		uint64_t v = dyn[i].d_un.d_val;

		switch (dyn[i].d_tag) {
		case DT_SYMTAB:
			symtab = v;
			break;
		case DT_STRTAB:
			strtab = v;
			break;
		case DT_STRSZ:
			strsz = v;
			break;
		case DT_HASH:
			hash = v;
			break;
		}
	}
	if (!symtab || !strtab || !strsz)
		return false;
	/* A hash table says how many symbols there are; without one, the linker puts the names behind them. */
	table = hash ? at_offset(s, hash, 8, 4) : NULL;
	s->n_syms = table ? table[1] : strtab > symtab ? (strtab - symtab) / sizeof(Elf64_Sym) : 0;
	s->n_syms = MIN(s->n_syms, MAX_SYMBOLS);
	s->syms = at_offset(s, symtab, s->n_syms * sizeof(Elf64_Sym), 8);
	if (strtab > size || strsz > size - strtab || image[strtab + strsz - 1])
		return false;
	s->names = (const char *)image + strtab;
	s->names_size = strsz;
	return s->syms && s->n_syms;
}

static const char *function_name(const struct symbols *s, size_t i)
{
	const Elf64_Sym *sym = &s->syms[i];
	unsigned type = ELF64_ST_TYPE(sym->st_info);

	if ((type != STT_FUNC && type != STT_NOTYPE) || sym->st_shndx == SHN_UNDEF || sym->st_shndx >= SHN_LORESERVE ||
	    !sym->st_value || sym->st_value >= s->size || sym->st_name >= s->names_size)
		return NULL;
	return s->names + sym->st_name;
}

static uint64_t find_function(const struct symbols *s, const char *name)
{
	for (size_t i = 0; i < s->n_syms; i++) {
		const char *n = function_name(s, i);

		if (n && !strcmp(n, name))
			return s->syms[i].st_value;
	}
	return 0;
}

/* Whether another function begins where the jump would lie. */
static bool is_crowded(const struct symbols *s, uint64_t at, size_t len)
{
	for (size_t i = 0; i < s->n_syms; i++)
		if (function_name(s, i) && s->syms[i].st_value > at && s->syms[i].st_value < at + len)
			return true;
	return at + len > s->size;
}

int vdso_redirect(uint8_t *old, size_t old_size, const uint8_t *new, size_t new_size, raddr_t new_at)
{
	struct symbols from, to;
	int n = 0;

	if (!read_symbols(old, old_size, &from) || !read_symbols(new, new_size, &to))
		return -EBADMSG;
	for (size_t i = 0; i < from.n_syms; i++) {
		uint8_t code[VDSO_JUMP_MAX];
		const char *name = function_name(&from, i);
		uint64_t target = name ? find_function(&to, name) : 0, at = from.syms[i].st_value;
		size_t len;

		if (!name)
			continue;
		len = target ? arch_vdso_jump(new_at + target, code) : arch_vdso_syscall(name, code);
		if (!len)
			continue;
		if (is_crowded(&from, at, len))
			return -EOPNOTSUPP;
		memcpy(old + at, code, len);
		n++;
	}
	return n;
}

/* ---- ours ---- */

#define MAX_PARTS 8

/* The mappings of a vdso, which follow one another. */
struct vdso_block {
	raddr_t start, vdso; /* of all, and of the code */
	uint64_t size, vdso_size;
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

static int read_own(struct vdso_block *b)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/maps", "re");
	char line[4400];

	if (!f)
		return log_errno(-errno, "/proc/self/maps");
	while (fgets(line, sizeof(line), f)) {
		const char *name = strchr(line, '[');
		uint64_t start, end;
		bool code = name && !strncmp(name, "[vdso]", 6);

		if (!name || (!code && strncmp(name, "[vvar", 5)))
			continue;
		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) != 2 || !add_part(b, start, end, code))
			return log_errno(-EBADMSG, "/proc/self/maps: our own vdso is in pieces: %s", line);
	}
	return 0;
}

static int own_block(struct restore *r, const struct vdso_block **bp)
{
	struct mm_restore *mm = mm_of(r);
	int err = 0;

	if (!mm->own_vdso) {
		mm->own_vdso = arena_new_of(r->arena, struct vdso_block);
		err = read_own(mm->own_vdso);
	}
	*bp = mm->own_vdso;
	return err;
}

static const uint8_t *own_code(const struct vdso_block *own)
{
	return (const uint8_t *)(uintptr_t)own->vdso;
}

/* ---- the image's ---- */

static int read_image_block(const struct task *t, struct vdso_block *b)
{
	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];

		if (!(v->status & (VMA_VDSO | VMA_VVAR)))
			continue;
		if (!add_part(b, v->start, v->end, v->status & VMA_VDSO))
			return log_refusal(-EOPNOTSUPP,
			                   "%s: mm-%d.img: its vdso is in pieces (at %" PRIx64
			                   "): such a layout is not "
			                   "supported",
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
		err = pages_read_run(r, m->pages, run, m->old_vdso + off);
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
	int err = own_block(r, &own);

	if (!err)
		err = read_image_block(t, &b);
	if (err || !b.vdso_size)
		return err;
	m->vdso_start = b.start;
	m->vdso_size = b.size;
	m->vdso_code = b.vdso;
	m->vdso_code_size = b.vdso_size;
	same = same_layout(&b, own);
	err = read_stored(r, &b, m, &same, &all, same ? own_code(own) : NULL);
	if (err)
		return err;
	m->vdso_foreign = !same;
	if (!same && (!all || !own->vdso_size))
		return log_refusal(-EOPNOTSUPP,
		                   "%s: its vdso is another kernel's, and %s: restore on a kernel of the same build",
		                   task_name(t), all ? "this one has none" : "its pages are not in the checkpoint");
	return 0;
}

uint64_t vdso_hole_size(struct restore *r, const struct task_mm *m)
{
	return m->vdso_foreign ? mm_of(r)->own_vdso->size : 0;
}

/* ARCH_MAP_VDSO_64 takes the address as a hint: only what lies there tells. */
static int look(const struct task *t, raddr_t at, const struct vdso_block *own)
{
	_cleanup_free_ uint8_t *now = malloc(own->vdso_size);
	raddr_t code = at + (own->vdso - own->start);
	int err = now ? agent_read_task(t->pid, code, now, own->vdso_size) : -ENOMEM;

	if (!err && memcmp(now, own_code(own), own->vdso_size))
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
	arch_vdso_map(at, &call);
	batch_call(b, call.nr, call.arg[0], call.arg[1]);
	err = batch_run(b);
	if (!err)
		err = look(t, at, mm_of(r)->own_vdso);
	if (err || !m->vdso_foreign)
		return err;
	log_info("%s: its vdso is another kernel's: calls go on to this one's, at %" PRIx64, task_name(t), at);
	m->new_vdso = at;
	m->new_vdso_size = mm_of(r)->own_vdso->size;
	return 0;
}

int vdso_fill(struct restore *r, struct task *t, const struct task_mm *m)
{
	const struct vdso_block *own = mm_of(r)->own_vdso;
	int n = vdso_redirect(m->old_vdso, m->vdso_code_size, own_code(own), own->vdso_size,
	                      m->new_vdso + (own->vdso - own->start));
	int err = n < 0 ? n : agent_write_task(t->pid, m->vdso_code, m->old_vdso, m->vdso_code_size);

	return err ? log_errno(err, "%s: redirecting its vdso", task_name(t)) : 0;
}
