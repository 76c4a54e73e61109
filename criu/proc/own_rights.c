/* SPDX-License-Identifier: GPL-2.0-only */
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "proc/own_rights.h"

#define CAP_BIT(n) (1ULL << (n))

/* An execve() raises nothing for root where this securebit says so, and never for another. */
static bool root_gets_all(uid_t euid, uint32_t securebits)
{
	return euid == 0 && !(securebits & SECBIT_NOROOT);
}

static uint64_t caps_at_birth(const struct proc_status *st, uint32_t securebits)
{
	uint64_t all = st->cap_bnd | st->cap_inh;

	if (root_gets_all(st->uid[1], securebits))
		return st->no_new_privs ? all & st->cap_prm : all;
	if (securebits & SECBIT_NO_CAP_AMBIENT_RAISE)
		return st->cap_amb;
	/* To be ambient it must be inheritable, which takes no more than the bounding set has. */
	return st->cap_prm & all;
}

int own_rights_read(struct arena *a, struct own_rights *out)
{
	_cleanup_close_ int proc_fd = proc_open(getpid());
	int err = proc_fd < 0 ? proc_fd : proc_read_status(proc_fd, 0, a, &out->status), bits;

	if (err)
		return log_errno(err, "reading criu's own credentials from /proc");
	bits = prctl(PR_GET_SECUREBITS);
	if (bits < 0)
		return log_errno(-errno, "prctl(PR_GET_SECUREBITS) of criu itself");
	out->securebits = (uint32_t)bits;
	out->caps_at_birth = caps_at_birth(&out->status, out->securebits);
	return 0;
}

bool own_rights_have(const struct own_rights *own, unsigned cap)
{
	return own->caps_at_birth & CAP_BIT(cap);
}

int own_rights_reduce(uint64_t caps)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data))
		return -errno;
	for (unsigned i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(caps >> 32 * i);
		data[i].effective = data[i].permitted;
	}
	return syscall(SYS_capset, &head, data) ? -errno : 0;
}

void own_rights_keep(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	long bits = syscall(SYS_prctl, PR_GET_SECUREBITS);

	if (bits < 0 || root_gets_all((uid_t)syscall(SYS_geteuid), (uint32_t)bits) || syscall(SYS_capget, &head, data))
		return;
	for (unsigned n = 0; n < 64; n++) {
		if (!(data[n / 32].permitted & 1U << n % 32) || syscall(SYS_prctl, PR_CAPBSET_READ, n) != 1)
			continue;
		data[n / 32].inheritable |= 1U << n % 32;
	}
	if (syscall(SYS_capset, &head, data))
		return;
	for (unsigned n = 0; n < 64; n++)
		if (data[n / 32].permitted & data[n / 32].inheritable & 1U << n % 32)
			syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, n, 0, 0);
}
