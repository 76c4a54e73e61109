/* SPDX-License-Identifier: GPL-2.0-only */
/* The words of cpuinfo_x86_entry.capability (version 2): registers of CPUID, in the order that the format has. */
#ifndef CRIU_ARCH_X86_CPU_H
#define CRIU_ARCH_X86_CPU_H

#include "common.h"

enum cpu_word {
	CPU_1_EDX,
	CPU_80000001_EDX,
	CPU_80860001_EDX, /* Transmeta's; always 0 */
	CPU_LINUX,        /* what is no register of CPUID: bits of the kernel's */
	CPU_1_ECX,
	CPU_C0000001_EDX, /* VIA's */
	CPU_80000001_ECX,
	CPU_LINUX_2, /* always 0, as the next */
	CPU_LINUX_3,
	CPU_7_0_EBX,
	CPU_D_1_EAX,
	CPU_7_0_ECX,
	CPU_F_1_EDX,
	CPU_80000008_EBX,
	CPU_6_EAX,
	CPU_8000000A_EDX,
	CPU_F_0_EDX,
	CPU_80000007_EBX,
	CPU_7_0_EDX,
	CPU_WORDS,
	CPU_7_1_EAX = CPU_WORDS, /* a field of our own */
	CPU_WORDS_HERE,
};

#define CPU_VERSION 2U
#define CPU_WORDS_1 12U /* of version 1, which has the first ones */

/* The name of a feature as /proc/cpuinfo shows it; NULL: a bit without one. */
const char *cpu_feature_name(unsigned word, unsigned bit);

/* The bits of a word that stand for instructions that a program may use. */
uint32_t cpu_instructions(unsigned word);

#endif
