/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The hardest small tree: a parent with 8 copy-on-write children, a task that shares its memory (CLONE_VM), threads
 * and a zombie. What the children share with the parent is counted in page frames, before and after.
 *
 * zdtm: mode snapshot
 * zdtm: flavour ns
 * zdtm: restores 2
 * zdtm: victim points random
 * zdtm: needs-root
 */
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include "zdtm.h"

#define KIDS      8
#define PAGES     512
#define PAGE      4096

/* What an entry of pagemap holds. */
#define FRAME     ((1ULL << 55) - 1)
#define ONLY_HERE (1ULL << 56)

struct shared {
	int ready, go, sum;
	int pids[KIDS];
};

static struct shared *sh;
static unsigned char *mem;
static volatile int vm_word = 1;
static char vm_stack[65536] __attribute__((aligned(16)));

static uint64_t page_entry(pid_t pid, void *addr)
{
	char path[64];
	uint64_t e = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || pread(fd, &e, 8, (uintptr_t)addr / PAGE * 8) != 8)
		e = 0;
	close(fd);
	return e & (1ULL << 63) ? e : 0;
}

static int shared_pages(pid_t kid)
{
	int n = 0;

	for (int i = 0; i < PAGES; i++) {
		uint64_t ours = page_entry(getpid(), mem + i * PAGE), theirs = page_entry(kid, mem + i * PAGE);

		/* In a user namespace frame numbers are hidden; whether a page is in one place only is not. */
		if (ours & FRAME)
			n += (ours & FRAME) == (theirs & FRAME);
		else
			n += theirs && !(theirs & ONLY_HERE);
	}
	return n;
}

/*
 * Page i of child k: its own where i % 16 == k, the parent's elsewhere. No page is all zeros: such a page is not
 * restored but read anew, and some kernels have a page of its own in each process then (anon_beside_full).
 */
static unsigned char expect(int k, int i)
{
	return i % 16 == k ? 200 + k : i % 199 + 1;
}

static int right(int k)
{
	for (int i = 0; i < PAGES; i++)
		if (mem[i * PAGE] != expect(k, i) || mem[i * PAGE + 4095] != expect(k, i))
			return 0;
	return 1;
}

static void child(int k)
{
	int go = 0;

	for (int i = k; i < PAGES; i += 16)
		memset(mem + i * PAGE, expect(k, i), PAGE);
	__atomic_add_fetch(&sh->ready, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		while (__atomic_load_n(&sh->go, __ATOMIC_SEQ_CST) == go)
			zdtm_nap();
		go = __atomic_load_n(&sh->go, __ATOMIC_SEQ_CST);
		zdtm_check(right(k), "child %d: memory differs", k);
		__atomic_add_fetch(&sh->sum, 1, __ATOMIC_SEQ_CST);
		if (go < 0)
			_exit(k);
	}
}

static int vm_task(void *arg)
{
	while (vm_word > 0) {
		zdtm_nap();
		if (vm_word == 2)
			vm_word = 3;
	}
	_exit(7);
}

static void *thread(void *arg)
{
	volatile int *stop = arg;

	while (!*stop)
		zdtm_nap();
	return (void *)0x77L;
}

static void round_of(int go, int shared[], int strict)
{
	sh->sum = 0;
	__atomic_store_n(&sh->go, go, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 1000 && __atomic_load_n(&sh->sum, __ATOMIC_SEQ_CST) < KIDS; i++)
		zdtm_nap();
	zdtm_check(sh->sum == KIDS, "only %d children answer", sh->sum);
	zdtm_check(right(16), "the parent's memory differs");
	for (int k = 0; k < KIDS && go > 0; k++) {
		int now = shared_pages(sh->pids[k]);

		zdtm_check(now == shared[k], "child %d shared %d pages, now %d", k, shared[k], now);
	}
}

int main(void)
{
	int shared[KIDS], status, stop = 0, vm, zombie, go = 1;
	pthread_t th[3];
	void *ret;

	sh = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	mem = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	zdtm_must(sh != MAP_FAILED && mem != MAP_FAILED);
	zdtm_must(!madvise(mem, PAGES * PAGE, MADV_NOHUGEPAGE));
	for (int i = 0; i < PAGES; i++)
		memset(mem + i * PAGE, expect(16, i), PAGE);
	for (int k = 0; k < KIDS; k++) {
		pid_t kid = fork();

		zdtm_must(kid >= 0);
		if (!kid)
			child(k);
		sh->pids[k] = kid;
	}
	while (__atomic_load_n(&sh->ready, __ATOMIC_SEQ_CST) < KIDS)
		zdtm_nap();
	zdtm_must((zombie = fork()) >= 0);
	if (!zombie)
		_exit(42);
	zdtm_must((vm = clone(vm_task, vm_stack + sizeof(vm_stack), CLONE_VM | SIGCHLD, NULL)) > 0);
	for (int i = 0; i < 3; i++)
		zdtm_must(!pthread_create(&th[i], NULL, thread, &stop));
	for (int k = 0; k < KIDS; k++) {
		shared[k] = shared_pages(sh->pids[k]);
		zdtm_must(shared[k] == PAGES - PAGES / 16 || !shared[k]);
	}
	zdtm_ready();
	while (zdtm_asked()) {
		round_of(go++, shared, 0);
		zdtm_answer();
	}
	round_of(go++, shared, 1);
	round_of(-1, shared, 1);
	for (int k = 0; k < KIDS; k++)
		zdtm_check(waitpid(sh->pids[k], &status, 0) > 0 && status == k << 8, "child %d: status %x", k, status);
	vm_word = 2;
	for (int i = 0; i < 500 && vm_word == 2; i++)
		zdtm_nap();
	zdtm_check(vm_word == 3, "the CLONE_VM task does not see our memory");
	vm_word = 0;
	zdtm_check(waitpid(vm, &status, 0) == vm && status == 7 << 8, "CLONE_VM task: status %x", status);
	zdtm_check(waitpid(zombie, &status, 0) == zombie && status == 42 << 8, "zombie: status %x", status);
	stop = 1;
	for (int i = 0; i < 3; i++)
		zdtm_check(!pthread_join(th[i], &ret) && ret == (void *)0x77L, "thread %d", i);
	zdtm_pass();
}
