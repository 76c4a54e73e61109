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

/* Headers and notes mostly stand at the start of the file, so that is read at once. */
struct elf_file {
	int fd;
	pid_t pid; /* if not 0: it is read in the memory of this process */
	uint64_t mapped, len;
	bool missing; /* something could not be read there */
	size_t n_start;
	union {
		uint8_t start[4096];
		uint8_t ident[EI_NIDENT];
		Elf32_Ehdr eh32;
		Elf64_Ehdr eh64;
	};
};

static bool read_mapped(struct elf_file *f, void *to, uint64_t offset, size_t len)
{
	struct iovec there = { .iov_base = (void *)(uintptr_t)(f->mapped + offset), .iov_len = len };

	if (offset > f->len || len > f->len - offset || io_read_process(f->pid, to, &there, 1))
		f->missing = true;
	return !f->missing;
}

static bool read_part(struct elf_file *f, void *to, uint64_t offset, size_t len)
{
	if (offset <= f->n_start && len <= f->n_start - offset) {
		memcpy(to, f->start + offset, len);
		return true;
	}
	if (f->pid)
		return read_mapped(f, to, offset, len);
	return io_pread_all(f->fd, to, len, (off_t)offset) == (ssize_t)len;
}

static size_t read_segments64(struct elf_file *f, struct segment *out)
{
	const Elf64_Ehdr *eh = &f->eh64;
	Elf64_Phdr ph[MAX_PHDRS];
	size_t n = eh->e_phentsize == sizeof(*ph) ? MIN(eh->e_phnum, MAX_PHDRS) : 0;

	n = read_part(f, ph, eh->e_phoff, n * sizeof(*ph)) ? n : 0;
	for (size_t i = 0; i < n; i++)
		out[i] = (struct segment) { ph[i].p_type, ph[i].p_offset, ph[i].p_filesz };
	return n;
}

static size_t read_segments32(struct elf_file *f, struct segment *out)
{
	const Elf32_Ehdr *eh = &f->eh32;
	Elf32_Phdr ph[MAX_PHDRS];
	size_t n = eh->e_phentsize == sizeof(*ph) ? MIN(eh->e_phnum, MAX_PHDRS) : 0;

	n = read_part(f, ph, eh->e_phoff, n * sizeof(*ph)) ? n : 0;
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

/* Its first n bytes are in f->start. */
static size_t find_in_elf(struct elf_file *f, size_t n, uint32_t words[BUILDID_WORDS])
{
	struct segment segs[MAX_PHDRS];
	uint8_t notes[MAX_NOTES];
	size_t n_segs = 0, found = 0;

	if (n < sizeof(f->eh32) || memcmp(f->ident, ELFMAG, SELFMAG))
		return 0;
	f->n_start = n;
	if (f->ident[EI_CLASS] == ELFCLASS64)
		n_segs = read_segments64(f, segs);
	else if (f->ident[EI_CLASS] == ELFCLASS32)
		n_segs = read_segments32(f, segs);
	for (size_t i = 0; i < n_segs && !found; i++) {
		size_t size = MIN(segs[i].size, MAX_NOTES);

		if (segs[i].type == PT_NOTE && read_part(f, notes, segs[i].offset, size))
			found = find_note(notes, size, words);
	}
	return found;
}

size_t buildid_of_elf(int fd, uint32_t words[BUILDID_WORDS])
{
	struct elf_file f = { .fd = fd };
	ssize_t n = io_pread_all(fd, f.start, sizeof(f.start), 0);

	return n < 0 ? 0 : find_in_elf(&f, (size_t)n, words);
}

int buildid_in_memory(pid_t pid, uint64_t start, uint64_t end, uint32_t words[BUILDID_WORDS])
{
	struct elf_file f = { .fd = -1, .pid = pid, .mapped = start, .len = end - start };
	size_t n = MIN(sizeof(f.start), f.len), found;

	found = read_mapped(&f, f.start, 0, n) ? find_in_elf(&f, n, words) : 0;
	return f.missing ? -EFAULT : (int)found;
}
