/* SPDX-License-Identifier: GPL-2.0-only */
#include <elf.h>
#include <string.h>

#include "lib/io.h"
#include "path/buildid.h"

#define MAX_PHDRS 64
#define MAX_NOTES 4096

/* What is needed of a program header, of either class of ELF. */
struct segment {
	uint32_t type;
	uint64_t offset, size;
};

/* Reads the n program headers of `size` bytes each that stand at `offset`. Returns how many: n or 0. */
static size_t read_headers(int fd, void *to, uint64_t offset, size_t n, size_t size)
{
	return io_pread_all(fd, to, n * size, (off_t)offset) == (ssize_t)(n * size) ? n : 0;
}

static size_t read_segments64(const Elf64_Ehdr *eh, int fd, struct segment *out)
{
	Elf64_Phdr ph[MAX_PHDRS];
	size_t n = eh->e_phentsize == sizeof(*ph) ? MIN(eh->e_phnum, MAX_PHDRS) : 0;

	n = read_headers(fd, ph, eh->e_phoff, n, sizeof(*ph));
	for (size_t i = 0; i < n; i++)
		out[i] = (struct segment) { ph[i].p_type, ph[i].p_offset, ph[i].p_filesz };
	return n;
}

static size_t read_segments32(const Elf32_Ehdr *eh, int fd, struct segment *out)
{
	Elf32_Phdr ph[MAX_PHDRS];
	size_t n = eh->e_phentsize == sizeof(*ph) ? MIN(eh->e_phnum, MAX_PHDRS) : 0;

	n = read_headers(fd, ph, eh->e_phoff, n, sizeof(*ph));
	for (size_t i = 0; i < n; i++)
		out[i] = (struct segment) { ph[i].p_type, ph[i].p_offset, ph[i].p_filesz };
	return n;
}

/* Notes: name size, descriptor size, type, then both, each padded to 4. The same layout in both classes. */
static size_t find_note(const uint8_t *notes, size_t size, uint32_t words[BUILDID_WORDS])
{
	size_t at = 0;

	while (at + sizeof(Elf64_Nhdr) <= size) {
		Elf64_Nhdr nh;
		uint64_t name, desc, end;

		memcpy(&nh, notes + at, sizeof(nh));
		name = at + sizeof(nh);
		desc = name + round_up(nh.n_namesz, 4);
		end = desc + nh.n_descsz;
		if (end > size)
			return 0;
		if (nh.n_type == NT_GNU_BUILD_ID && nh.n_namesz == 4 && !memcmp(notes + name, "GNU", 4)) {
			size_t n = MIN(nh.n_descsz, BUILDID_WORDS * sizeof(*words));

			memset(words, 0, BUILDID_WORDS * sizeof(*words));
			memcpy(words, notes + desc, n);
			return round_up(n, sizeof(*words)) / sizeof(*words);
		}
		at = desc + round_up(nh.n_descsz, 4);
	}
	return 0;
}

size_t buildid_of_elf(int fd, uint32_t words[BUILDID_WORDS])
{
	struct segment segs[MAX_PHDRS];
	union {
		uint8_t ident[EI_NIDENT];
		Elf32_Ehdr eh32;
		Elf64_Ehdr eh64;
	} head = { 0 };
	uint8_t notes[MAX_NOTES];
	size_t n = 0, found = 0;

	if (io_pread_all(fd, &head, sizeof(head), 0) < (ssize_t)sizeof(Elf32_Ehdr) ||
	    memcmp(head.ident, ELFMAG, SELFMAG))
		return 0;
	if (head.ident[EI_CLASS] == ELFCLASS64)
		n = read_segments64(&head.eh64, fd, segs);
	else if (head.ident[EI_CLASS] == ELFCLASS32)
		n = read_segments32(&head.eh32, fd, segs);
	for (size_t i = 0; i < n && !found; i++) {
		size_t size = MIN(segs[i].size, MAX_NOTES);

		if (segs[i].type == PT_NOTE && io_pread_all(fd, notes, size, (off_t)segs[i].offset) == (ssize_t)size)
			found = find_note(notes, size, words);
	}
	return found;
}
