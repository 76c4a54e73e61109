#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# gzip in the middle of a file: what it makes of it is what it makes without a checkpoint.
# zdtm: real
# zdtm: frozen
# zdtm: iters 3
# zdtm: restores 2
# zdtm: flavour no pidns
. "$ZDTM/lib/lib.sh"

for i in 1 2 3; do
	seq $((i * 1000000)) $((i * 1000000 + 999999))
done > data
gzip -n < data > data.gz &
pid=$!
nap 0.3
[ -e "/proc/$pid" ] || fail "gzip is too fast for this test"
ready
wait_verify
wait "$pid"
check "gzip ended with $?" [ $? = 0 ]
check "what it made is not the data" cmp -s data <(gzip -dc data.gz)
pass
