/* SPDX-License-Identifier: GPL-2.0-only */
/* /proc/net: the peers of sockets without ports, and the processes that have a port. */
#include <ctype.h>
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "sock/inet_proc.h"

/* "0100007F:0035", or 32 digits for IPv6: words as they lie in memory. */
static int parse_address(const char *text, int family, union inet_addr *out)
{
	unsigned words[4], port;
	int n;

	memset(out, 0, sizeof(*out));
	out->any.sa_family = (sa_family_t)family;
	if (family == AF_INET6) {
		n = sscanf(text, "%8x%8x%8x%8x:%4x", &words[0], &words[1], &words[2], &words[3], &port);
		if (n != 5)
			return -EINVAL;
		memcpy(&out->v6.sin6_addr, words, sizeof(words));
		out->v6.sin6_port = htons((uint16_t)port);
		return 0;
	}
	if (sscanf(text, "%8x:%4x", &words[0], &port) != 2)
		return -EINVAL;
	out->v4.sin_addr.s_addr = words[0];
	out->v4.sin_port = htons((uint16_t)port);
	return 0;
}

int inet_proc_parse_line(const char *line, int family, uint64_t *ino, union inet_addr *local, union inet_addr *peer)
{
	char names[2][64];
	unsigned long long inode;

	/* sl local remote st tx:rx tr:when retrnsmt uid timeout inode */
	if (sscanf(line, " %*u: %63s %63s %*x %*x:%*x %*x:%*x %*x %*u %*u %llu", names[0], names[1], &inode) != 3)
		return -EINVAL;
	*ino = inode;
	return parse_address(names[0], family, local) ?: parse_address(names[1], family, peer);
}

int inet_proc_peer(int family, bool raw, uint64_t ino, union inet_addr *peer)
{
	const char *path = raw ? "/proc/net/raw" : "/proc/net/icmp";
	char line[512], v6[32];
	union inet_addr local;
	_cleanup_fclose_ FILE *f = NULL;
	uint64_t number;

	snprintf(v6, sizeof(v6), "%s6", path);
	f = fopen(family == AF_INET6 ? v6 : path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!inet_proc_parse_line(line, family, &number, &local, peer) && number == ino)
			return inet_addr_is_any(peer) ? -ENOENT : 0;
	return -ENOENT;
}

static bool has_socket(const char *pid, uint64_t ino)
{
	char path[300], link[64], want[64];
	bool found = false;
	struct dirent *e;
	DIR *dir;

	snprintf(want, sizeof(want), "socket:[%llu]", (unsigned long long)ino);
	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	dir = opendir(path);
	while (dir && !found && (e = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), e->d_name, link, sizeof(link) - 1);

		link[n < 0 ? 0 : n] = 0;
		found = !strcmp(link, want);
	}
	if (dir)
		closedir(dir);
	return found;
}

const char *inet_proc_holder(struct arena *a, uint64_t ino)
{
	const char *found = NULL;
	struct dirent *e;
	DIR *proc = opendir("/proc");

	while (proc && !found && (e = readdir(proc))) {
		char path[64], comm[32] = "?";
		FILE *f;

		if (!isdigit((unsigned char)e->d_name[0]) || !has_socket(e->d_name, ino))
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/comm", e->d_name);
		f = fopen(path, "re");
		if (f && fscanf(f, "%31[^\n]", comm) != 1)
			comm[0] = '?';
		if (f)
			fclose(f);
		found = arena_printf(a, "pid %s (%s)", e->d_name, comm);
	}
	if (proc)
		closedir(proc);
	return found;
}

const char *inet_proc_port_owner(struct arena *a, int protocol, uint16_t port)
{
	const char *name = protocol == IPPROTO_TCP ? "tcp" : protocol == IPPROTO_UDP ? "udp" : "udplite";
	union inet_addr local, peer;
	const char *found = NULL;
	char path[40], line[512];
	uint64_t ino;

	for (int v6 = 0; !found && v6 < 2; v6++) {
		_cleanup_fclose_ FILE *f = NULL;

		snprintf(path, sizeof(path), "/proc/net/%s%s", name, v6 ? "6" : "");
		f = fopen(path, "re");
		while (f && !found && fgets(line, sizeof(line), f))
			if (!inet_proc_parse_line(line, v6 ? AF_INET6 : AF_INET, &ino, &local, &peer) && ino &&
			    inet_addr_port(&local) == port)
				found = inet_proc_holder(a, ino);
	}
	return found;
}
