#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# A program whose file was deleted, and a library too, as an upgrade leaves them: it runs on, and /proc still says so.
# zdtm: flavour ns
# zdtm: iters 2
# zdtm: restores 2
# zdtm: flavour no pidns
. "$ZDTM/lib/lib.sh"

cp "$(command -v sleep)" sleeper
cp "$(ldd sleeper | awk '/libc.so/ { print $3 }')" "$(basename "$(ldd sleeper | awk '/libc.so/ { print $3 }')")"
LD_LIBRARY_PATH=$PWD ./sleeper 1000 &
pid=$!
nap 0.3
lib=$(echo libc.so*)
grep -q "$PWD/$lib" "/proc/$pid/maps" || fail "the library is not mapped"
rm sleeper "$lib"
ready
wait_verify
check "it is gone" [ -e "/proc/$pid/status" ]
check "its executable is $(readlink "/proc/$pid/exe")" [ "$(readlink "/proc/$pid/exe")" = "$PWD/sleeper (deleted)" ]
grep -q "$PWD/$lib (deleted)" "/proc/$pid/maps" || fail "the library is not mapped"
check "the executable is another" cmp -s "/proc/$pid/exe" "$(command -v sleep)"
check "a name is back" [ ! -e sleeper ]
kill "$pid"
wait "$pid"
check "it ended with $?" [ $? = 143 ]
pass
