/* SPDX-License-Identifier: GPL-2.0-only */
/* The versions that --version prints: the level of CRIU that callers can expect, and our own. */
#ifndef CRIU_LIB_VERSION_H
#define CRIU_LIB_VERSION_H

#define CRIU_LEVEL   "4.2"
#define TOOL_VERSION "0.1.0"

#endif
