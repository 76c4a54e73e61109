/* SPDX-License-Identifier: GPL-2.0-only */
/* This processor, as CPUID tells it (Intel SDM 2A, AMD APM 3), in the words of cpuinfo.img. */
#include <cpuid.h>
#include <asm/prctl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/arch.h"
#include "arch/arch_cpu.h"
#include "cpu.h"
#include "xstate.h"

#define LINUX_REP_GOOD (1U << 16) /* linux/arch/x86/include/asm/cpufeatures.h, word 3 */
#define LINUX_NOPL     (1U << 20)
#define LINUX_CPUID    (1U << 25)
#define AMD_3DNOW_OLD  (1U << 31) /* of leaf 1; the one of leaf 0x80000001 counts */

#define VIA_LEAVES     0xc0000000U
#define EXTENDED       0x80000000U

struct leaf {
	uint32_t a, b, c, d;
};

/* A leaf that the processor has; else zeros, where some processors would answer with another one. */
static struct leaf read_leaf(uint32_t number, uint32_t sub)
{
	struct leaf l = { 0 };
	uint32_t range = number & 0xffff0000U, a, b, c, d;

	__cpuid(range, a, b, c, d);
	if (a < number || (a & 0xffff0000U) != range)
		return l;
	__cpuid_count(number, sub, l.a, l.b, l.c, l.d);
	return l;
}

static void read_identity(struct arena *a, CpuinfoX86Entry *e)
{
	struct leaf l = read_leaf(0, 0), one = read_leaf(1, 0);
	uint32_t vendor[3] = { l.b, l.d, l.c }, brand[12] = { 0 };

	e->vendor_id = CPUINFO_X86_ENTRY__VENDOR__UNKNOWN;
	if (!memcmp(vendor, "GenuineIntel", 12))
		e->vendor_id = CPUINFO_X86_ENTRY__VENDOR__INTEL;
	else if (!memcmp(vendor, "AuthenticAMD", 12))
		e->vendor_id = CPUINFO_X86_ENTRY__VENDOR__AMD;
	e->cpu_family = one.a >> 8 & 0xf;
	e->model = one.a >> 4 & 0xf;
	e->stepping = one.a & 0xf;
	if (e->cpu_family == 0xf)
		e->cpu_family += one.a >> 20 & 0xff;
	if (e->cpu_family >= 6)
		e->model |= (one.a >> 16 & 0xf) << 4;
	for (uint32_t i = 0; i < 3; i++) {
		l = read_leaf(EXTENDED + 2 + i, 0);
		memcpy(brand + 4UL * i, &l, sizeof(l));
	}
	e->model_id = arena_printf(a, "%.48s", (const char *)brand);
}

/* The bits that CRIU adds, by vendor and family: what the kernel concludes from them. */
static uint32_t linux_word(const CpuinfoX86Entry *e)
{
	uint32_t word = LINUX_NOPL | LINUX_CPUID;

	if ((e->vendor_id == CPUINFO_X86_ENTRY__VENDOR__INTEL && e->cpu_family == 6) ||
	    (e->vendor_id == CPUINFO_X86_ENTRY__VENDOR__AMD && e->cpu_family >= 0x10))
		word |= LINUX_REP_GOOD;
	return word;
}

static void read_words(CpuinfoX86Entry *e, uint32_t word[CPU_WORDS_HERE])
{
	struct leaf one = read_leaf(1, 0), ext = read_leaf(EXTENDED + 1, 0), seven = read_leaf(7, 0);

	word[CPU_1_EDX] = one.d;
	if (e->vendor_id == CPUINFO_X86_ENTRY__VENDOR__AMD)
		word[CPU_1_EDX] &= ~AMD_3DNOW_OLD;
	word[CPU_1_ECX] = one.c;
	word[CPU_80000001_EDX] = ext.d;
	word[CPU_80000001_ECX] = ext.c;
	word[CPU_LINUX] = linux_word(e);
	word[CPU_C0000001_EDX] = read_leaf(VIA_LEAVES + 1, 0).d;
	word[CPU_7_0_EBX] = seven.b;
	word[CPU_7_0_ECX] = seven.c;
	word[CPU_7_0_EDX] = seven.d;
	word[CPU_7_1_EAX] = seven.a ? read_leaf(7, 1).a : 0;
	word[CPU_D_1_EAX] = read_leaf(0xd, 1).a;
	word[CPU_F_0_EDX] = read_leaf(0xf, 0).d;
	word[CPU_F_1_EDX] = read_leaf(0xf, 1).d;
	word[CPU_6_EAX] = read_leaf(6, 0).a;
	word[CPU_80000007_EBX] = read_leaf(EXTENDED + 7, 0).b;
	word[CPU_80000008_EBX] = read_leaf(EXTENDED + 8, 0).b;
	word[CPU_8000000A_EDX] = read_leaf(EXTENDED + 0xa, 0).d;
}

/* The components that CRIU knows; that of SSE, which every x86-64 processor has, it leaves out. */
#define IMAGE_COMPONENTS                                                                                               \
	(XSTATE_BIT(XSTATE_X87) | XSTATE_BIT(XSTATE_YMM) | XSTATE_BIT(XSTATE_BNDREGS) | XSTATE_BIT(XSTATE_BNDCSR) |    \
	 XSTATE_BIT(XSTATE_OPMASK) | XSTATE_BIT(XSTATE_ZMM_HI256) | XSTATE_BIT(XSTATE_HI16_ZMM) |                      \
	 XSTATE_BIT(XSTATE_PKRU))

CpuinfoEntry *arch_cpu_read(struct arena *a)
{
	CpuinfoEntry *all = arena_msg(a, CpuinfoEntry, cpuinfo_entry);
	CpuinfoX86Entry *e = arena_msg(a, CpuinfoX86Entry, cpuinfo_x86_entry);
	uint32_t *word = arena_array(a, uint32_t, CPU_WORDS_HERE);

	all->n_x86_entry = 1;
	all->x86_entry = arena_array(a, CpuinfoX86Entry *, 1);
	all->x86_entry[0] = e;
	read_identity(a, e);
	read_words(e, word);
	e->capability_ver = CPU_VERSION;
	e->n_capability = CPU_WORDS;
	e->capability = word;
	e->has_capability_7_1_eax = true;
	e->capability_7_1_eax = word[CPU_7_1_EAX];
	e->has_xfeatures_mask = e->has_xsave_size = e->has_xsave_size_max = true;
	e->xfeatures_mask = xstate_features() & IMAGE_COMPONENTS;
	e->xsave_size = (uint32_t)xstate_size();
	e->xsave_size_max = read_leaf(0xd, 0).c;
	return all;
}

/* ---- CPUID that traps ---- */

bool arch_cpuid_ask(struct arch_call *call)
{
	*call = (struct arch_call) { .nr = SYS_arch_prctl, .arg = { ARCH_GET_CPUID } };
	return true;
}

/* ENODEV where the processor cannot; what criu itself may do does not change. */
bool arch_cpuid_set(bool allowed, struct arch_call *call)
{
	long now = syscall(SYS_arch_prctl, ARCH_GET_CPUID);

	*call = (struct arch_call) { .nr = SYS_arch_prctl, .arg = { ARCH_SET_CPUID, allowed } };
	return now >= 0 && !syscall(SYS_arch_prctl, ARCH_SET_CPUID, now);
}
