/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tasks whose vdso is not where the kernel put it: one has moved it, one has none at all.
 *
 * zdtm: restores 2
 */
#include <sys/mman.h>
#include <sys/prctl.h>

#include "zdtm.h"

struct range {
	unsigned long start, end;
};

/* From the first [vvar...] to the end of [vdso]. */
static struct range find(void)
{
	struct range r = { 0, 0 };
	unsigned long a, b;
	char line[400];
	FILE *f = fopen("/proc/self/maps", "re");

	zdtm_must(f);
	while (fgets(line, sizeof(line), f)) {
		if (!strstr(line, "[vvar") && !strstr(line, "[vdso]"))
			continue;
		if (sscanf(line, "%lx-%lx", &a, &b) == 2) {
			r.start = r.start ? r.start : a;
			r.end = b;
		}
	}
	fclose(f);
	return r;
}

/* The libc has pointers into it, so no time functions here. */
static void nap(void)
{
	struct timespec ts = { .tv_nsec = 10000000 };

	syscall(SYS_nanosleep, &ts, NULL);
}

static void await(void)
{
	while (syscall(SYS_access, zdtm_path("verify"), F_OK))
		nap();
}

static void without(void)
{
	struct range r = find();

	zdtm_must(r.start && !munmap((void *)r.start, r.end - r.start));
	zdtm_touch("without");
	await();
	r = find();
	zdtm_check(!r.start, "there is a vdso now at %lx", r.start);
	_exit(0);
}

static void moved(void)
{
	struct range r = find(), now;
	unsigned long len = r.end - r.start;
	char *to = mmap(NULL, len + 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	zdtm_must(r.start && to != MAP_FAILED);
	/* Older kernels do not move several mappings at once: one after the other, as they come. */
	if (mremap((void *)r.start, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to + 32768) == MAP_FAILED)
		_exit(77);
	zdtm_touch("moved");
	await();
	now = find();
	zdtm_check(now.start == (unsigned long)to + 32768 && now.end - now.start == len, "it was at %p, is at %lx",
	           (void *)(to + 32768), now.start);
	zdtm_check(!memcmp((void *)(now.end - 8192), "\177ELF", 4) || !memcmp((void *)(now.end - 4096), "\177ELF", 4),
	           "no ELF there");
	_exit(0);
}

int main(void)
{
	pid_t a, b;
	int sa, sb;

	if (!find().start)
		zdtm_skip("no vdso");
	zdtm_must((a = fork()) >= 0);
	if (!a)
		without();
	zdtm_must((b = fork()) >= 0);
	if (!b)
		moved();
	while (access("without", F_OK) || (access("moved", F_OK) && waitpid(b, &sb, WNOHANG) == 0))
		zdtm_nap();
	zdtm_ready();
	zdtm_wait();
	zdtm_check(waitpid(a, &sa, 0) == a && !sa, "the one without: %x", sa);
	if (!access("moved", F_OK))
		zdtm_check(waitpid(b, &sb, 0) == b && !sb, "the one that moved it: %x", sb);
	zdtm_pass();
}
