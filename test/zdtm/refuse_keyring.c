/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Keys of a thread's own, and of a process's: their contents cannot be had for sure, so a dump is refused.
 *
 * zdtm: refuse thread [0-9]+: has 2 keys in its thread keyring
 * zdtm: refuse has 1 key in its process keyring
 */
#include <linux/keyctl.h>
#include <pthread.h>

#include "zdtm.h"
#include "zdtm_until.h"

static int up;

static long add(const char *name, int keyring)
{
	return syscall(SYS_add_key, "user", name, "secret", 6, keyring);
}

static void *thread(void *arg)
{
	zdtm_must(add("one", KEY_SPEC_THREAD_KEYRING) > 0 && add("two", KEY_SPEC_THREAD_KEYRING) > 0);
	__atomic_store_n(&up, 1, __ATOMIC_SEQ_CST);
	zdtm_wait();
	zdtm_check(syscall(SYS_keyctl, KEYCTL_READ, KEY_SPEC_THREAD_KEYRING, 0, 0) == 8, "the thread's keys");
	__atomic_store_n(&up, 2, __ATOMIC_SEQ_CST);
	return arg;
}

int main(void)
{
	int status = 0;
	pthread_t t;
	pid_t kid;

	if (syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_THREAD_KEYRING, 1) < 0)
		zdtm_skip("no keyrings here: %s", strerror(errno));
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		zdtm_must(add("three", KEY_SPEC_PROCESS_KEYRING) > 0);
		zdtm_up();
		zdtm_wait();
		zdtm_check(syscall(SYS_keyctl, KEYCTL_READ, KEY_SPEC_PROCESS_KEYRING, 0, 0) == 4, "the child's key");
		_exit(0);
	}
	zdtm_must(!pthread_create(&t, NULL, thread, NULL));
	while (__atomic_load_n(&up, __ATOMIC_SEQ_CST) != 1)
		zdtm_nap();
	zdtm_until_up(1);
	zdtm_ready();
	zdtm_wait();
	pthread_join(t, NULL);
	zdtm_check(up == 2 && waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_pass();
}
