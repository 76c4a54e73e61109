#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# python3 -m http.server: listens, is restored, and serves again.
# zdtm: real
# zdtm: needs python3 curl
# zdtm: exclusive
# zdtm: iters 3
# zdtm: restores 2
# zdtm: flavour no pidns
. "$ZDTM/lib/lib.sh"

mkdir -p served
head -c 300000 /dev/urandom > served/file
python3 -u -m http.server --bind 127.0.0.1 --directory served 0 > log 2>&1 < /dev/null &
server=$!
until port=$(sed -n 's/.* port \([0-9]*\) .*/\1/p' log) && [ -n "$port" ]; do nap; done
get() { curl --silent --fail --max-time 20 "http://127.0.0.1:$port/file" | cmp -s - served/file; }
get || fail "it does not serve before the dump"
# Until what the request has left is gone: its connection would be dumped with it.
while ls -l /proc/$server/fd | grep -c 'socket:' | grep -qv '^1$'; do nap; done
ready
wait_verify
for i in 1 2 3; do
	get || fail "request $i after the restore"
done
kill $server
wait $server
pass
