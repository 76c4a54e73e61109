/* SPDX-License-Identifier: GPL-2.0-only */
#include "mm/vdso_redirect.h"

#include <elf.h>
#include <string.h>

#include "agent/code.h"
#include "arch/arch_vdso.h"

#define MAX_SYMBOLS 1024

/* The dynamic symbols of a vdso, which is loaded as it lies in the file. */
struct symbols {
	const uint8_t *image;
	size_t size;
	const Elf64_Sym *syms;
	size_t n_syms;
	const char *names;
	size_t names_size;
};

static const void *image_at(const struct symbols *s, uint64_t off, uint64_t size, size_t align)
{
	return off <= s->size && size <= s->size - off && off % align == 0 ? s->image + off : NULL;
}

static const Elf64_Dyn *find_dynamic(const struct symbols *s, size_t *n)
{
	const Elf64_Ehdr *eh = image_at(s, 0, sizeof(*eh), 8);
	const Elf64_Phdr *ph;

	if (!eh || memcmp(eh->e_ident, ELFMAG, SELFMAG) || eh->e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh->e_phentsize != sizeof(*ph))
		return NULL;
	ph = image_at(s, eh->e_phoff, eh->e_phnum * sizeof(*ph), 8);
	for (size_t i = 0; ph && i < eh->e_phnum; i++) {
		if (ph[i].p_type != PT_DYNAMIC)
			continue;
		*n = ph[i].p_filesz / sizeof(Elf64_Dyn);
		return image_at(s, ph[i].p_offset, ph[i].p_filesz, 8);
	}
	return NULL;
}

/* A string table has to end within the image. */
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
	table = hash ? image_at(s, hash, 8, 4) : NULL;
	s->n_syms = table ? table[1] : strtab > symtab ? (strtab - symtab) / sizeof(Elf64_Sym) : 0;
	s->n_syms = MIN(s->n_syms, MAX_SYMBOLS);
	s->syms = image_at(s, symtab, s->n_syms * sizeof(Elf64_Sym), 8);
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
