#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# inotifywait (inotify-tools) watches a tree of directories through checkpoints, and tells of each file that comes and
# goes, before and after.
# zdtm: real
# zdtm: iters 3
# zdtm: needs inotifywait
# zdtm: flavour no pidns
. "$ZDTM/lib/lib.sh"

said() {
	for _ in $(seq 500); do
		grep -qx "$1" said && return
		nap
	done
	return 1
}

mkdir -p watched/a/b
inotifywait -m -r -q -e create,delete,close_write --format '%e %w%f' watched > said &
pid=$!
for _ in $(seq 500); do
	[ "$(grep -c '^inotify wd' /proc/$pid/fdinfo/3 2>/dev/null)" = 3 ] && break
	nap
done
: > watched/a/before
said 'CLOSE_WRITE,CLOSE watched/a/before' || fail "it says nothing"
ready
wait_verify
: > watched/a/b/after
check "a new file" said 'CREATE watched/a/b/after'
rm watched/a/before
check "a file that goes" said 'DELETE watched/a/before'
mkdir watched/new
check "a new directory" said 'CREATE,ISDIR watched/new'
for _ in $(seq 500); do
	[ "$(grep -c '^inotify wd' /proc/$pid/fdinfo/3 2>/dev/null)" = 4 ] && break
	nap
done
: > watched/new/file
check "a file in the new directory" said "CLOSE_WRITE,CLOSE watched/new/file"
kill "$pid"
wait "$pid"
check "more than that: $(cat said)" [ "$(wc -l < said)" = 8 ]
pass
