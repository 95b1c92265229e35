#!/bin/sh
# SPDX-License-Identifier: MIT
# telex serve and telex call: echoes, commands, failures, deadlines, the end of a server.
group=tool_calls
. "$SOURCE/tests/tool/common.sh"
cd "$work" || exit 1

# ---- echo ----

start_ready echo 3 serve "unix://$work/echo" tcp://127.0.0.1:0 "unix://$work/echo-lines?wire=lines" --echo
echo_pid=$pid
check says_addresses "a line for each address, in order" same "unix://$work/echo" "$(address echo 1)"
check says_real_port "the real port" sh -c 'echo "$1" | grep -Eqx "tcp://127\.0\.0\.1:[1-9][0-9]*"' - "$(address echo 2)"

run call call "unix://$work/echo" 'to be or not'
check call "the reply and a newline on stdout, nothing on stderr" all 'same 0 $status' 'silent call.err' 'printf "to be or not\n" | cmp - "$work/call.out"'
run call call "$(address echo 2)" tcp
check call_tcp "over the port that was told" all 'same 0 $status' 'same tcp "$(cat "$work/call.out")"'

printf 'one\n\n' | "$TELEX" call "unix://$work/echo" - >"$work/call.out"
check call_stdin "stdin without one newline" all 'printf "one\n\n" | cmp - "$work/call.out"'
printf 'two' | "$TELEX" call "unix://$work/echo" >"$work/call.out"
check call_stdin_default "without MESSAGE it is stdin" same two "$(cat "$work/call.out")"
run call call "unix://$work/echo" ''
check call_empty "an empty message is a message" all 'same 0 $status' 'printf "\n" | cmp - "$work/call.out"'

i=0
while [ $i -lt 256 ]; do
    # shellcheck disable=SC2059 # the format is the byte
    printf "\\$(printf %03o $i)"
    i=$((i + 1))
done >"$work/bytes"
"$TELEX" call --binary "unix://$work/echo" - <"$work/bytes" >"$work/call.out"
check call_binary "all bytes, as they are" cmp "$work/bytes" "$work/call.out"
printf '\377' | "$TELEX" call "unix://$work/echo" >"$work/call.out" 2>"$work/call.err"
status=$?
check call_not_text "text that is no UTF-8" all 'same 1 $status' 'silent call.out'
seq 100000 >"$work/long"
"$TELEX" call "unix://$work/echo" <"$work/long" >"$work/call.out"
check call_long "600 kB" cmp "$work/long" "$work/call.out"
"$TELEX" call "unix://$work/echo?max=1000" <"$work/long" >"$work/call.out" 2>"$work/call.err"
status=$?
check call_too_long "longer than agreed" all 'same 1 $status' 'silent call.out'

(echo one; sleep 0.3; echo two) | "$TELEX" talk "unix://$work/echo" --deadline 1s >"$work/talk.out" 2>"$work/talk.err"
check echo_messages "plain messages are echoed, too" same "one two" "$(tr '\n' ' ' <"$work/talk.out" | sed 's/ $//')"

same_lines() { same "$(printf 'a\nb')" "$1"; }
check echo_nc "nc as a client on wire=lines" same_lines "$(printf 'a\nb\n' | timeout 10 nc -N -U "$work/echo-lines")"
check echo_socat "socat as a client on wire=lines" same_lines "$(printf 'a\r\nb\n' | timeout 10 socat - "UNIX-CONNECT:$work/echo-lines" | tr -d '\r')"
run call call "unix://$work/echo-lines?wire=lines" hello
check call_lines "telex itself as a client on wire=lines" all 'same 0 $status' 'same hello "$(cat "$work/call.out")"'

timeout 5 nc -N -U "$work/echo" </dev/null
echo 'no greeting' | timeout 5 nc -N -U "$work/echo" >/dev/null
run call call "unix://$work/echo" still
check strangers "peers that do not greet harm nobody" all 'same 0 $status' 'same still "$(cat "$work/call.out")"'

finish "$echo_pid"
check sigterm "SIGTERM ends the server with 0, its path is gone" all 'same 0 $status' '[ ! -e "$work/echo" ]' 'silent echo.out'
start_ready again 1 serve "unix://$work/echo" --echo
finish "$pid" INT
check sigint "SIGINT, too" same 0 "$status"
start_ready quiet 0 serve "unix://$work/quiet" --echo --quiet
soon '[ -S "$work/quiet" ]'
finish "$pid"
check quiet "nothing on stderr" all 'same 0 $status' 'silent quiet.err'

# ---- commands ----

cat >"$work/command" <<'END'
read -r line || :
case $line in
fail) exit 7 ;;
signal) kill -9 $$ ;;
slow) echo $$ >slow.pid; trap 'echo ended >slow.end; exit 1' TERM; sleep 10 & wait ;;
stubborn) trap '' TERM; echo >stubborn.log; sleep 3 & wait; wait ;;
later) echo start >>later.log; sleep 0.5; echo end >>later.log; echo late ;;
two) printf 'a\nb\n\n' ;;
nothing) ;;
deaf) exec <&-; echo deaf ;;
bad) printf '\377' ;;
loud) echo complaint >&2; echo fine ;;
files) ls /proc/self/fd | tr '\n' ' ' ;;
leaver) sleep 1 & echo gone ;;
*) echo "got $line" ;;
esac
END
start_ready command 2 serve "unix://$work/command.socket" "unix://$work/command.lines?wire=lines" -- sh "$work/command"
command_pid=$pid
command=unix://$work/command.socket

run call call "$command" hello
check command "the answer of the command" all 'same 0 $status' 'silent call.err' 'same "got hello" "$(cat "$work/call.out")"'
run call call "$command" two
check command_newline "one newline is stripped, one added" all 'same 0 $status' 'printf "a\nb\n\n" | cmp - "$work/call.out"'
run call call "$command" nothing
check command_empty "an empty answer" all 'same 0 $status' 'printf "\n" | cmp - "$work/call.out"'
(echo deaf; yes | head -c 3000000) >"$work/much"
timeout 10 "$TELEX" call "$command" <"$work/much" >"$work/call.out" 2>"$work/call.err"
check command_deaf "a command that does not read harms nobody" same deaf "$(cat "$work/call.out")"
run call call "$command" fail
check command_fails "a status other than 0" all 'same 4 $status' 'silent call.out' 'says call.err "sh ended with status 7"'
run call call "$command" signal
check command_signal "ended by a signal" all 'same 4 $status' 'says call.err "signal 9"'
run call call "$command" bad
check command_not_text "an answer that is no text" all 'same 4 $status' 'says call.err UTF-8'
run call call "$command" loud
check command_stderr "its stderr is the server's, not the reply's" all 'same fine "$(cat "$work/call.out")"' 'says command.err complaint'
run call call "$command" files
check command_descriptors "no descriptor leaks into it" same "$(echo files | sh "$work/command" 2>&2 | cat)" "$(cat "$work/call.out")"
run call call --deadline 900ms "$command" leaver
check command_leaves_child "what it leaves behind does not hold up the answer" all 'same 0 $status' 'same gone "$(cat "$work/call.out")"'

run call call --deadline 300ms "$command" slow
check deadline "the deadline passes" all 'same 3 $status' 'silent call.out' 'says call.err "telex: "'
check cancelled "a cancelled call ends its command" soon '[ -e "$work/slow.end" ]'
rm -f "$work/slow.pid" "$work/slow.end"
"$TELEX" call "$command" slow >/dev/null 2>&1 &
caller=$!
soon '[ -e "$work/slow.pid" ]'
kill -9 $caller
wait $caller 2>/dev/null
check caller_dies "so does the death of the caller" soon '[ -e "$work/slow.end" ]'

rm -f "$work/later.log"
pids=
for i in 1 2 3 4; do
    "$TELEX" call "$command" later >"$work/later.$i" 2>&1 &
    pids="$pids $!"
done
# shellcheck disable=SC2086 # a list of process ids
wait $pids
check several "four calls run at a time" all 'same "start start" "$(head -n 2 "$work/later.log" | tr "\n" " " | sed "s/ $//")"' 'same "late late late late" "$(cat "$work"/later.? | tr "\n" " " | sed "s/ $//")"'

check lines_nc "a script behind wire=lines" same "got hello" "$(echo hello | timeout 10 nc -N -U "$work/command.lines")"
timeout 10 nc -N -U "$work/command.lines" >"$work/call.out" <<'END'
fail
END
check lines_failure "wire=lines has no word for failure: the end" all 'silent call.out' 'says command.err "ended with status 7"'
run message send "$command" 'no call'
check message_dropped "a message that is no call is dropped with a note" soon 'says command.err "no call was dropped" >/dev/null'

rm -f "$work/later.log"
"$TELEX" call "$command" later >"$work/drained.out" 2>&1 &
caller=$!
soon '[ -s "$work/later.log" ]'
finish "$command_pid"
wait $caller
check drain "SIGTERM lets a command that runs come to its end" all 'same 0 $status' 'same late "$(cat "$work/drained.out")"'

start_ready twice 1 serve "unix://$work/twice" -- sh "$work/command"
rm -f "$work/later.log"
"$TELEX" call "unix://$work/twice" later >"$work/twice.reply" 2>&1 &
caller=$!
soon '[ -s "$work/later.log" ]'
kill -TERM "$pid"
finish "$pid" # as timeout(1) does: the process, then its group
wait $caller
check drain_twice "the same signal twice at once is one wish" all 'same 0 $status' 'same late "$(cat "$work/twice.reply")"'

rm -f "$work/slow.pid" "$work/slow.end"
start_ready hurry 1 serve "unix://$work/hurry" -- sh "$work/command"
"$TELEX" call "unix://$work/hurry" slow >/dev/null 2>&1 &
caller=$!
soon '[ -e "$work/slow.pid" ]'
kill -TERM "$pid"
sleep 0.6
finish "$pid" HUP
wait $caller
check drain_hurried "a second signal ends the commands, too" all 'same 129 $status' 'soon "ended $(cat "$work/slow.pid")"'

start_ready stopped 1 serve "unix://$work/stopped" -- sh "$work/command"
"$TELEX" call "unix://$work/stopped" later >"$work/stopped.reply" 2>&1 &
caller=$!
for i in 1 2 3 4 5; do
    kill -STOP $caller
    kill -CONT $caller
    sleep 0.02
done
wait $caller
check call_continued "a call that is stopped and continued waits on, and asks once" same late "$(cat "$work/stopped.reply")"
finish "$pid"

start_ready strict 1 serve "unix://$work/strict" --deadline 300ms -- sh "$work/command"
run call call "unix://$work/strict" later
check command_deadline "--deadline bounds the command" all 'same 4 $status' 'says call.err deadline'
"$TELEX" call "unix://$work/strict" stubborn >"$work/call.out" 2>"$work/call.err" &
caller=$!
soon '[ -e "$work/stubborn.log" ]'
finish "$pid"
wait $caller
caller_status=$?
check drain_deadline "and the drain: who still waits is told" all 'same 0 $status' 'same 4 $caller_status' 'silent call.out'

start_ready missing 1 serve "unix://$work/missing" -- "$work/no-such-command"
run call call "unix://$work/missing" hello
check command_missing "a command that cannot be run" all 'same 4 $status' 'says call.err "cannot be run"'
finish "$pid"

start_ready binary 1 serve --binary "unix://$work/binary" -- cat
"$TELEX" call --binary "unix://$work/binary" <"$work/bytes" >"$work/call.out"
check command_binary "--binary strips nothing" cmp "$work/bytes" "$work/call.out"
finish "$pid"

start_ready listen 1 listen "unix://$work/listen"
run call call "unix://$work/listen" hello
check no_handler "telex listen answers no calls" all 'same 4 $status' 'silent call.out'
finish "$pid"

# ---- ping ----

start_ready echo 1 serve tcp://127.0.0.1:0 --echo
run ping ping "$(address echo)" -n 20 -s 100 --json
check ping_json "one object, valid, and nothing else" all 'same 0 $status' 'silent ping.err' 'same 1 "$(wc -l <"$work/ping.out")"' 'python3 -c "
import json, sys
o = json.load(open(sys.argv[1]))
assert list(o) == [\"n\", \"size\", \"min_ns\", \"median_ns\", \"p99_ns\", \"max_ns\"], o
assert o[\"n\"] == 20 and o[\"size\"] == 100, o
assert 0 < o[\"min_ns\"] <= o[\"median_ns\"] <= o[\"p99_ns\"] <= o[\"max_ns\"], o
" "$work/ping.out"'
run ping ping "$(address echo)" -n 5 --sync
check ping_sync "by rendezvous" all 'same 0 $status' 'says ping.out "5 round trips of 64 bytes"'
run ping ping "$(address echo)" -n 1 -s 0
check ping_empty "of no bytes" all 'same 0 $status' 'says ping.out "1 round trip of 0 bytes"'
finish "$pid"
start_ready other 1 serve tcp://127.0.0.1:0 -- echo something else
run ping ping "$(address other)" -n 1
check ping_no_echo "a server that echoes something else" all 'same 1 $status' 'silent ping.out'
finish "$pid"

done_testing
