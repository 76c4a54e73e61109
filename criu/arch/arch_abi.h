/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel reads and writes in a task's memory differs by the ABI of the call: sizes of pointers and of long,
 * and the members of some structs. These layouts stand in the architecture's folder and nowhere else. (Structs that are
 * the same for all ABIs are in include/uapi/, where libc's headers lack them.)
 */
#ifndef CRIU_ARCH_ABI_H
#define CRIU_ARCH_ABI_H

#include "abi_structs.h"

#endif
