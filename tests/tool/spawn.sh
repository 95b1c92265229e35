#!/bin/sh
# SPDX-License-Identifier: MIT
# telex spawn: what goes in comes out, and the program's end is ours.
group=tool.spawn
. "${0%/*}/common.sh"

# fed INPUT NAME COMMAND...: runs telex with INPUT (a printf format) on standard input
fed() {
    fed_input=$1
    fed_name=$2
    shift 2
    # shellcheck disable=SC2059 # it is one
    printf "$fed_input" | timeout 20 "$TELEX" "$@" >"$work/$fed_name.out" 2>"$work/$fed_name.err"
    status=$?
}

fed 'b\nc\na\n' sorted spawn -- sort
check sort "the program must see the end of its input" all 'same 0 $status' 'same "a b c" "$(echo $(cat "$work/sorted.out"))"' 'silent sorted.err'
fed '6 7\n' product spawn -- awk '{ print $1 * $2; fflush() }'
check answers "the program's lines are printed" all 'same 0 $status' 'same 42 "$(cat "$work/product.out")"'
seq 200000 >"$work/numbers"
timeout 60 "$TELEX" spawn -- cat <"$work/numbers" >"$work/numbers.out" 2>"$work/numbers.err"
status=$?
check much "all lines arrive, both ways" all 'same 0 $status' 'cmp "$work/numbers" "$work/numbers.out"'
fed 'x' raw spawn wire=raw --binary -- wc -c
check raw "bytes without a newline on wire=raw" all 'same 0 $status' 'same 1 "$(echo $(cat "$work/raw.out"))"'

fed '' exits spawn -- sh -c 'echo done; exit 7'
check exit_status "the program's status" all 'same 7 $status' 'same done "$(cat "$work/exits.out")"'
fed '' killed spawn -- sh -c 'kill -9 $$'
check killed "128 and the signal, and a sentence" all 'same 137 $status' 'says killed.err "was killed by signal 9 (Killed)"'
fed '' closes spawn -- sh -c 'exec >&-; sleep 0.3; exit 4'
check closes_and_goes_on "its status is waited for" same 4 $status
seq 100000 | timeout 20 "$TELEX" spawn -- sh -c 'read one; echo $one; exit 5' >"$work/reads.out" 2>"$work/reads.err"
status=$?
check reads_no_more "a program that does not read on ends the talk" all 'same 5 $status' 'same 1 "$(cat "$work/reads.out")"'
fed '' daemon spawn -- sh -c 'exec 3<&0; sleep 30 <&3 2>&1 & echo $! >'"$work/daemon.pid"'; echo begun; exit 6'
check daemon "what it leaves running does not keep the channel open" all 'same 6 $status' 'same begun "$(cat "$work/daemon.out")"' 'kill "$(cat "$work/daemon.pid")"'
yes | timeout 20 "$TELEX" spawn --quiet -- sh -c 'yes 2>/dev/null & sleep 0.2; kill $!; exit 3' >"$work/floods.out" 2>"$work/floods.err"
status=$?
check floods "floods both ways" all 'same 3 $status' '[ -s "$work/floods.out" ]'

fed 'a\nlonger\n' unsaid spawn max=3 -- cat
check cannot_be_said "a program that waits for more input is told its end" all 'same 1 $status' 'same a "$(cat "$work/unsaid.out")"' 'says unsaid.err "message 2: "'
timeout 20 "$TELEX" spawn -- yes >/dev/full 2>"$work/unwritable.err" </dev/null
status=$?
check cannot_be_printed "a program that waits for room is not waited for" all 'same 1 $status' 'says unwritable.err "standard output: "'
fed '' nosuch spawn -- no-such-program
check no_program "127 and a sentence" all 'same 127 $status' 'says nosuch.err "no-such-program cannot be started: there is no such program"'
: >"$work/plain"
fed '' plain spawn -- "$work/plain"
check no_permission "126 and a sentence" all 'same 126 $status' 'says plain.err "Permission denied"'
fed '' nothing spawn
check no_command "a usage error" all 'same 2 $status' 'says nothing.err "COMMAND is missing"'
fed '' option spawn wire=morse -- true
check bad_option "a usage error" all 'same 2 $status' 'says option.err "no wire is called so"'
fed '' silent_one spawn wire=telex -- true
check greets_not "wire=telex wants telex_inherit()" all 'same 1 $status' 'says silent_one.err "exited with status 0 before it greeted"'
fed '' unended spawn -- printf hello
check unended "a line without its newline is told of, not only how the program ended" all 'same 1 $status' 'says unended.err "a line without its newline (wire=raw" "exited with status 0"'
fed '' late spawn wire=telex --deadline 200ms -- sleep 30
check greets_late "it is ended at the deadline" all 'same 3 $status' 'says late.err "it was ended: sleep"'
fed 'one\ntwo\n' worker spawn wire=telex --deadline 20s -- "$BUILD/examples/spawn" worker
check speaks_telex "a program with telex_inherit()" all 'same 0 $status' 'same "one two" "$(echo $(cat "$work/worker.out"))"'

mkfifo "$work/open"
"$TELEX" spawn -- sh -c 'trap "exit 9" TERM; echo $$ >'"$work/trapped"'; while :; do sleep 0.05; done' <"$work/open" >"$work/signal.out" 2>"$work/signal.err" &
pid=$!
started="$started $pid"
exec 3>"$work/open"
soon '[ -s "$work/trapped" ]'
finish $pid
exec 3>&-
check signal "a signal is passed on, and the program's status comes back" same 9 $status

done_testing
