/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Protection keys, pkeys(7): which are allocated, given back, and given back while a mapping has one still; what each
 * thread may do with them; a child that has others; memory that can only be executed, for which the kernel takes one.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "zdtm.h"

#define SIZE 8192

static int keys[4];
static char *memory[4], *code;
static sigjmp_buf back;
static volatile int why, which;
static pthread_barrier_t barrier;

static void on_segv(int sig, siginfo_t *info, void *context)
{
	why = info->si_code;
	which = (int)info->si_pkey;
	siglongjmp(back, 1);
}

/* SEGV_PKUERR: the key forbids it; 0: it is allowed. (What longjmp leaves has the rights that a handler begins with.)
 */
static int tried(char *at, bool write)
{
	unsigned rights[16];

	for (int key = 1; key < 16; key++)
		rights[key] = (unsigned)pkey_get(key);
	why = 0;
	if (!sigsetjmp(back, 1)) {
		if (write)
			*(volatile char *)at = 'w';
		else
			(void)*(volatile char *)at;
	}
	for (int key = 1; key < 16; key++)
		pkey_set(key, rights[key]);
	return why;
}

/* The key of the mapping at an address, as smaps shows it. */
static int key_at(const void *at)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long start, end;
	bool here = false;
	char line[512];
	int key = -1;

	zdtm_must(f != NULL);
	while (key < 0 && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start <= (unsigned long)at && (unsigned long)at < end;
		if (here)
			sscanf(line, "ProtectionKey: %d", &key);
	}
	fclose(f);
	return key;
}

static void check_rights(const char *who, const unsigned *rights)
{
	for (int i = 0; i < 3; i++) {
		unsigned now = (unsigned)pkey_get(keys[i]);

		zdtm_check(now == rights[i], "%s: key %d: rights %u, were %u", who, keys[i], now, rights[i]);
	}
	zdtm_check(!(rights[0] & PKEY_DISABLE_WRITE) || (tried(memory[0], true) == SEGV_PKUERR && which == keys[0]),
	           "%s: a write by key %d: code %d, key %d", who, keys[0], why, which);
	zdtm_check(tried(memory[0], false) == (rights[0] & PKEY_DISABLE_ACCESS ? SEGV_PKUERR : 0), "%s: a read", who);
}

static void *thread_main(void *arg)
{
	static const unsigned rights[] = { PKEY_DISABLE_ACCESS, 0, PKEY_DISABLE_WRITE };

	for (int i = 0; i < 3; i++)
		pkey_set(keys[i], rights[i]);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	check_rights("the thread", rights);
	return NULL;
}

/* It has given one back, and the mapping has none. */
static void child_main(void)
{
	zdtm_must(!pkey_mprotect(memory[0], SIZE, PROT_READ | PROT_WRITE, 0) && !pkey_free(keys[0]));
	zdtm_wait();
	zdtm_check(key_at(memory[0]) == 0 && key_at(memory[1]) == keys[1], "keys of the child's mappings");
	zdtm_check(!tried(memory[0], true), "a write of the child's");
	zdtm_check(pkey_alloc(0, 0) == keys[0], "the key that the child has given back");
	_exit(0);
}

int main(void)
{
	unsigned rights[] = { PKEY_DISABLE_WRITE, PKEY_DISABLE_ACCESS, 0 };
	struct sigaction sa = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };
	pthread_t thread;
	int status;
	pid_t child;

	for (int i = 0; i < 4; i++) {
		keys[i] = pkey_alloc(0, i < 3 ? rights[i] : 0);
		if (keys[i] < 0)
			zdtm_skip("no protection keys here: pkey_alloc: %s", strerror(errno));
		memory[i] = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		zdtm_must(memory[i] != MAP_FAILED);
		memory[i][0] = 'x';
		zdtm_must(!pkey_mprotect(memory[i], SIZE, PROT_READ | PROT_WRITE, keys[i]));
	}
	zdtm_must(!pkey_mprotect(memory[2], SIZE, PROT_READ, 0) && !pkey_free(keys[2])); /* a gap */
	zdtm_must(!pkey_free(keys[3]));                                                  /* still in use */
	code = mmap(NULL, 4096, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	zdtm_must(code != MAP_FAILED && key_at(code) == keys[2]); /* the lowest that is free, which may not be read */
	rights[2] = (unsigned)pkey_get(keys[2]);
	zdtm_must(rights[2] & PKEY_DISABLE_ACCESS);
	zdtm_must(!sigaction(SIGSEGV, &sa, NULL) && !pthread_barrier_init(&barrier, NULL, 2));
	child = fork();
	if (!child)
		child_main();
	zdtm_must(child > 0 && !pthread_create(&thread, NULL, thread_main, NULL));
	pthread_barrier_wait(&barrier);

	zdtm_ready();
	zdtm_wait();
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	check_rights("the first thread", rights);
	zdtm_check(key_at(memory[0]) == keys[0] && key_at(memory[1]) == keys[1], "keys of mappings");
	zdtm_check(key_at(memory[2]) == 0 && key_at(memory[3]) == keys[3], "keys that were given back");
	zdtm_check(key_at(code) > 0 && tried(code, false) == SEGV_PKUERR, "what can only be executed: %d", why);
	zdtm_check(!pkey_mprotect(memory[2], SIZE, PROT_READ, keys[0]), "pkey_mprotect: %s", strerror(errno));
	zdtm_check(pkey_mprotect(memory[2], SIZE, PROT_READ, keys[3]) && errno == EINVAL, "a key that was given back");
	zdtm_check(waitpid(child, &status, 0) == child && !status, "the child: %x", status);
	zdtm_pass();
}
