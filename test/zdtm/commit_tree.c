/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Some forty processes in three generations. They all live, or none does (killed_both.py).
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "zdtm.h"

enum { CHILDREN = 13, GRANDCHILDREN = 2 };

static int *standing; /* grandchildren, of all */

static pid_t child_with_children(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	for (int i = 0; i < GRANDCHILDREN; i++)
		if (!fork()) {
			zdtm_must(!prctl(PR_SET_PDEATHSIG, SIGKILL));
			__atomic_add_fetch(standing, 1, __ATOMIC_SEQ_CST);
			break;
		}
	for (;;)
		pause();
}

int main(void)
{
	pid_t child[CHILDREN];
	int well = 1;

	standing = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	zdtm_must(standing != MAP_FAILED);
	for (int i = 0; i < CHILDREN; i++)
		zdtm_must((child[i] = child_with_children()) > 0);
	while (__atomic_load_n(standing, __ATOMIC_SEQ_CST) < CHILDREN * GRANDCHILDREN)
		zdtm_nap();
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < CHILDREN; i++) {
		well = well && zdtm_check(waitpid(child[i], NULL, WNOHANG) == 0, "child %d has ended", i);
		zdtm_must(!kill(child[i], SIGKILL));
	}
	if (well)
		zdtm_pass();
	return 0;
}
