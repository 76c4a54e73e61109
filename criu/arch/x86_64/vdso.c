/* SPDX-License-Identifier: GPL-2.0-only */
/* The vdso: mapping it, and code that takes the place of its functions. */
#include <asm/prctl.h>
#include <string.h>
#include <sys/syscall.h>

#include "arch/arch_vdso.h"

/* linux/arch/x86/include/asm/page_64.h: TASK_SIZE, without five-level tables' more; IA32_PAGE_OFFSET. */
raddr_t arch_task_size(bool compat)
{
	return compat ? 0xffffe000 : 0x7ffffffff000;
}

void arch_vdso_map(raddr_t at, bool compat, struct arch_vdso_call *call)
{
	*call = (struct arch_vdso_call) { SYS_arch_prctl, { compat ? ARCH_MAP_VDSO_32 : ARCH_MAP_VDSO_64, at } };
}

size_t arch_vdso_jump(raddr_t to, uint8_t buf[VDSO_JUMP_MAX])
{
	static const uint8_t movabs_rax[] = { 0x48, 0xb8 }, jmp_rax[] = { 0xff, 0xe0 };

	memcpy(buf, movabs_rax, 2);
	memcpy(buf + 2, &to, 8);
	memcpy(buf + 10, jmp_rax, 2);
	return 12;
}

size_t arch_vdso_syscall(const char *name, uint8_t buf[VDSO_JUMP_MAX])
{
	static const struct {
		const char *name;
		uint32_t nr;
	} calls[] = {
		{ "clock_gettime", SYS_clock_gettime },
		{ "clock_getres", SYS_clock_getres },
		{ "gettimeofday", SYS_gettimeofday },
		{ "time", SYS_time },
		{ "getcpu", SYS_getcpu },
	};
	/* vgetrandom: -ENOSYS makes the C library call the kernel. */
	static const uint8_t enosys[] = { 0x48, 0xc7, 0xc0, 0xda, 0xff, 0xff, 0xff, 0xc3 };

	if (!strncmp(name, "__vdso_", 7))
		name += 7;
	if (!strcmp(name, "getrandom")) {
		memcpy(buf, enosys, sizeof(enosys));
		return sizeof(enosys);
	}
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		if (strcmp(name, calls[i].name))
			continue;
		buf[0] = 0xb8; /* mov $nr, %eax; syscall; ret */
		memcpy(buf + 1, &calls[i].nr, 4);
		memcpy(buf + 5, (const uint8_t[]) { 0x0f, 0x05, 0xc3 }, 3);
		return 8;
	}
	return 0;
}
