/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For hugetlb.py: System V segments in huge pages. One with a key that does not end with a huge page, attached twice,
 * once read-only; one that was removed while it was attached, of which a part is unmapped. A child has them too.
 */
#include <sys/mman.h>
#include <sys/shm.h>

#include "../zdtm.h"

#define H    (2UL << 20)
#define KEY  0x5a445480
#define SIZE (3 * H / 2)

static int keyed, removed;
static char *at, *read_only, *cut;

static char *attach(int id, int flags)
{
	char *p = shmat(id, NULL, flags);

	zdtm_must(p != (char *)-1);
	return p;
}

static void look(const char *who)
{
	struct shmid_ds ds;

	zdtm_check(at[5] == 'a' && at[H + 7] == 'b' && read_only[5] == 'a' && !at[H + H / 2], "%s: %x %x %x", who,
	           at[5], at[H + 7], read_only[5]);
	zdtm_check(cut[H] == 'c' && cut[2 * H] == 'd', "%s: the part that is left: %x %x", who, cut[H], cut[2 * H]);
	zdtm_check(!shmctl(keyed, IPC_STAT, &ds) && ds.shm_segsz == SIZE && ds.shm_nattch == 4 &&
	               ds.shm_perm.__key == KEY,
	           "%s: %lu bytes, attached %lu times", who, ds.shm_segsz, ds.shm_nattch);
	zdtm_check(!shmctl(removed, IPC_STAT, &ds) && ds.shm_nattch == 2 && ds.shm_perm.mode & 01000,
	           "%s: the removed one: attached %lu times, mode %o", who, ds.shm_nattch, ds.shm_perm.mode);
}

int main(void)
{
	int status;
	pid_t kid;

	keyed = shmget(KEY, SIZE, IPC_CREAT | IPC_EXCL | SHM_HUGETLB | 0600);
	removed = shmget(IPC_PRIVATE, 3 * H, SHM_HUGETLB | 0600);
	if (keyed < 0 || removed < 0)
		zdtm_skip("SHM_HUGETLB: %s", strerror(errno));
	at = attach(keyed, 0);
	read_only = attach(keyed, SHM_RDONLY);
	cut = attach(removed, 0);
	at[5] = 'a';
	at[H + 7] = 'b';
	cut[H] = 'c';
	cut[2 * H] = 'd';
	zdtm_must(!munmap(cut, H) && !shmctl(removed, IPC_RMID, NULL));
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		zdtm_wait();
		look("child");
		at[9] = 'k';
		while (access(zdtm_path("enough"), F_OK))
			zdtm_nap();
		_exit(0);
	}
	zdtm_ready();
	zdtm_wait();
	look("parent");
	while (!at[9])
		zdtm_nap();
	zdtm_touch("enough");
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_check(mprotect(read_only, H, PROT_READ | PROT_WRITE) && errno == EACCES, "it can be made writable");
	zdtm_check(!shmdt(at) && !shmdt(read_only), "shmdt: %s", strerror(errno));
	zdtm_check(!shmdt(cut + H) || !shmdt(cut), "shmdt of the one in parts: %s", strerror(errno));
	zdtm_check(!shmctl(keyed, IPC_RMID, NULL), "IPC_RMID: %s", strerror(errno));
	zdtm_pass();
}
