/* SPDX-License-Identifier: GPL-2.0-only */
/* The functions behind the rows of probe/probe.h: each tries one feature, 0 or a negative errno. Used by probe/probe.c.
 */
#ifndef CRIU_PROBE_PROBE_FNS_H
#define CRIU_PROBE_PROBE_FNS_H

#include "probe/probe.h"

#define FEATURE_FN(id, ...) int probe_##id(void);
FEATURES(FEATURE_FN)
#undef FEATURE_FN

#endif
