# SPDX-License-Identifier: MIT
# What the tests of the command share. Sourced with the name of the group in $group; $TELEX is the command.
set -u
work=$(mktemp -d) || exit 1
XDG_RUNTIME_DIR=$work/run
TMPDIR=$work/tmp
export XDG_RUNTIME_DIR TMPDIR
mkdir -m 700 "$XDG_RUNTIME_DIR" "$TMPDIR"
started=
failures=0

clean_up() {
    for one in $started; do
        kill -9 "$one" 2>/dev/null
    done
    rm -rf "$work"
}
trap clean_up EXIT

# check NAME WHY COMMAND...: one case, ok when COMMAND succeeds
check() {
    case_name=$1
    case_why=$2
    shift 2
    if "$@" >"$work/check" 2>&1; then
        echo "ok $group.$case_name"
    else
        echo "not ok $group.$case_name # $case_why"
        cat "$work/check"
        for file in "$work"/*.err; do
            [ ! -s "$file" ] || sed "s|^|${file##*/}: |" "$file"
        done
        failures=$((failures + 1))
    fi
}

# run NAME COMMAND...: runs telex, at most 20 s; its output is in NAME.out and NAME.err, its exit status in $status
run() {
    run_name=$1
    shift
    timeout 20 "$TELEX" "$@" >"$work/$run_name.out" 2>"$work/$run_name.err"
    status=$?
}

# start NAME COMMAND...: telex in the background, its process id in $pid
start() {
    start_name=$1
    shift
    rm -f "$work/$start_name.out" "$work/$start_name.err" # what is waited for must not be found in old ones
    : >"$work/$start_name.err"
    : >"$work/$start_name.out"
    "$TELEX" "$@" >>"$work/$start_name.out" 2>>"$work/$start_name.err" </dev/null &
    pid=$!
    started="$started $pid"
}

# start_ready NAME COUNT COMMAND...: the same, and waits until it listens on COUNT addresses
start_ready() {
    ready_name=$1
    ready_count=$2
    shift 2
    start "$ready_name" "$@"
    soon "listening $ready_name $ready_count"
}

listening() { # NAME COUNT
    [ "$(grep -c '^listening on ' "$work/$1.err")" -ge "$2" ]
}

# The address that NAME listens on (the first, or number $2)
address() {
    sed -n 's/^listening on //p' "$work/$1.err" | sed -n "${2:-1}p"
}

# soon COMMAND: tries for at most 10 s until it succeeds
soon() {
    tries=0
    until eval "$1"; do
        tries=$((tries + 1))
        [ $tries -lt 500 ] || return 1
        sleep 0.02
    done
}

unix_listening() { # PATH: somebody listens there, and not only has bound it
    awk -v path="$1" '$4 == "00010000" && $8 == path { found = 1 } END { exit !found }' /proc/net/unix
}

ended() { # PID: it has, whether or not anybody waited for it
    ! grep -q '^State:[[:space:]]*[^Z]' "/proc/$1/status" 2>/dev/null
}

# finish PID [SIGNAL]: ends the process, its exit status in $status; one that does not end is killed
finish() {
    kill "-${2:-TERM}" "$1"
    soon "ended $1" || kill -9 "$1"
    wait "$1"
    status=$?
}

same() { # EXPECTED GOT
    [ "$1" = "${2-}" ] || { echo "expected '$1', got '${2-}'"; false; }
}

says() { # FILE TEXT: the file has the text
    grep -qF -- "$2" "$work/$1" || { echo "no '$2' in $1:"; cat "$work/$1"; false; }
}

silent() { # FILE: it is empty
    [ ! -s "$work/$1" ] || { echo "$1 should be empty:"; cat "$work/$1"; false; }
}

# both 'A' 'B' ...: all of them succeed
all() {
    for condition in "$@"; do
        eval "$condition" || { echo "failed: $condition"; return 1; }
    done
}

done_testing() {
    [ $failures -eq 0 ]
    exit
}
