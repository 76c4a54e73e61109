/* SPDX-License-Identifier: GPL-2.0-only */
/* The table of features, and its cache. */
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <linux/capability.h>

#include "core/log.h"
#include "core/probe_fns.h"

const struct feature_row feature_rows[FEATURE_COUNT] = {
#define FEATURE_ROW(id, name, class, purpose) [FEATURE_##id] = { name, FEATURE_##class, purpose, probe_##id },
	FEATURES(FEATURE_ROW)
#undef FEATURE_ROW
};

bool probe_has(const struct probes *p, enum feature feature)
{
	return p->bits >> feature & 1;
}

int probe_try(enum feature feature)
{
	return feature_rows[feature].probe();
}

int probe_by_name(const char *name)
{
	for (int i = 0; i < FEATURE_COUNT; i++)
		if (strcmp(feature_rows[i].name, name) == 0)
			return i;
	return -ENOENT;
}

static void try_all(struct probes *p)
{
	_Static_assert(FEATURE_COUNT <= 64, "a bit each");
	p->bits = 0;
	for (int i = 0; i < FEATURE_COUNT; i++) {
		int err = probe_try((enum feature)i);

		if (!err)
			p->bits |= UINT64_C(1) << i;
		else
			log_debug("kernel feature %s is missing: %s", feature_rows[i].name, strerrordesc_np(-err));
	}
}

/* ---- the cache ---- */

#define CACHE_MAGIC UINT64_C(0x7461646b75697263)

/* What an answer depends on: the kernel, this boot of it, and what we may do. Compared as bytes. */
struct cache_key {
	uint64_t features; /* a hash of the table */
	char boot_id[40];
	char release[65], version[65];
	uint32_t uid, seccomp;
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
};

struct cache {
	uint64_t magic;
	struct cache_key key;
	uint64_t bits;
	uint64_t sum; /* of all before it */
};

/* FNV-1a: against damage, not against people: those are kept away by the file's owner and mode. */
static uint64_t hash_bytes(uint64_t hash, const void *data, size_t len)
{
	for (const unsigned char *p = data; len--; p++)
		hash = (hash ^ *p) * 0x100000001b3ULL;
	return hash;
}

static int make_key(struct cache_key *key)
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct utsname name;

	memset(key, 0, sizeof(*key));
	key->features = 0xcbf29ce484222325ULL;
	for (int i = 0; i < FEATURE_COUNT; i++)
		key->features = hash_bytes(key->features, feature_rows[i].name, strlen(feature_rows[i].name) + 1);
	if (fd < 0 || read(fd, key->boot_id, sizeof(key->boot_id)) < 32 || uname(&name))
		return -errno ?: -EIO;
	memcpy(key->release, name.release, sizeof(key->release));
	memcpy(key->version, name.version, sizeof(key->version));
	if (syscall(SYS_capget, &header, key->caps))
		return -errno;
	key->uid = geteuid();
	key->seccomp = (uint32_t)prctl(PR_GET_SECCOMP);
	return 0;
}

static uint64_t sum_of(const struct cache *c)
{
	return hash_bytes(0xcbf29ce484222325ULL, c, offsetof(struct cache, sum));
}

/* Ours alone, and nobody else could have written it. */
static bool is_ours(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && st.st_nlink == 1 &&
	       (st.st_mode & 07777) == 0600 && st.st_size == sizeof(struct cache);
}

static bool read_cache(const char *path, const struct cache_key *key, struct probes *p)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct cache c;

	if (fd < 0 || !is_ours(fd) || read(fd, &c, sizeof(c)) != sizeof(c))
		return false;
	if (c.magic != CACHE_MAGIC || c.sum != sum_of(&c) || memcmp(&c.key, key, sizeof(*key)))
		return false;
	p->bits = c.bits;
	return true;
}

static int write_cache(const char *path, const struct cache_key *key, const struct probes *p)
{
	_cleanup_close_ int fd = -1;
	char temp[256];
	struct cache c;
	int err = 0;

	memset(&c, 0, sizeof(c));
	c.magic = CACHE_MAGIC;
	c.key = *key;
	c.bits = p->bits;
	c.sum = sum_of(&c);
	if ((size_t)snprintf(temp, sizeof(temp), "%s.%d", path, getpid()) >= sizeof(temp))
		return -ENAMETOOLONG;
	unlink(temp);
	fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (fchmod(fd, 0600) || write(fd, &c, sizeof(c)) != sizeof(c) || rename(temp, path)) {
		err = -errno ?: -EIO;
		unlink(temp);
	}
	return err;
}

void probes_load_from(struct probes *p, const char *path, bool *cached)
{
	struct cache_key key;
	int err = make_key(&key);

	*cached = !err && read_cache(path, &key, p);
	if (*cached)
		return;
	try_all(p);
	if (!err)
		err = write_cache(path, &key, p);
	if (err)
		log_debug("%s is not written: %s", path, strerrordesc_np(-err));
}

void probes_load(struct probes *p)
{
	bool cached;

	probes_load_from(p, PROBE_CACHE, &cached);
}
