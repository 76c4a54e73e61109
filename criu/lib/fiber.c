/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From one stack to another goes _longjmp(3): swapcontext(3) makes two system calls, for a signal mask that is the same
 * on all of them. It is only for the first step onto a stack; that stack is then kept for the fibers that come later.
 */
#undef _FORTIFY_SOURCE /* its longjmp() takes another stack for an error */
#include "lib/fiber.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "lib/log.h"
#include "lib/lookup.h"

#define STACK_SIZE (256UL << 10) /* a page at its end is a guard */
#define GUARD_SIZE 4096UL

/* A stack, and where it was left. */
struct stack {
	ucontext_t first;
	jmp_buf at;
	bool begun;
};

struct fibers {
	int (*fn)(void *arg, size_t i);
	void *arg;
	int *errs;
	size_t n, live, now;
	unsigned idle; /* so many waits in a row have looked in vain */
	struct log_work about;
	jmp_buf home;
	bool ended[FIBERS_MAX];
};

/* lint: global: of the thread whose stack is changed; a wait deep below has no other way to it */
static __thread struct fibers *running;
/* lint: global: of the thread, as what it protects is */
static __thread unsigned held;
/* lint: global: of the thread, kept for the next time: FIBERS_MAX of them */
static __thread struct stack *stacks;

static void run_one(struct fibers *f)
{
	log_work_set(&f->about);
	f->errs[f->now] = f->fn(f->arg, f->now);
	f->ended[f->now] = true;
	f->live--;
	f->idle = 0;
}

/* One fiber after the other, each when it is gone to. */
static void run_on_stack(void)
{
	for (;;) {
		run_one(running);
		if (!_setjmp(stacks[running->now].at))
			_longjmp(running->home, 1);
	}
}

static void __attribute__((noreturn)) go_to(struct fibers *f, size_t i)
{
	struct stack *s = &stacks[i];

	f->now = i;
	if (s->begun)
		_longjmp(s->at, 1);
	s->begun = true;
	setcontext(&s->first);
	abort(); /* it does not return where the context was made by makecontext() */
}

/* The next one that has not ended. */
static size_t next_of(const struct fibers *f, size_t i)
{
	do
		i = (i + 1) % f->n;
	while (f->ended[i]);
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

	if (!f || f->live < 2 || held || lookup_now())
		return false;
	f->idle = *looks ? f->idle + 1 : 0;
	++*looks;
	if (f->idle >= f->live) {
		f->idle = 0;
		return false;
	}
	about = log_work_get();
	if (!_setjmp(stacks[f->now].at))
		go_to(f, next_of(f, f->now));
	log_work_set(&about);
	return true;
}

static void make_stack(struct stack *s, char *memory)
{
	getcontext(&s->first);
	s->first.uc_stack.ss_sp = memory + GUARD_SIZE;
	s->first.uc_stack.ss_size = STACK_SIZE - GUARD_SIZE;
	makecontext(&s->first, run_on_stack, 0);
}

static bool make_stacks(void)
{
	struct stack *made;
	char *p;

	if (stacks)
		return true;
	made = calloc(FIBERS_MAX, sizeof(*made));
	if (!made)
		return false;
	p = mmap(NULL, FIBERS_MAX * STACK_SIZE, PROT_READ | PROT_WRITE,
	         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (p == MAP_FAILED) {
		free(made);
		return false;
	}
	for (size_t i = 0; i < FIBERS_MAX; i++) {
		mprotect(p + i * STACK_SIZE, GUARD_SIZE, PROT_NONE);
		make_stack(&made[i], p + i * STACK_SIZE);
	}
	stacks = made;
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
	f.about = log_work_get();
	running = &f;
	_setjmp(f.home); /* where one goes that ends */
	if (f.live)
		go_to(&f, next_of(&f, f.now));
	running = NULL;
	log_work_set(&f.about);
}
