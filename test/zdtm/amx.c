/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * AMX: tile data in one thread, that no other has and that an image of the classic fields cannot hold; and the
 * permission to use it, which a process asked for and has not used yet.
 * zdtm: restores 2
 */
#include <pthread.h>

#include "zdtm.h"

#define ARCH_REQ_XCOMP_PERM 0x1023
#define XTILEDATA           18

static uint8_t data[2048], out[2048];
static volatile int up;
static int word;

static const struct {
	uint8_t palette, start, reserved[14];
	uint16_t colsb[16];
	uint8_t rows[16];
} config = { .palette = 1, .colsb = { 64, 0, 0, 0, 0, 64 }, .rows = { 16, 0, 0, 0, 0, 8 } };

/* Loads two tiles, waits in a loop without calls, stores them. */
static void tiles(volatile int *wait_for)
{
	asm volatile("ldtilecfg %[config]\n\ttileloadd (%[in],%[stride]), %%tmm0\n\t"
	             "tileloadd 64(%[in],%[stride]), %%tmm5\n\tmovl $1, %[up]\n"
	             "1:\tpause\n\tcmpl $0, %[wait]\n\tje 1b\n\t"
	             "tilestored %%tmm0, (%[out],%[stride])\n\ttilerelease\n"
	             : [up] "=m"(up)
	             : [config] "m"(config), [in] "r"(data), [out] "r"(out), [stride] "r"(64L), [wait] "m"(*wait_for)
	             : "memory");
}

static void *thread(void *arg)
{
	tiles(&word);
	return NULL;
}

int main(void)
{
	pthread_t t;
	pid_t pid;
	int status;

	if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA))
		zdtm_skip("no AMX here");
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = i * 11 + i / 256;
	zdtm_must((pid = fork()) >= 0);
	if (!pid) {
		zdtm_wait();
		word = 1;
		tiles(&word); /* its first use: killed by SIGILL without the permission */
		_exit(memcmp(data, out, 1024) != 0);
	}
	zdtm_must(!pthread_create(&t, NULL, thread, NULL));
	while (!up)
		zdtm_nap();
	zdtm_ready();
	zdtm_wait();
	word = 1;
	pthread_join(t, NULL);
	zdtm_check(!memcmp(data, out, 1024), "a tile has other contents");
	zdtm_check(waitpid(pid, &status, 0) == pid && !status, "the one that has not used it: status %x", status);
	zdtm_pass();
}
