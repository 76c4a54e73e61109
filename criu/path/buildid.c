/* SPDX-License-Identifier: GPL-2.0-only */
#include <elf.h>
#include <string.h>

#include "path/buildid.h"

#define MAX_PHDRS 64
#define MAX_NOTES 4096

/* What both classes of ELF say about a program header. */
struct segment {
	uint32_t type;
	uint64_t offset, size;
};

static size_t read_segments64(const uint8_t *head, int fd, struct segment *out)
{
	Elf64_Phdr ph[MAX_PHDRS];
	Elf64_Ehdr eh;
	size_t n;

	memcpy(&eh, head, sizeof(eh));
	n = MIN(eh.e_phnum, MAX_PHDRS);
	if (eh.e_phentsize != sizeof(*ph) ||
	    pread(fd, ph, n * sizeof(*ph), (off_t)eh.e_phoff) != (ssize_t)(n * sizeof(*ph)))
		return 0;
	for (size_t i = 0; i < n; i++)
		out[i] = (struct segment) { ph[i].p_type, ph[i].p_offset, ph[i].p_filesz };
	return n;
}

static size_t read_segments32(const uint8_t *head, int fd, struct segment *out)
{
	Elf32_Phdr ph[MAX_PHDRS];
	Elf32_Ehdr eh;
	size_t n;

	memcpy(&eh, head, sizeof(eh));
	n = MIN(eh.e_phnum, MAX_PHDRS);
	if (eh.e_phentsize != sizeof(*ph) ||
	    pread(fd, ph, n * sizeof(*ph), (off_t)eh.e_phoff) != (ssize_t)(n * sizeof(*ph)))
		return 0;
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
	uint8_t head[sizeof(Elf64_Ehdr)] = { 0 }, notes[MAX_NOTES];
	size_t n = 0, found = 0;

	if (pread(fd, head, sizeof(head), 0) < (ssize_t)sizeof(Elf32_Ehdr) || memcmp(head, ELFMAG, SELFMAG))
		return 0;
	if (head[EI_CLASS] == ELFCLASS64)
		n = read_segments64(head, fd, segs);
	else if (head[EI_CLASS] == ELFCLASS32)
		n = read_segments32(head, fd, segs);
	for (size_t i = 0; i < n && !found; i++) {
		size_t size = MIN(segs[i].size, MAX_NOTES);

		if (segs[i].type == PT_NOTE && pread(fd, notes, size, (off_t)segs[i].offset) == (ssize_t)size)
			found = find_note(notes, size, words);
	}
	return found;
}
