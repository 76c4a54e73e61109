/* SPDX-License-Identifier: GPL-2.0-only */
/* How images name this architecture. */
#ifndef CRIU_ARCH_CORE_H
#define CRIU_ARCH_CORE_H

#include "core.pb-c.h"

#define ARCH_CORE_MTYPE CORE_ENTRY__MARCH__X86_64

#endif
