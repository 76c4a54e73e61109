/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The extended state of a thread in XSAVE's standard format, as NT_X86_XSTATE and signal frames have it: 512 bytes of
 * FXSAVE, a header of 64, then the components at offsets that the processor tells (Intel SDM 1, chapter 13).
 */
#ifndef CRIU_ARCH_XSTATE_H
#define CRIU_ARCH_XSTATE_H

#include "common.h"

#define XSTATE_FXSAVE     512U
#define XSTATE_HEADER     64U
#define XSTATE_MIN        (XSTATE_FXSAVE + XSTATE_HEADER)
/* Our limit for a whole state: AMX needs 11008 bytes. */
#define XSTATE_MAX        32768U
#define XSTATE_COMPONENTS 63

enum {
	XSTATE_X87 = 0,
	XSTATE_SSE = 1,
	XSTATE_YMM = 2,
	XSTATE_BNDREGS = 3,
	XSTATE_BNDCSR = 4,
	XSTATE_OPMASK = 5,
	XSTATE_ZMM_HI256 = 6,
	XSTATE_HI16_ZMM = 7,
	XSTATE_PKRU = 9,
	XSTATE_TILECFG = 17,
	XSTATE_TILEDATA = 18,
};

#define XSTATE_BIT(n) (1ULL << (n))

/* FXSAVE, as in struct user_fpregs_struct. */
struct fxsave {
	uint16_t cwd, swd, twd, fop;
	uint64_t rip, rdp;
	uint32_t mxcsr, mxcsr_mask;
	uint32_t st[32];
	uint32_t xmm[64];
	uint32_t padding[12];
	uint32_t sw[12]; /* the kernel's, struct _fpx_sw_bytes */
};

struct xstate_header {
	uint64_t bv, comp_bv, reserved[6];
};

static inline struct fxsave *xstate_fxsave(void *state)
{
	return state;
}

static inline struct xstate_header *xstate_header(void *state)
{
	return (struct xstate_header *)((char *)state + XSTATE_FXSAVE);
}

/* XCR0: the components that the kernel has switched on; 0 where the processor has no XSAVE. */
uint64_t xstate_features(void);

/* Bytes of a state with all of them; what PTRACE_SETREGSET wants, no more and no less. */
size_t xstate_size(void);

/* Where a component lies; false where it is not one of xstate_features() or is part of FXSAVE. */
bool xstate_component(unsigned n, size_t *offset, size_t *size);

/* Bytes up to the end of the last component that is in use (bv). */
size_t xstate_used(uint64_t bv);

/* Bits of MXCSR that this processor takes. */
uint32_t xstate_mxcsr_mask(void);

/* "AVX-512 opmask" for messages. */
const char *xstate_name(unsigned n);

#endif
