/* SPDX-License-Identifier: GPL-2.0-only */
#include "lib/fiber.h"

#include <sys/mman.h>
#include <ucontext.h>

#include "lib/log.h"
#include "lib/lookup.h"

#define STACK_SIZE (256UL << 10) /* a page at its end is a guard */
#define GUARD_SIZE 4096UL

struct fiber {
	ucontext_t context;
	bool ended;
};

struct fibers {
	int (*fn)(void *arg, size_t i);
	void *arg;
	int *errs;
	size_t n, live, now;
	unsigned idle; /* so many waits in a row have looked in vain */
	struct log_work about;
	ucontext_t home;
	struct fiber fibers[FIBERS_MAX];
};

/* lint: global: of the thread whose stack is changed; a wait deep below has no other way to it */
static __thread struct fibers *running;
/* lint: global: of the thread, as what it protects is */
static __thread unsigned held;
/* lint: global: of the thread, kept for the next time: FIBERS_MAX of them */
static __thread char *stacks;

static void run_fiber(void)
{
	struct fibers *f = running;

	log_work_set(&f->about);
	f->errs[f->now] = f->fn(f->arg, f->now);
	f->fibers[f->now].ended = true;
	f->live--;
	f->idle = 0;
}

/* The next one that has not ended. */
static size_t next_of(const struct fibers *f, size_t i)
{
	do
		i = (i + 1) % f->n;
	while (f->fibers[i].ended);
	return i;
}

void fiber_hold(void)
{
	held++;
}

void fiber_release(void)
{
	held--;
}

bool fiber_yield(unsigned *looks)
{
	struct fibers *f = running;
	struct log_work about;
	size_t now;

	if (!f || f->live < 2 || held || lookup_now())
		return false;
	f->idle = *looks ? f->idle + 1 : 0;
	++*looks;
	if (f->idle >= f->live) {
		f->idle = 0;
		return false;
	}
	now = f->now;
	f->now = next_of(f, now);
	about = log_work_get();
	swapcontext(&f->fibers[now].context, &f->fibers[f->now].context);
	log_work_set(&about);
	return true;
}

static void make_fiber(struct fibers *f, size_t i, char *stack)
{
	ucontext_t *c = &f->fibers[i].context;

	getcontext(c);
	c->uc_stack.ss_sp = stack + GUARD_SIZE;
	c->uc_stack.ss_size = STACK_SIZE - GUARD_SIZE;
	c->uc_link = &f->home;
	makecontext(c, run_fiber, 0);
}

static bool make_stacks(void)
{
	char *p;

	if (stacks)
		return true;
	p = mmap(NULL, FIBERS_MAX * STACK_SIZE, PROT_READ | PROT_WRITE,
	         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (p == MAP_FAILED)
		return false;
	for (size_t i = 0; i < FIBERS_MAX; i++)
		mprotect(p + i * STACK_SIZE, GUARD_SIZE, PROT_NONE);
	stacks = p;
	return true;
}

void fiber_run(size_t n, int (*fn)(void *arg, size_t i), void *arg, int errs[])
{
	struct fibers f = { .fn = fn, .arg = arg, .errs = errs, .n = n, .live = n, .now = n - 1 };
	bool beside = n > 1 && n <= FIBERS_MAX && !running && make_stacks();

	for (size_t i = 0; !beside && i < n; i++)
		errs[i] = fn(arg, i);
	if (!beside)
		return;
	for (size_t i = 0; i < n; i++)
		make_fiber(&f, i, stacks + i * STACK_SIZE);
	f.about = log_work_get();
	running = &f;
	while (f.live) { /* home is where one goes that ends */
		f.now = next_of(&f, f.now);
		swapcontext(&f.home, &f.fibers[f.now].context);
	}
	running = NULL;
	log_work_set(&f.about);
}
