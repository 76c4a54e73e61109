/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files that a dump must not look at by the memory of a mapping: one in tmpfs with nothing in it yet, which a touch
 * would give room, and an ELF file that ends in the middle of its build id, behind whose end memory has something else.
 */
#include <elf.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "zdtm.h"

#define SIZE (1UL << 20)

static void make_cut(void)
{
	struct {
		Elf64_Ehdr eh;
		Elf64_Phdr ph;
		char pad[8];
		Elf64_Nhdr nh;
		char name[4];
		unsigned char id[20];
	} f = { 0 };
	int fd = open("cut", O_RDWR | O_CREAT | O_TRUNC, 0600);
	unsigned char *p;

	memcpy(f.eh.e_ident, ELFMAG, SELFMAG);
	f.eh.e_ident[EI_CLASS] = ELFCLASS64;
	f.eh.e_phoff = sizeof(f.eh);
	f.eh.e_phentsize = sizeof(f.ph);
	f.eh.e_phnum = 1;
	f.ph = (Elf64_Phdr) { .p_type = PT_NOTE, .p_offset = 128, .p_filesz = 36 };
	f.nh = (Elf64_Nhdr) { 4, 20, 3 };
	memcpy(f.name, "GNU", 4);
	zdtm_must(fd >= 0 && write(fd, &f, 150) == 150);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	zdtm_must(p != MAP_FAILED && !close(fd));
	memset(p + 150, 0xab, 14);
}

int main(void)
{
	char name[64], *shared, *private;
	struct stat st;
	int fd;

	make_cut();
	snprintf(name, sizeof(name), "/dev/shm/zdtm.map_odd_files.%d", getpid());
	fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	zdtm_must(fd >= 0 && !ftruncate(fd, SIZE));
	shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	private = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, 0);
	zdtm_must(shared != MAP_FAILED && private != MAP_FAILED);
	zdtm_ready();
	zdtm_wait();
	zdtm_must(!fstat(fd, &st) && !unlink(name));
	zdtm_check(!st.st_blocks, "the file has %ld blocks now", (long)st.st_blocks);
	shared[5] = 7;
	zdtm_check(private[5] == 7, "the mappings are of two files");
	zdtm_pass();
}
