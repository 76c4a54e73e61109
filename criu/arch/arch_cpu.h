/* SPDX-License-Identifier: GPL-2.0-only */
/* What a processor can do: cpuinfo.img, and whether this one has what an image asks for. */
#ifndef CRIU_ARCH_CPU_H
#define CRIU_ARCH_CPU_H

#include "common.h"
#include "cpuinfo.pb-c.h"
#include "lib/arena.h"

/* What is compared; the numbers are those of --cpu-cap in the service protocol. */
enum cpu_cap {
	CPU_CAP_NONE = 0,
	CPU_CAP_FPU = 1, /* register state: its components, and the size of what XSAVE writes */
	CPU_CAP_CPU = 2, /* all capabilities are the same */
	CPU_CAP_INS = 4, /* instructions that programs may use */
	CPU_CAP_ALL = CPU_CAP_FPU | CPU_CAP_CPU | CPU_CAP_INS,
	CPU_CAP_DEFAULT = CPU_CAP_FPU | CPU_CAP_INS,
};

/* This processor, from the arena. */
CpuinfoEntry *arch_cpu_read(struct arena *a);

/*
 * Compares the processor of an image with one that runs (arch_cpu_read()): every difference that caps (CPU_CAP_*) do
 * not allow is a refusal that names the features. 0 or the first negative errno.
 */
int arch_cpu_check(const CpuinfoEntry *image, const CpuinfoEntry *here, unsigned caps);

/*
 * CPUID that gives a thread a SIGSEGV: the call with which a thread asks (1: it may use CPUID, 0: it may not), and the
 * one that sets it. False: there is no such thing here.
 */
struct arch_call;
bool arch_cpuid_ask(struct arch_call *call);
bool arch_cpuid_set(bool allowed, struct arch_call *call);

#endif
