/* SPDX-License-Identifier: GPL-2.0-only */
/* The layout of the extended state, as CPUID tells it (Intel SDM 1, chapter 13). */
#include <cpuid.h>
#include <pthread.h>

#include "xstate.h"

#define CPUID_XSTATE       0xdU
#define CPUID_1_OSXSAVE    (1U << 27)
#define MXCSR_MASK_DEFAULT 0xffbfU

struct xstate_layout {
	uint64_t features;
	size_t size;
	uint32_t mxcsr_mask;
	struct {
		uint32_t offset, size;
	} component[XSTATE_COMPONENTS];
};

static uint64_t read_xcr0(void)
{
	uint32_t lo, hi;

	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (uint64_t)hi << 32 | lo;
}

static uint32_t read_mxcsr_mask(void)
{
	struct fxsave fx __attribute__((aligned(16))) = { 0 };

	__builtin_ia32_fxsave64(&fx);
	return fx.mxcsr_mask ? fx.mxcsr_mask : MXCSR_MASK_DEFAULT;
}

static void read_layout(struct xstate_layout *l)
{
	uint32_t a, b, c, d;

	l->mxcsr_mask = read_mxcsr_mask();
	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & CPUID_1_OSXSAVE))
		return;
	__cpuid_count(CPUID_XSTATE, 0, a, b, c, d);
	if (b < XSTATE_MIN || b > XSTATE_MAX)
		return;
	l->size = b;
	l->features = read_xcr0();
	for (unsigned n = XSTATE_YMM; n < XSTATE_COMPONENTS; n++) {
		if (!(l->features & XSTATE_BIT(n)))
			continue;
		__cpuid_count(CPUID_XSTATE, n, a, b, c, d);
		if (b < XSTATE_MIN || (uint64_t)a + b > l->size)
			continue;
		l->component[n].size = a;
		l->component[n].offset = b;
	}
}

/* lint: global: the processor does not change, and in a virtual machine each CPUID takes 7 us. */
static struct xstate_layout cached;
/* lint: global: the same. */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill_cache(void)
{
	read_layout(&cached);
}

static const struct xstate_layout *get_layout(void)
{
	pthread_once(&once, fill_cache);
	return &cached;
}

uint64_t xstate_features(void)
{
	return get_layout()->features;
}

size_t xstate_size(void)
{
	return get_layout()->size;
}

uint32_t xstate_mxcsr_mask(void)
{
	return get_layout()->mxcsr_mask;
}

bool xstate_component(unsigned n, size_t *offset, size_t *size)
{
	const struct xstate_layout *l = get_layout();

	if (n >= XSTATE_COMPONENTS || !l->component[n].size)
		return false;
	*offset = l->component[n].offset;
	*size = l->component[n].size;
	return true;
}

size_t xstate_used(uint64_t bv)
{
	size_t used = XSTATE_MIN, offset, size;

	for (unsigned n = XSTATE_YMM; n < XSTATE_COMPONENTS; n++)
		if ((bv & XSTATE_BIT(n)) && xstate_component(n, &offset, &size))
			used = MAX(used, offset + size);
	return used;
}

const char *xstate_name(unsigned n)
{
	static const char *const names[] = {
		[XSTATE_X87] = "x87",
		[XSTATE_SSE] = "SSE",
		[XSTATE_YMM] = "AVX",
		[XSTATE_BNDREGS] = "MPX bounds",
		[XSTATE_BNDCSR] = "MPX configuration",
		[XSTATE_OPMASK] = "AVX-512 opmask",
		[XSTATE_ZMM_HI256] = "AVX-512 upper halves of ZMM0 to 15",
		[XSTATE_HI16_ZMM] = "AVX-512 ZMM16 to 31",
		[XSTATE_PKRU] = "PKRU (memory protection keys)",
		[XSTATE_TILECFG] = "AMX tile configuration",
		[XSTATE_TILEDATA] = "AMX tile data",
		[19] = "APX registers R16 to 31",
	};

	return n < ARRAY_SIZE(names) && names[n] ? names[n] : "a component of the future";
}
