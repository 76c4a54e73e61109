/* SPDX-License-Identifier: GPL-2.0-only */
/* Newer than some libcs: the shadow stack's register set (linux/elf.h, Linux 6.6), permissions for large register state
 * (asm/prctl.h, Linux 5.16). */
#ifndef CRIU_UAPI_X86_REGSET_H
#define CRIU_UAPI_X86_REGSET_H

#ifndef NT_X86_SHSTK
#define NT_X86_SHSTK 0x204
#endif
#ifndef ARCH_GET_XCOMP_PERM
#define ARCH_GET_XCOMP_PERM 0x1022
#define ARCH_REQ_XCOMP_PERM 0x1023
#endif

#ifndef ARCH_GET_UNTAG_MASK
#define ARCH_GET_UNTAG_MASK 0x4001 /* Linux 6.4 */
#endif

#endif
