#!/bin/sh
# SPDX-License-Identifier: MIT
# telex demo: small files, hard files, a wc that lies, and what is left behind.
group=tool_demo
. "$SOURCE/tests/tool/common.sh"
cd "$work" || exit 1

seq 30000 >numbers
printf 'caf\303\251 \342\200\223 na\303\257ve \302\240 \001 x\001y\n\ttab\vvertical\fform\r\n' >hard
: >empty
head -c 100000 /dev/urandom >bytes

right() { # ROWS: so many rows of $work/demo.out say ok, none WRONG, and a worker was killed in each
    all "same 0 \$status" "same $1 \$(grep -c ' ok\$' \"\$work/demo.out\")" '! grep -q WRONG "$work/demo.out"' "grep -Eq '^$1 workers? (was|were) killed' \"\$work/demo.out\""
}

run demo demo --workers 3 numbers
check files "all media, both modes, three workers, one killed" all 'right 8' 'silent demo.err' \
    'grep -Eq "^medium +mode +messages +messages/s +median round trip +1 worker against 3 +check$" "$work/demo.out"' \
    'grep -Eq "^shm +asynchronous " "$work/demo.out"' 'grep -Eq "^shm +synchronous " "$work/demo.out"' \
    'grep -Eq "^unix +asynchronous " "$work/demo.out"' 'grep -Eq "^unix +synchronous " "$work/demo.out"' \
    'grep -Eq "^pipe +asynchronous " "$work/demo.out"' 'grep -Eq "^pipe +synchronous " "$work/demo.out"' \
    'grep -Eq "^tcp +asynchronous " "$work/demo.out"' 'grep -Eq "^tcp +synchronous " "$work/demo.out"'
run demo demo unix --workers 1 numbers
check one_worker "a single worker is replaced" right 2
run demo demo shm --workers 1 numbers
check one_worker_shm "the same in shared memory" right 2
run demo demo tcp --workers 2 numbers hard empty bytes numbers
check hard_files "bytes that cannot be printed, empty files, the same file twice" right 2
run demo demo unix empty
check no_words "no words at all" right 2

mkdir bin
printf '#!/bin/sh\necho 30001\n' >bin/wc
chmod +x bin/wc
PATH=$work/bin:$PATH "$TELEX" demo unix numbers >demo.out 2>demo.err
status=$?
check wrong "another total than that of wc -w is an error" all 'same 1 $status' 'same 2 $(grep -c WRONG "$work/demo.out")' 'says demo.err "telex: "'

run demo demo unix "$work/no-such-file"
check missing_file "a file that is not there" all 'same 1 $status' 'silent demo.out' 'says demo.err no-such-file'
run demo demo quic
check unknown_medium "neither a medium nor a file" all 'same 1 $status' 'silent demo.out' 'says demo.err quic'

start demo demo unix numbers
soon 'grep -q ^medium "$work/demo.out"'
finish "$pid"
check signal "SIGTERM ends it, as the signal does" all 'same 143 $status'
check left_behind "no directory and no name is left" all 'same "" "$(ls "$TMPDIR")"' 'same "" "$(ls "$XDG_RUNTIME_DIR/telex" | grep "\.shm")"'

if [ -d /usr/share/common-licenses ]; then
    run demo demo --quiet unix
    check default_files "the default text" all 'same 0 $status' 'same 2 $(grep -c " ok\$" "$work/demo.out")'
fi

done_testing
