/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <linux/btf.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/btf.h"
#include "lib/btf_kept.h"
#include "lib/io.h"

#define DEPTH_MAX  16 /* of structs in structs, and of names for one type */
#define SIZE_LIMIT (256UL << 20)
#define TYPES_STEP 64

/* All types, as they stand in the file. */
struct btf_index {
	uint8_t *data;
	size_t mapped; /* so many bytes of data, which is a mapping then; 0: from malloc() */
	const char *strings;
	size_t strings_len;
	const struct btf_type **types; /* every TYPES_STEPth of them, from number 1 on: they have different sizes */
	size_t n;                      /* of all; number 0 is void */
	const struct btf_type **structs;
	size_t n_structs;
	uint32_t *by_name; /* a hash table of n_places (a power of two): places in structs, + 1 */
	size_t n_places;
};

/* The bytes behind a btf_type. */
static size_t size_behind(const struct btf_type *t)
{
	size_t n = BTF_INFO_VLEN(t->info);

	switch (BTF_INFO_KIND(t->info)) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
		return 4;
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
	case BTF_KIND_DATASEC:
	case BTF_KIND_ENUM64:
		return n * 12;
	case BTF_KIND_ENUM:
	case BTF_KIND_FUNC_PROTO:
		return n * 8;
	default:
		return 0;
	}
}

static const struct btf_type *next_type(const struct btf_type *t)
{
	return (const struct btf_type *)((const uint8_t *)(t + 1) + size_behind(t));
}

static int keep_struct(struct btf_index *b, const struct btf_type *t)
{
	size_t n = b->n_structs;

	if (n < 1024 ? !n : !(n & (n - 1))) {
		const struct btf_type **more = realloc(b->structs, MAX(1024, 2 * n) * sizeof(*more));

		if (!more)
			return -ENOMEM;
		b->structs = more;
	}
	b->structs[b->n_structs++] = t;
	return 0;
}

static int index_types(struct btf_index *b, const uint8_t *at, size_t len)
{
	b->types = calloc(len / sizeof(struct btf_type) / TYPES_STEP + 1, sizeof(*b->types));
	if (!b->types)
		return -ENOMEM;
	for (b->n = 1; len; b->n++) {
		const struct btf_type *t = (const struct btf_type *)at;
		size_t size = sizeof(*t);

		if (len < size || BTF_INFO_KIND(t->info) > BTF_KIND_MAX)
			return -EBADMSG;
		size += size_behind(t);
		if (len < size)
			return -EBADMSG;
		if ((b->n - 1) % TYPES_STEP == 0)
			b->types[(b->n - 1) / TYPES_STEP] = t;
		if (BTF_INFO_KIND(t->info) == BTF_KIND_STRUCT && keep_struct(b, t))
			return -ENOMEM;
		at += size;
		len -= size;
	}
	return 0;
}

/* number is not 0, and below b->n. */
static const struct btf_type *type_of_number(const struct btf_index *b, uint32_t number)
{
	const struct btf_type *t = b->types[(number - 1) / TYPES_STEP];

	for (uint32_t i = (number - 1) % TYPES_STEP; i; i--)
		t = next_type(t);
	return t;
}

static int parse_types(struct btf_index *b, size_t len)
{
	const struct btf_header *h = (const struct btf_header *)b->data;
	size_t room;

	if (len < sizeof(*h) || h->magic != BTF_MAGIC || h->hdr_len < sizeof(*h) || h->hdr_len > len)
		return -EBADMSG;
	room = len - h->hdr_len;
	if (h->type_off % 4 || h->hdr_len % 4 || h->type_off > room || h->type_len > room - h->type_off ||
	    h->str_off > room || h->str_len > room - h->str_off || !h->str_len)
		return -EBADMSG;
	b->strings = (const char *)b->data + h->hdr_len + h->str_off;
	b->strings_len = h->str_len;
	if (b->strings[b->strings_len - 1])
		return -EBADMSG;
	return index_types(b, b->data + h->hdr_len + h->type_off, h->type_len);
}

static const char *name_at(const struct btf_index *b, uint32_t off)
{
	return off < b->strings_len ? b->strings + off : "";
}

/* FNV-1a */
static size_t hash_name(const char *name)
{
	uint32_t h = 2166136261U;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619U;
	return h ^ h >> 16;
}

/* Where the struct of that name stands in by_name, or would. */
static size_t place_of_name(const struct btf_index *b, const char *name)
{
	size_t at = hash_name(name) & (b->n_places - 1);

	while (b->by_name[at] && strcmp(name_at(b, b->structs[b->by_name[at] - 1]->name_off), name))
		at = (at + 1) & (b->n_places - 1);
	return at;
}

/* Of several structs of one name the first counts. */
static int index_names(struct btf_index *b)
{
	for (b->n_places = 16; b->n_places < 2 * b->n_structs;)
		b->n_places *= 2;
	b->by_name = calloc(b->n_places, sizeof(*b->by_name));
	for (size_t i = 0; b->by_name && i < b->n_structs; i++) {
		uint32_t *which = &b->by_name[place_of_name(b, name_at(b, b->structs[i]->name_off))];

		*which = *which ?: (uint32_t)i + 1;
	}
	return b->by_name ? 0 : -ENOMEM;
}

static void free_data(uint8_t *data, size_t mapped)
{
	if (mapped)
		munmap(data, mapped);
	else
		free(data);
}

static void free_index(struct btf_index *b)
{
	if (!b)
		return;
	free(b->types);
	free(b->structs);
	free(b->by_name);
	free_data(b->data, b->mapped);
	free(b);
}

static int take_data(uint8_t *data, size_t len, size_t mapped, struct btf_index **out)
{
	struct btf_index *b = calloc(1, sizeof(*b));
	int err;

	if (!b) {
		free_data(data, mapped);
		return -ENOMEM;
	}
	b->data = data;
	b->mapped = mapped;
	err = parse_types(b, len);
	err = err ?: index_names(b);
	if (err)
		free_index(b);
	else
		*out = b;
	return err;
}

static int parse_copy(const void *data, size_t len, struct btf_index **out)
{
	uint8_t *copy = malloc(len + 1);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, data, len);
	return take_data(copy, len, 0, out);
}

static int read_copy(int fd, size_t len, struct btf_index **out)
{
	uint8_t *data = malloc(len);
	ssize_t n;

	if (!data)
		return -ENOMEM;
	n = io_read_all(fd, data, len);
	if (n == (ssize_t)len)
		return take_data(data, len, 0, out);
	free(data);
	return n < 0 ? (int)n : -EBADMSG;
}

/* Since Linux 6.16 the file can be mapped, which is a third of the work. */
static int read_index(struct btf_index **out)
{
	_cleanup_close_ int fd = open("/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *data;

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	if (st.st_size <= 0 || (size_t)st.st_size > SIZE_LIMIT)
		return -EBADMSG;
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return read_copy(fd, (size_t)st.st_size, out);
	return take_data(data, (size_t)st.st_size, (size_t)st.st_size, out);
}

static const struct btf_type *find_struct(const struct btf_index *b, const char *name)
{
	uint32_t which = b->by_name[place_of_name(b, name)];

	return which ? b->structs[which - 1] : NULL;
}

static int size_in(const struct btf_index *b, const char *type, const char *path)
{
	const struct btf_type *t = find_struct(b, type);

	return t && t->size <= INT32_MAX ? (int)t->size : -ENOENT;
}

/* The struct or union that a type is, behind its names and qualifiers; NULL: another type. */
static const struct btf_type *struct_of(const struct btf_index *b, uint32_t number)
{
	for (int depth = 0; depth < DEPTH_MAX && number && number < b->n; depth++) {
		const struct btf_type *t = type_of_number(b, number);

		switch (BTF_INFO_KIND(t->info)) {
		case BTF_KIND_STRUCT:
		case BTF_KIND_UNION:
			return t;
		case BTF_KIND_TYPEDEF:
		case BTF_KIND_CONST:
		case BTF_KIND_VOLATILE:
		case BTF_KIND_RESTRICT:
		case BTF_KIND_TYPE_TAG:
			number = t->type;
			break;
		default:
			return NULL;
		}
	}
	return NULL;
}

static uint32_t member_bits(const struct btf_type *t, const struct btf_member *m)
{
	return BTF_INFO_KFLAG(t->info) ? BTF_MEMBER_BIT_OFFSET(m->offset) : m->offset;
}

/* Up to the next member, in bits; -EINVAL: a bit-field. */
static int64_t span_of(const struct btf_type *t, size_t which)
{
	const struct btf_member *m = (const struct btf_member *)(t + 1);
	uint32_t at = member_bits(t, &m[which]), end = t->size * 8;

	if (BTF_INFO_KFLAG(t->info) && BTF_MEMBER_BITFIELD_SIZE(m[which].offset))
		return -EINVAL;
	for (size_t i = 0; i < BTF_INFO_VLEN(t->info); i++)
		if (member_bits(t, &m[i]) > at && member_bits(t, &m[i]) < end)
			end = member_bits(t, &m[i]);
	return end > at ? (int64_t)(end - at) : -EINVAL;
}

/* Looks for the first name of a path among the members of t, for the rest of it in that member. In bits, as *span. */
static int64_t find_member(const struct btf_index *b, const struct btf_type *t, const char *path, int depth,
                           int64_t *span)
{
	const struct btf_member *m = (const struct btf_member *)(t + 1);
	size_t n = BTF_INFO_VLEN(t->info), len = strcspn(path, ".");

	if (depth > DEPTH_MAX)
		return -ENOENT;
	for (size_t i = 0; i < n; i++) {
		const struct btf_type *inner = struct_of(b, m[i].type);
		const char *name = name_at(b, m[i].name_off);
		int64_t in = -ENOENT;

		if (!*name && inner)
			in = find_member(b, inner, path, depth + 1, span);
		else if (strlen(name) != len || strncmp(name, path, len))
			continue;
		else if (path[len])
			in = inner ? find_member(b, inner, path + len + 1, depth + 1, span) : -ENOENT;
		else
			in = 0, *span = span_of(t, i);
		if (in >= 0)
			return member_bits(t, &m[i]) + in;
	}
	return -ENOENT;
}

static int offset_in(const struct btf_index *b, const char *type, const char *path)
{
	const struct btf_type *t = find_struct(b, type);
	int64_t span, bits = t ? find_member(b, t, path, 0, &span) : -ENOENT;

	if (bits < 0)
		return (int)bits;
	return bits % 8 || bits / 8 > INT32_MAX ? -EINVAL : (int)(bits / 8);
}

static int span_in(const struct btf_index *b, const char *type, const char *path)
{
	const struct btf_type *t = find_struct(b, type);
	int64_t span = -ENOENT, bits = t ? find_member(b, t, path, 0, &span) : -ENOENT;

	if (bits < 0 || span < 0)
		return bits < 0 ? (int)bits : (int)span;
	return span % 8 || span / 8 > INT32_MAX ? -EINVAL : (int)(span / 8);
}

/* ---- what was asked before, by this command or another ---- */

struct asked {
	pthread_mutex_t lock;
	struct btf_index *index; /* NULL: nothing had to be looked up yet */
	struct btf_kept *kept;   /* NULL: nothing is kept */
};

struct btf_types {
	struct asked *asked;
};

static int new_types(struct btf_index *index, struct btf_kept *kept, struct btf_types **out)
{
	struct btf_types *b = calloc(1, sizeof(*b));

	if (b)
		b->asked = calloc(1, sizeof(*b->asked));
	if (!b || !b->asked) {
		free(b);
		return -ENOMEM;
	}
	pthread_mutex_init(&b->asked->lock, NULL);
	b->asked->index = index;
	b->asked->kept = kept;
	*out = b;
	return 0;
}

int btf_parse(const void *data, size_t len, struct btf_types **out)
{
	struct btf_index *index;
	int err = parse_copy(data, len, &index);

	if (err)
		return err;
	err = new_types(index, NULL, out);
	if (err)
		free_index(index);
	return err;
}

int btf_read(struct btf_types **out)
{
	struct btf_kept *kept = btf_kept_of_process();
	struct btf_index *index = NULL;
	int err = kept ? (access("/sys/kernel/btf/vmlinux", R_OK) ? -errno : 0) : read_index(&index);

	err = err ?: new_types(index, kept, out);
	if (err)
		free_index(index);
	return err;
}

void btf_free(struct btf_types *b)
{
	if (!b)
		return;
	free_index(b->asked->index);
	pthread_mutex_destroy(&b->asked->lock);
	free(b->asked);
	free(b);
}

typedef int look_fn(const struct btf_index *index, const char *type, const char *path);

static int look_up(struct asked *a, look_fn *look, const char *type, const char *path, int *answer)
{
	int err = a->index ? 0 : read_index(&a->index);

	if (!err)
		*answer = look(a->index, type, path);
	return err;
}

static int answer_of(const struct btf_types *b, const char *what, look_fn *look, const char *type, const char *path)
{
	struct asked *a = b->asked;
	char question[128];
	int answer = -ENOENT, n = snprintf(question, sizeof(question), "%s %s %s", what, type, path), err;
	bool keeps = a->kept && n < (int)sizeof(question);

	pthread_mutex_lock(&a->lock);
	if (!keeps || !btf_kept_find(a->kept, question, &answer)) {
		err = look_up(a, look, type, path, &answer);
		if (err)
			answer = err;
		else if (keeps)
			btf_kept_add(a->kept, question, answer);
	}
	pthread_mutex_unlock(&a->lock);
	return answer;
}

int btf_offset(const struct btf_types *b, const char *type, const char *path)
{
	return answer_of(b, "offset", offset_in, type, path);
}

int btf_span(const struct btf_types *b, const char *type, const char *path)
{
	return answer_of(b, "span", span_in, type, path);
}

int btf_size(const struct btf_types *b, const char *type)
{
	return answer_of(b, "size", size_in, type, "");
}
