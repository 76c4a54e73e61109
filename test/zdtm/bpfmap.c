/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * BPF maps: an array, a hash table with some elements, without preallocation, an empty one, a frozen one, a full one
 * with 20,000 elements; one that is open three times: for all, only to read, only to write.
 *
 * zdtm: needs-root
 * zdtm: restores 2
 * zdtm: iters 2
 * zdtm: allow fd [0-9]*map_id  any  the kernel numbers maps by itself
 */
#include <linux/bpf.h>

#include "zdtm.h"

#define MANY 20000

struct value {
	uint64_t a;
	char text[13];
};

static int bpf(int cmd, union bpf_attr *a)
{
	return syscall(SYS_bpf, cmd, a, sizeof(*a));
}

static int make(int type, const char *name, int key, int value, int max, int flags)
{
	union bpf_attr a = { 0 };
	int fd;

	a.map_type = type;
	a.key_size = key;
	a.value_size = value;
	a.max_entries = max;
	a.map_flags = flags;
	strcpy(a.map_name, name);
	fd = bpf(BPF_MAP_CREATE, &a);
	if (fd < 0 && (errno == EPERM || errno == ENOSYS))
		zdtm_skip("no BPF maps here: %s", strerror(errno));
	zdtm_must(fd >= 0);
	return fd;
}

static union bpf_attr element(int fd, const void *key, void *value, int flags)
{
	union bpf_attr a = { 0 };

	a.map_fd = fd;
	a.key = (uintptr_t)key;
	a.value = (uintptr_t)value;
	a.flags = flags;
	return a;
}

static int put(int fd, const void *key, const void *value, int flags)
{
	union bpf_attr a = element(fd, key, (void *)value, flags);

	return bpf(BPF_MAP_UPDATE_ELEM, &a);
}

static int get(int fd, const void *key, void *value)
{
	union bpf_attr a = element(fd, key, value, 0);

	return bpf(BPF_MAP_LOOKUP_ELEM, &a);
}

static struct bpf_map_info info(int fd)
{
	struct bpf_map_info i = { 0 };
	union bpf_attr a = { 0 };

	a.info.bpf_fd = fd;
	a.info.info = (uintptr_t)&i;
	a.info.info_len = sizeof(i);
	zdtm_must(!bpf(BPF_OBJ_GET_INFO_BY_FD, &a));
	return i;
}

static int again(int fd, int flags)
{
	union bpf_attr a = { 0 };
	int other;

	a.map_id = info(fd).id;
	a.open_flags = flags;
	zdtm_must((other = bpf(BPF_MAP_GET_FD_BY_ID, &a)) >= 0);
	return other;
}

static int freeze(int fd)
{
	union bpf_attr a = { 0 };

	a.map_fd = fd;
	return bpf(BPF_MAP_FREEZE, &a);
}

static void check_same(const char *what, int fd, const struct bpf_map_info *was)
{
	struct bpf_map_info is = info(fd);

	zdtm_check(is.type == was->type && is.key_size == was->key_size && is.value_size == was->value_size &&
	               is.max_entries == was->max_entries && is.map_flags == was->map_flags &&
	               !strcmp(is.name, was->name),
	           "%s is another map: %s, type %u, %u, %u, %u, flags %x", what, is.name, is.type, is.key_size,
	           is.value_size, is.max_entries, is.map_flags);
}

int main(void)
{
	int array, hash, sparse, empty, frozen, full, reader, writer, key;
	struct bpf_map_info was[6];
	struct value v = { 0 };
	uint64_t big;

	array = make(BPF_MAP_TYPE_ARRAY, "an_array", 4, sizeof(v), 5, 0);
	hash = make(BPF_MAP_TYPE_HASH, "a_hash", 4, sizeof(v), 100, 0);
	sparse = make(BPF_MAP_TYPE_HASH, "sparse", 8, 3, 100, BPF_F_NO_PREALLOC);
	empty = make(BPF_MAP_TYPE_HASH, "", 1, 1, 1, 0);
	frozen = make(BPF_MAP_TYPE_ARRAY, "frozen", 4, 8, 2, BPF_F_RDONLY_PROG);
	full = make(BPF_MAP_TYPE_HASH, "full", 4, 8, MANY, 0);
	reader = again(hash, BPF_F_RDONLY);
	writer = again(hash, BPF_F_WRONLY);
	for (key = 0; key < 5; key++) {
		v.a = key * 1000000007ULL;
		snprintf(v.text, sizeof(v.text), "value %d", key % 10);
		zdtm_must(!put(array, &key, &v, 0));
		if (key % 2)
			zdtm_must(!put(hash, &key, &v, 0));
	}
	big = 1ULL << 63;
	zdtm_must(!put(sparse, &big, "xyz", 0));
	key = 1;
	zdtm_must(!put(frozen, &key, &big, 0) && !freeze(frozen));
	for (key = 0; key < MANY; key++) {
		big = (uint64_t)key << 20;
		zdtm_must(!put(full, &key, &big, 0));
	}
	was[0] = info(array), was[1] = info(hash), was[2] = info(sparse), was[3] = info(empty), was[4] = info(frozen);
	was[5] = info(full);
	zdtm_ready();
	zdtm_wait();
	check_same("the array", array, &was[0]);
	check_same("the hash table", hash, &was[1]);
	check_same("the sparse one", sparse, &was[2]);
	check_same("the empty one", empty, &was[3]);
	check_same("the frozen one", frozen, &was[4]);
	check_same("the full one", full, &was[5]);
	for (key = 0; key < 5; key++) {
		char text[13];

		snprintf(text, sizeof(text), "value %d", key % 10);
		zdtm_check(!get(array, &key, &v) && v.a == key * 1000000007ULL && !strcmp(v.text, text),
		           "array[%d]: %lu %s", key, v.a, v.text);
		v.a = 0;
		zdtm_check((get(hash, &key, &v) == 0) == key % 2, "hash[%d] is there, or is not", key);
		zdtm_check(!(key % 2) || (v.a == key * 1000000007ULL && !strcmp(v.text, text)), "hash[%d]", key);
	}
	key = 1;
	zdtm_check(!get(frozen, &key, &big) && big == 1ULL << 63, "frozen[1]: %lx", big);
	zdtm_check(put(frozen, &key, &big, 0) && errno == EPERM, "the frozen one can be written");
	zdtm_check(!get(sparse, &big, v.text) && !memcmp(v.text, "xyz", 3), "the sparse one");
	for (key = 0; key < MANY; key++)
		if (!zdtm_check(!get(full, &key, &big) && big == (uint64_t)key << 20, "full[%d]: %lx", key, big))
			break;
	zdtm_check(put(full, &key, &big, 0) && errno == E2BIG, "the full one takes more");
	key = 50;
	v.a = 51;
	zdtm_check(!put(writer, &key, &v, BPF_NOEXIST) && !get(reader, &key, &v) && v.a == 51,
	           "what one writes the other does not read");
	zdtm_check(get(writer, &key, &v) && errno == EPERM, "the one to write can read");
	zdtm_check(put(reader, &key, &v, 0) && errno == EPERM, "the one to read can write");
	zdtm_check(!get(hash, &key, &v) && v.a == 51, "the map itself");
	zdtm_pass();
}
