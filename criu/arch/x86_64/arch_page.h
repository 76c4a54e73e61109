/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sizes of pages, in bytes: the base page, and the huge page that one entry of the second lowest page table maps; and
 * what a byte of code is where a breakpoint was set.
 */
#ifndef CRIU_ARCH_PAGE_H
#define CRIU_ARCH_PAGE_H

#undef PAGE_SIZE /* sys/user.h has one too */
#define PAGE_SIZE       4096UL
#define HUGE_SIZE       (2UL << 20)

#define BREAKPOINT_BYTE 0xcc

#endif
