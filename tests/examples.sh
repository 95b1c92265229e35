#!/bin/sh
# SPDX-License-Identifier: MIT
# The examples serve what their comments say, each from the loop that it lives in.
set -u
work=$(mktemp -d) || exit 1
server=
trap 'kill $server 2>/dev/null; rm -rf "$work"' EXIT
status=0

# The example keeps serving while its stdin is open, or for 3 seconds.
serves() {
    mkfifo "$work/$1.in"
    "$BUILD/examples/$1" "unix://$work/$1" 3 <"$work/$1.in" >"$work/$1.out" 2>&1 &
    server=$!
    exec 3>"$work/$1.in"
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        grep -q 'listening on' "$work/$1.out" && break
        sleep 0.1
    done
    said=$("$TELEX" call "unix://$work/$1" 'one two' && "$TELEX" call "unix://$work/$1" three)
    exec 3>&-
    wait $server
    ended=$?
    server=
    if [ "$said" = "one two
three" ] && [ $ended -eq 0 ]; then
        echo "ok examples.$1"
    else
        echo "not ok examples.$1 # answered '$said', ended with $ended"
        cat "$work/$1.out"
        status=1
    fi
}

# Loans, over memory that both have and over a socket.
lends() {
    "$BUILD/examples/loan_consumer" "$2" >"$work/$1.out" 2>&1 &
    server=$!
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        "$TELEX" list --quiet | grep -q "^${2%%\?*} " && break
        sleep 0.1
    done
    "$BUILD/examples/loan_producer" "$2" >"$work/producer.out" 2>&1
    produced=$?
    wait $server
    ended=$?
    server=
    # 640 x 480 x 3 bytes of each number below 100
    if [ "$(cat "$work/$1.out")" = "100 pictures, 4561920000 of light" ] && [ $ended -eq 0 ] && [ $produced -eq 0 ]; then
        echo "ok examples.$1"
    else
        echo "not ok examples.$1 # ended with $produced and $ended"
        cat "$work/$1.out" "$work/producer.out"
        status=1
    fi
}

lends loan_in_shared_memory 'shm://pictures?arena=16MiB'
lends loan_in_a_small_arena 'shm://pictures?arena=2MiB'
lends loan_over_a_socket "unix://$work/pictures"
serves server_in_poll
if [ -x "$BUILD/examples/server_in_libuv" ]; then
    serves server_in_libuv
else
    echo "ok examples.server_in_libuv # skip: libuv is not here"
fi
said=$("$BUILD/examples/spawn" 2>&1)
if [ "$said" = "the worker says: how are you?" ]; then
    echo "ok examples.spawn"
else
    echo "not ok examples.spawn # said '$said'"
    status=1
fi
exit $status
