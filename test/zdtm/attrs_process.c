/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel keeps for each process or address space: merging of memory (PR_SET_MEMORY_MERGE), huge pages for who
 * asks only (PR_SET_THP_DISABLE with a flag), PR_SET_MDWE that is not inherited, mlockall(MCL_FUTURE), the nice value
 * of the session's autogroup, slots for futexes. One process has all, its child the other way of each.
 *
 * zdtm: needs-root
 * zdtm: iters 3
 * zdtm: no-userns raises a priority, and is in no resource limit of its user
 * zdtm: flavour pidns
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "zdtm.h"
#include "zdtm_until.h"

#define MEMORY_MERGE_SET 67
#define MEMORY_MERGE_GET 68
#define MDWE_SET         65
#define MDWE_GET         66
#define FUTEX_HASH       78
#define TEXT             200

static int autogroup(int nice)
{
	char text[64] = "";
	int fd = open("/proc/self/autogroup", nice ? O_WRONLY | O_CLOEXEC : O_RDONLY | O_CLOEXEC);
	const char *at;

	if (fd < 0)
		return 0;
	if (nice)
		zdtm_must(write(fd, text, (size_t)snprintf(text, sizeof(text), "%d", nice)) > 0);
	else if (read(fd, text, sizeof(text) - 1) < 0)
		*text = 0;
	close(fd);
	at = strstr(text, " nice ");
	return at ? atoi(at + 6) : 0;
}

/* Of a page that is mapped now: "" or what of locked, on fault, mergeable. */
static void page_flags(char *s)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), line[600];
	unsigned char present = 0;
	unsigned long from, to;
	int in = 0;
	FILE *f = fopen("/proc/self/smaps", "re");

	mincore(page, 4096, &present);
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			in = from <= (unsigned long)page && (unsigned long)page < to;
		if (in && !strncmp(line, "VmFlags:", 8))
			sprintf(s, "%s%s%s", strstr(line, " lo") ? "locked " : "", present & 1 ? "present " : "",
			        strstr(line, " mg") ? "mergeable" : "");
	}
	if (f)
		fclose(f);
	munmap(page, 4096);
}

static void look(char *s)
{
	char page[64] = "?";

	page_flags(page);
	snprintf(s, TEXT, "merge %d thp %d mdwe %d autogroup %d slots %d, a new page: %s",
	         prctl(MEMORY_MERGE_GET, 0, 0, 0, 0), prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0),
	         prctl(MDWE_GET, 0, 0, 0, 0), autogroup(0), prctl(FUTEX_HASH, 2, 0, 0, 0), page);
}

static void compare(const char *who, const char *before)
{
	char now[TEXT];

	look(now);
	zdtm_check(!strcmp(before, now), "%s: was '%s', is '%s'", who, before, now);
}

static void *sleep_on(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void child(void)
{
	char before[TEXT];
	pthread_t t;

	zdtm_must(setsid() > 0);
	autogroup(-3);
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	zdtm_must(!mlockall(MCL_FUTURE) || errno == EPERM);
	zdtm_must(!pthread_create(&t, NULL, sleep_on, NULL));
	prctl(FUTEX_HASH, 1, 0, 0, 0); /* those of the machine */
	look(before);
	zdtm_up();
	zdtm_wait();
	compare("child", before);
	_exit(0);
}

int main(void)
{
	char before[TEXT];
	int status;
	pthread_t t;
	pid_t kid;

	zdtm_must((kid = fork()) >= 0);
	if (!kid)
		child();
	/* What a kernel has not is the same before and after. */
	prctl(MEMORY_MERGE_SET, 1, 0, 0, 0);
	prctl(PR_SET_THP_DISABLE, 1, 2 /* PR_THP_DISABLE_EXCEPT_ADVISED */, 0, 0);
	autogroup(5);
	zdtm_must(!mlockall(MCL_FUTURE | MCL_ONFAULT) || errno == EPERM);
	zdtm_must(!pthread_create(&t, NULL, sleep_on, NULL));
	prctl(FUTEX_HASH, 1, 64, 0, 0);
	prctl(MDWE_SET, 3 /* with PR_MDWE_NO_INHERIT */, 0, 0, 0);
	look(before);
	zdtm_until_up(1);
	zdtm_ready();
	zdtm_wait();
	compare("parent", before);
	zdtm_check(mmap(NULL, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ||
	               prctl(MDWE_GET, 0, 0, 0, 0) <= 0,
	           "writable and executable memory can be had");
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_pass();
}
