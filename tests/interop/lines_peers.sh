#!/bin/bash
# SPDX-License-Identifier: MIT
# Peers that know nothing of telex, on wire=lines: nc, socat, ten lines of Python. They ask, they are asked, they listen and they dial, over
# unix and tcp; with CR LF, several lines in one write, a last line without its end.
#
# lines_peers.sh [--list] [NAME...]; TELEX is the path of the telex command.
set -u
limit=$((15 * ${TESTING_SLOW:-1}))
work=
jobs_started=()
status=0

# Starts "$@" in the background, its output in $work/NAME.out and .err; input from $work/NAME.in, if that is there.
start() {
    local name=$1 from=/dev/null
    shift
    [ -e "$work/$name.in" ] && from=$work/$name.in
    "$@" <"$from" >"$work/$name.out" 2>"$work/$name.err" &
    started=$!
    jobs_started+=($started)
}

fail() {
    why="$*"
    return 1
}

# until_true COMMAND...: tries until it succeeds, at most 10 s.
until_true() {
    for _ in $(seq 200); do
        "$@" && return 0
        sleep 0.05
    done
    fail "never came: $*"
}

# What an awaited process ended with; at most $limit s.
ended() {
    timeout "$limit" tail --pid="$1" -f /dev/null || { fail "process did not end"; return 1; }
    wait "$1"
}

equal() {
    [ "$1" = "$2" ] || fail "$(printf '%q instead of %q' "$1" "$2" | head -c 300)"
}

# Starts telex $3... as $1, waits until it listens at $2 addresses, and sets `port` to that of the one over tcp.
listens() {
    local name=$1 count=$2
    shift 2
    start "$name" "$TELEX" "$@"
    until_true has_lines "$work/$name.err" "$count" || return 1
    port=$(sed -n 's|.*listening on tcp://127.0.0.1:\([0-9]*\).*|\1|p' "$work/$name.err")
}

has_lines() {
    [ "$(grep -c 'listening on' "$1" 2>/dev/null)" -ge "$2" ]
}

# A server over both media that answers in capitals, a line each.
shouts() {
    listens server 2 serve "unix://$work/socket?wire=lines" "tcp://127.0.0.1:0?wire=lines" -- tr a-z A-Z
}
echoes() {
    listens server 2 serve "unix://$work/socket?wire=lines" "tcp://127.0.0.1:0?wire=lines" --echo
}

# Each way to reach the server: reads lines on stdin, ends its direction, prints what comes until the end.
ask_with() {
    case $1 in
    nc-unix) timeout "$limit" nc -N -U "$work/socket" ;;
    nc-tcp) timeout "$limit" nc -N 127.0.0.1 "$port" ;;
    socat-unix) timeout "$limit" socat -t "$limit" - "UNIX-CONNECT:$work/socket" ;;
    socat-tcp) timeout "$limit" socat -t "$limit" - "TCP:127.0.0.1:$port" ;;
    python-unix) timeout "$limit" python3 -c "$python" unix "$work/socket" ;;
    python-tcp) timeout "$limit" python3 -c "$python" tcp 127.0.0.1 "$port" ;;
    esac
}
ways="nc-unix nc-tcp socat-unix socat-tcp python-unix python-tcp"

# The promised ten lines: a peer in Python.
python='
import socket, sys
if sys.argv[1] == "unix":
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(sys.argv[2])
else:
    stream = socket.create_connection((sys.argv[2], int(sys.argv[3])))
stream.sendall(sys.stdin.buffer.read())
stream.shutdown(socket.SHUT_WR)
for line in stream.makefile("rb"):
    sys.stdout.buffer.write(line)
'

# ---- telex serves ----

asked() {
    shouts || return 1
    for way in $ways; do
        equal "$(echo hello | ask_with $way)" HELLO || { why="$way: $why"; return 1; }
    done
}

answers_in_order() {
    shouts || return 1
    for way in $ways; do
        equal "$(printf 'one\ntwo\n\nfour\nfive\n' | ask_with $way)" "$(printf 'ONE\nTWO\n\nFOUR\nFIVE')" || { why="$way: $why"; return 1; }
    done
}

thousands_of_lines() {
    echoes || return 1
    seq 20000 >"$work/lines"
    for way in nc-unix nc-tcp socat-unix socat-tcp; do
        ask_with $way <"$work/lines" | cmp - "$work/lines" || { fail "$way: the lines came back otherwise"; return 1; }
    done
}

carriage_returns() {
    shouts || return 1
    for way in $ways; do
        equal "$(printf 'one\r\ntwo\n\r\nin\rside\r\n' | ask_with $way | od -An -c | tr -s ' \n' ' ')" ' O N E \n T W O \n \n I N \r S I D E \n ' || { why="$way: $why"; return 1; }
    done
}

# What has its end is answered; the line without one is no message.
unfinished_line() {
    shouts || return 1
    for way in $ways; do
        equal "$(printf 'whole\nhalf' | ask_with $way)" WHOLE || { why="$way: $why"; return 1; }
    done
    equal "$(echo alive | ask_with nc-unix)" ALIVE
}

# A conversation: the next line only once the answer to the one before is there.
taking_turns() {
    shouts || return 1
    for kind in unix tcp; do
        if [ $kind = unix ]; then
            coproc PEER { nc -U "$work/socket" 2>&1; }
        else
            coproc PEER { nc 127.0.0.1 "$port" 2>&1; }
        fi
        local peer=$PEER_PID
        for word in one two three; do
            echo $word >&"${PEER[1]}"
            read -r -t "$limit" answer <&"${PEER[0]}" || { fail "$kind: no answer to $word"; return 1; }
            equal "$answer" "${word^^}" || return 1
        done
        kill "$peer"
        wait "$peer" 2>/dev/null
    done
    return 0
}

long_lines() {
    echoes || return 1
    head -c 3000000 /dev/zero | tr '\0' x >"$work/long"
    echo >>"$work/long"
    for way in nc-unix socat-tcp python-tcp; do
        ask_with $way <"$work/long" | cmp - "$work/long" || { fail "$way: the long line came back otherwise"; return 1; }
    done
}

# Lines that break the rules end their channel, and only that.
broken_rules() {
    listens server 2 serve "unix://$work/socket?wire=lines&max=1000" "tcp://127.0.0.1:0?wire=lines&max=1000" --echo || return 1
    for way in $ways; do
        equal "$(printf 'good\n\303\050\nnever\n' | ask_with $way 2>/dev/null)" good || { why="$way, bad UTF-8: $why"; return 1; }
        equal "$(head -c 5000 /dev/zero | tr '\0' x | ask_with $way 2>/dev/null)" "" || { why="$way, too long: $why"; return 1; }
        equal "$(echo alive | ask_with $way)" alive || { why="$way, afterwards: $why"; return 1; }
    done
}

# Peers that say nothing, or half a line, delay nobody.
silent_peers() {
    shouts || return 1
    mkfifo "$work/never" "$work/half"
    sleep 1000 >"$work/never" &
    jobs_started+=($!)
    sh -c 'printf half; exec sleep 1000' >"$work/half" &
    jobs_started+=($!)
    for _ in 1 2 3; do
        nc -U "$work/socket" <"$work/never" >/dev/null &
        jobs_started+=($!)
        nc 127.0.0.1 "$port" <"$work/half" >/dev/null &
        jobs_started+=($!)
    done
    sleep 0.2
    equal "$(echo quick | timeout 3 nc -N 127.0.0.1 "$port")" QUICK
}

# ---- telex listens ----

listen_prints() {
    listens listener 2 listen -n 4 "unix://$work/socket?wire=lines" "tcp://127.0.0.1:0?wire=lines" || return 1
    local listener=$started
    printf 'one\r\n' | nc -N -U "$work/socket"
    until_true grep -q one "$work/listener.out" || return 1
    echo two | socat - "TCP:127.0.0.1:$port"
    until_true grep -q two "$work/listener.out" || return 1
    printf '\nfour\n' | ask_with python-tcp
    ended "$listener" || { fail "listen ended with $?"; return 1; }
    equal "$(cat "$work/listener.out")" "$(printf 'one\ntwo\n\nfour')"
}

# ---- telex dials ----

# Who listens, as $1: prints what comes to $work/peer.out; what is in $work/peer.in goes to telex. Sets `address`.
foreigner_listens() {
    address="unix://$work/foreign?wire=lines"
    port=$((20000 + RANDOM % 10000))
    case $1 in
    nc-unix) start peer nc -N -l -U "$work/foreign" ;;
    socat-unix) start peer socat -t "$limit" - "UNIX-LISTEN:$work/foreign" ;;
    nc-tcp)
        address="tcp://127.0.0.1:$port?wire=lines"
        start peer nc -N -l 127.0.0.1 "$port"
        ;;
    socat-tcp)
        address="tcp://127.0.0.1:$port?wire=lines"
        start peer socat -t "$limit" - "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr"
        ;;
    esac
    peer=$started
    case $1 in
    *-unix) until_true unix_listening "$work/foreign" ;;
    *) until_true listening_at "$port" ;;
    esac
}

# Bound and listening: a path is there as soon as it is bound.
unix_listening() {
    awk -v path="$1" '$4 == "00010000" && $8 == path { found = 1 } END { exit !found }' /proc/net/unix
}

# Looks without connecting: the foreigner accepts but once.
listening_at() {
    grep -qi "^ *[0-9]*: 0100007F:$(printf %04X "$1") 00000000:0000 0A" /proc/net/tcp
}

sent() {
    for way in nc-unix nc-tcp socat-unix socat-tcp; do
        foreigner_listens $way || return 1
        "$TELEX" send "$address" one '' 'dreißig' || { fail "$way: telex send ended with $?"; return 1; }
        ended "$peer"
        equal "$(cat "$work/peer.out")" "$(printf 'one\n\ndreißig')" || { why="$way: $why"; return 1; }
        rm -f "$work/foreign"
    done
}

received() {
    printf 'one\r\ntwo\n\nfour\n' >"$work/peer.in"
    for way in nc-unix nc-tcp socat-unix socat-tcp; do
        foreigner_listens $way || return 1
        equal "$("$TELEX" receive -n 4 "$address")" "$(printf 'one\ntwo\n\nfour')" || { why="$way: $why"; return 1; }
        ended "$peer"
        rm -f "$work/foreign"
    done
}

# The foreigner ends in the middle of a line: a broken channel, not an end in order.
received_in_part() {
    printf 'one\nhal' >"$work/peer.in"
    for way in nc-unix nc-tcp socat-unix socat-tcp; do
        foreigner_listens $way || return 1
        said=$("$TELEX" receive "$address" 2>"$work/receive.err")
        local ended_with=$?
        equal "$said" one || { why="$way: $why"; return 1; }
        [ $ended_with -eq 1 ] || { fail "$way: telex receive ended with $ended_with"; return 1; }
        grep -q 'middle of a message' "$work/receive.err" || { fail "$way: it said $(cat "$work/receive.err")"; return 1; }
        kill "$peer" 2>/dev/null
        wait "$peer" 2>/dev/null
        rm -f "$work/foreign"
    done
}

# The foreigner answers each line with another one.
called() {
    start peer socat "UNIX-LISTEN:$work/foreign,fork" 'EXEC:sed -u y/abc/xyz/'
    until_true unix_listening "$work/foreign" || return 1
    for _ in 1 2 3; do
        equal "$("$TELEX" call "unix://$work/foreign?wire=lines" 'abc abc')" 'xyz xyz' || return 1
    done
}

# It never answers: the call ends at its deadline.
called_in_vain() {
    start peer socat "UNIX-LISTEN:$work/foreign" 'SYSTEM:cat >/dev/null'
    until_true unix_listening "$work/foreign" || return 1
    "$TELEX" call --deadline 300ms "unix://$work/foreign?wire=lines" anybody >/dev/null 2>&1
    equal $? 3
}

# ---- running ----

cases="asked answers_in_order thousands_of_lines carriage_returns unfinished_line taking_turns long_lines broken_rules silent_peers listen_prints
sent received received_in_part called called_in_vain"

if [ "${1-}" = --list ]; then
    printf 'lines.%s\n' $cases
    exit 0
fi

clean_up() {
    [ ${#jobs_started[@]} -eq 0 ] || kill "${jobs_started[@]}" 2>/dev/null
    wait 2>/dev/null
    jobs_started=()
    [ -z "$work" ] || rm -rf "$work"
    work=
}
trap clean_up EXIT

for name in ${*:-$cases}; do
    work=$(mktemp -d) || exit 1
    export XDG_RUNTIME_DIR=$work
    why=
    if $name; then
        echo "ok lines.$name"
    else
        echo "not ok lines.$name # $(echo "$why" | tr '\n' ' ')"
        status=1
    fi
    clean_up
done
exit $status
