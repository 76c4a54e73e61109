/* SPDX-License-Identifier: GPL-2.0-only */
/* CLOCK_MONOTONIC in one number. */
#ifndef CRIU_LIB_CLOCK_H
#define CRIU_LIB_CLOCK_H

#include "common.h"

uint64_t clock_now_us(void);
int64_t clock_now_ms(void);

#endif
