#!/bin/sh
# SPDX-License-Identifier: MIT
# telex send, listen, receive and talk; foreign peers on wire=lines; telex list.
group=tool_messages
. "$SOURCE/tests/tool/common.sh"
cd "$work" || exit 1
address=unix://$work/listen

# ---- send and listen ----

start_ready listen 1 listen "$address"
run send send "$address" one 'two words' '' three
check send_arguments "each argument is a message" all 'same 0 $status' 'silent send.out' 'silent send.err' 'printf "one\ntwo words\n\nthree\n" | cmp - "$work/listen.out"'
finish "$pid"
check sigterm "SIGTERM ends listen with 0" all 'same 0 $status' '[ ! -e "$work/listen" ]'

start_ready listen 1 listen "$address"
seq 20000 >"$work/lines"
printf 'no newline at the end' >>"$work/lines"
"$TELEX" send "$address" <"$work/lines" >"$work/send.out" 2>"$work/send.err"
status=$?
check send_lines "each line of stdin is a message, in order, none lost" all 'same 0 $status' '(cat "$work/lines"; echo) | cmp - "$work/listen.out"'
finish "$pid" INT
check sigint "SIGINT ends listen with 0" same 0 "$status"

start_ready listen 1 listen "$address"
seq 500 | "$TELEX" send --sync "$address" >"$work/send.out" 2>"$work/send.err"
check send_sync "by rendezvous: all are printed when send has returned" all 'seq 500 | cmp - "$work/listen.out"'
finish "$pid"

start_ready listen 1 listen --binary -n 1 "$address"
head -c 3000000 /dev/urandom >"$work/bytes"
"$TELEX" send --binary --sync "$address" <"$work/bytes"
status=$?
wait "$pid"
check binary "all of stdin is one message; -n 1 ends listen" all 'same 0 $status' 'cmp "$work/bytes" "$work/listen.out"'

start_ready listen 1 listen -n 3 "$address"
run send send "$address" 1 2 3 4 5
wait "$pid"
listen_status=$?
check count "-n 3 takes three; the sender learns of the others" all 'same 0 $listen_status' 'same "1 2 3 " "$(tr "\n" " " <"$work/listen.out")"' 'same 1 $status' 'says send.err "telex: 2 of 5 messages are not known to be taken"'

start_ready listen 2 listen "$address" tcp://127.0.0.1:0
"$TELEX" send "$(address listen 2)" tcp && "$TELEX" send "$address" unix
check several_addresses "listens at several addresses" same "tcp unix " "$(tr '\n' ' ' <"$work/listen.out")"

# send_to_stopped COMMAND ARGUMENT...: telex send, whose receiver is stopped after the first line; COMMAND gives the others
send_to_stopped() {
    others=$1
    shift
    (
        echo first
        soon 'grep -q first "$work/listen.out"'
        kill -STOP "$pid"
        eval "$others"
    ) | timeout 20 "$TELEX" send "$@" "$address" >"$work/send.out" 2>"$work/send.err"
    status=$?
    kill -CONT "$pid" 2>/dev/null
}
send_to_stopped 'yes | head -c 8000000 | tr "\n" x | fold -w 1000' --deadline 300ms
check send_deadline "the receiver is stopped: the deadline passes, and send counts" all 'same 3 $status' 'grep -Eq "telex: [0-9]+ of [0-9]+ messages are not known to be taken" "$work/send.err"'
finish "$pid"
start_ready listen 1 listen "$address"
send_to_stopped 'echo second' --deadline 300ms --sync
check send_sync_deadline "the same by rendezvous" all 'same 3 $status' 'says send.err "message 2 was not taken by the deadline"'
finish "$pid"
check send_withdrawn "what was withdrawn is never printed" same first "$(cat "$work/listen.out")"
start_ready listen 1 listen "$address"
send_to_stopped 'echo second; sleep 0.2; kill -9 "$pid"'
check send_killed "the receiver is killed" all 'same 1 $status' 'says send.err "1 of 2 messages are not known to be taken"'
wait "$pid" 2>/dev/null

start_ready listen 1 listen "$address"
check path_of_the_dead "the path of a killed listener is replaced" all 'kill -0 $pid'
printf 'good\nb\377d\n' | timeout 20 "$TELEX" send "$address" 2>"$work/send.err"
status=$?
check send_not_text "a line that is no UTF-8" all 'same 1 $status' 'says send.err "telex: "' 'soon "same good \"\$(cat \"$work/listen.out\")\""'
yes | head -c 3000 | tr -d '\n' | timeout 20 "$TELEX" send "$address?max=1000" 2>"$work/send.err"
status=$?
check send_too_long "a line longer than agreed" same 1 "$status"
run second listen "$address"
check second_listener "a second listener is refused" all 'same 1 $status' 'silent second.out' 'says second.err "telex: "'
finish "$pid"

timeout 20 "$TELEX" listen --deadline 200ms "$address" >"$work/listen.out" 2>"$work/listen.err"
status=$?
check listen_deadline "nobody comes: deadline" all 'same 3 $status' 'silent listen.out'
start quiet listen --quiet "$address"
soon 'unix_listening "$work/listen"'
run send send "$address" x
finish "$pid"
check quiet "--quiet says nothing on stderr" all 'same 0 $status' 'silent quiet.err' 'same x "$(cat "$work/quiet.out")"'
: >"$work/full.err"
"$TELEX" listen "$address" >/dev/full 2>>"$work/full.err" &
pid=$!
started="$started $pid"
soon 'listening full 1'
"$TELEX" send "$address" x 2>/dev/null
wait "$pid"
status=$?
check stdout_full "standard output is full: failure" all 'same 1 $status' 'says full.err "telex: standard output"'

# ---- receive and talk ----

# a server that says: starts talk --listen, which sends what it reads
mkfifo "$work/said"
start_speaker() {
    rm -f "$work/speaker.err"
    "$TELEX" talk --listen "unix://$work/speaker" "$@" <"$work/said" >"$work/speaker.out" 2>"$work/speaker.err" &
    speaker=$!
    started="$started $speaker"
    exec 3>"$work/said"
    soon 'listening speaker 1'
}

start_speaker
start receive receive "unix://$work/speaker"
printf 'one\ntwo\n' >&3
soon 'same 2 $(wc -l <"$work/receive.out") >/dev/null'
exec 3>&-
finish "$speaker"
speaker_status=$status
wait "$pid"
status=$?
check receive "prints what the peer sends, ends with it" all 'same 0 $status' 'same 0 $speaker_status' 'silent receive.err' 'printf "one\ntwo\n" | cmp - "$work/receive.out"'

start_speaker
printf 'one\ntwo\nthree\n' >&3
run receive receive -n 2 "unix://$work/speaker"
check receive_count "-n 2 takes two" all 'same 0 $status' 'printf "one\ntwo\n" | cmp - "$work/receive.out"'
exec 3>&-
wait "$speaker"
status=$?
check talk_untaken "the speaker learns that the third was not taken" all 'same 1 $status' 'says speaker.err "1 of 3 messages are not known to be taken"'

start_speaker
start receive receive -n 5 "unix://$work/speaker"
echo one >&3
soon '[ -s "$work/receive.out" ]'
finish "$speaker"
wait "$pid"
status=$?
exec 3>&-
check receive_too_few "the peer closes early" all 'same 1 $status' 'says receive.err "1 of 5"'

start_speaker
run receive receive --deadline 200ms "unix://$work/speaker"
check receive_deadline "nothing comes" all 'same 3 $status' 'silent receive.out'
exec 3>&-
wait "$speaker"
start_speaker
start receive receive "unix://$work/speaker"
soon '! [ -e "$work/speaker" ]'
finish "$pid"
check receive_sigterm "SIGTERM ends it with 0" same 0 "$status"
exec 3>&-
wait "$speaker"
start_speaker
start receive receive "unix://$work/speaker"
soon '! [ -e "$work/speaker" ]'
kill -9 "$speaker"
wait "$speaker" 2>/dev/null
wait "$pid"
status=$?
exec 3>&-
check receive_killed "the peer is killed: failure" all 'same 1 $status' 'says receive.err "telex: "'

start_speaker --sync
: >"$work/talk.out" # it is looked at before the talk has made it
(seq 1 50; sleep 0.5) | timeout 20 "$TELEX" talk --sync --deadline 1500ms "unix://$work/speaker" >"$work/talk.out" 2>"$work/talk.err" &
talker=$!
seq 51 100 >&3
soon 'same 50 $(wc -l <"$work/talk.out") >/dev/null'
soon 'same 50 $(wc -l <"$work/speaker.out") >/dev/null'
check talk_both_sync "two that talk by rendezvous at the same time both get on" all 'seq 1 50 | cmp - "$work/speaker.out"' 'seq 51 100 | cmp - "$work/talk.out"'
wait $talker
talker_status=$?
check talk_deadline "after the end of its input it listens on, until the deadline" same 3 $talker_status
exec 3>&-
wait "$speaker"
check talk_ends "it ends with 0 when the peer closes" same 0 $?

# ---- system calls ----

start_ready traced 1 listen "unix://$work/traced"
strace -f -e trace=sendto,sendmsg,write,writev -o "$work/trace" "$TELEX" send "unix://$work/traced" lone
check one_call "a lone message leaves in one system call: besides it only the greeting and the goodbye" \
    same 3 "$(grep -cE '(sendto|sendmsg)\(' "$work/trace")"
finish "$pid"

# ---- foreign peers ----

start_ready lines 2 listen "unix://$work/lines.socket?wire=lines" 'tcp://127.0.0.1:0?wire=lines'
printf 'a\nb\r\n' | timeout 10 nc -N -U "$work/lines.socket"
soon 'same 2 $(wc -l <"$work/lines.out") >/dev/null'
check lines_nc "nc sends lines" same "a b " "$(tr '\n' ' ' <"$work/lines.out")"
echo c | timeout 10 socat - "$(address lines 2 | sed 's|tcp://|TCP:|')"
check lines_socat "socat sends lines over tcp" soon 'grep -qx c "$work/lines.out"'
run send send "unix://$work/lines.socket?wire=lines" 'two
lines'
check lines_newline "a message with a newline is no line" all 'same 1 $status' 'says send.err "telex: "'
run send send --sync "unix://$work/lines.socket?wire=lines" x
check lines_sync "lines know no rendezvous" all 'same 1 $status' 'says send.err "telex: "'
finish "$pid"

start_ready deaf 1 listen "unix://$work/deaf?wire=lines"
printf 'whole\npart' | timeout 10 nc -N -U "$work/deaf"
check lines_unfinished "a line without its end is told of" soon 'says deaf.err "in the middle of a message" >/dev/null'
run send send "unix://$work/deaf" hello
check other_wire "a peer of another wire is turned away at once, and both are told" all '[ $status -ne 0 ]' 'says send.err "does it speak wire=telex"' \
    'says deaf.err "the peer speaks wire=telex"' 'same whole "$(cat "$work/deaf.out")"'
finish "$pid"

(exec "$TELEX" listen "unix://$work/silent?wire=lines" >"$work/silent.out" 2>"$work/silent.fifo") &
mkfifo "$work/silent.fifo" 2>/dev/null
silent=$!
started="$started $silent"
head -n 1 "$work/silent.fifo" >/dev/null
printf 'bad \377\n' | timeout 10 nc -N -U "$work/silent"
echo good | timeout 10 nc -N -U "$work/silent"
check notes_unread "who reads the notes may go: a peer cannot end the listener by that" soon 'grep -qx good "$work/silent.out"'
finish "$silent"

start_ready slow 1 listen "unix://$work/slow"
kill -STOP "$pid"
seq 400000 >"$work/many"
timeout 20 "$TELEX" send "unix://$work/slow?full=drop-newest" <"$work/many" >"$work/send.out" 2>"$work/send.err" &
sender=$!
sleep 0.5
kill -CONT "$pid"
wait $sender
status=$?
check send_dropped "what the queue's policy dropped was not sent" all 'same 1 $status' 'says send.err "were dropped"'
finish "$pid"

cat >"$work/peer.py" <<'END'
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
peer, _ = server.accept()
lines = peer.makefile("rw", newline="\n")
for line in lines:
    lines.write(line.upper())
    lines.flush()
END
timeout 20 python3 "$work/peer.py" "$work/python" &
python=$!
soon 'unix_listening "$work/python"'
run call call "unix://$work/python?wire=lines" 'ten lines of any language'
wait $python
check lines_python "a script of ten lines answers calls" all 'same 0 $status' 'same "TEN LINES OF ANY LANGUAGE" "$(cat "$work/call.out")"'

printf 'raw bytes' | timeout 10 nc -lN -U "$work/nc" >"$work/nc.out" &
nc=$!
soon 'unix_listening "$work/nc"'
printf 'as they come' | timeout 10 "$TELEX" talk --binary "unix://$work/nc?wire=raw" >"$work/talk.out" 2>"$work/talk.err"
wait $nc
check raw "wire=raw and a program that knows nothing of messages" all 'same "raw bytes" "$(cat "$work/talk.out")"'

# ---- list ----

start_ready first 2 listen "unix://$work/list-a" tcp://127.0.0.1:0
first=$pid
start_ready second 1 serve --echo "unix://$work/list-b"
second=$pid
run list list
check list "address, process and time of each living listener" all 'same 0 $status' 'silent list.err' 'same 4 $(wc -l <"$work/list.out")' \
    'head -n 1 "$work/list.out" | grep -Eqx "ADDRESS +PROCESS +SINCE"' \
    'grep -Eqx "unix://$work/list-a +$first telex +$(date +%Y)-[0-9]{2}-[0-9]{2}T[0-9:]{8}[+-][0-9]{4}" "$work/list.out"' \
    'grep -q "^$(address first 2) *$first " "$work/list.out"' 'grep -q "^unix://$work/list-b *$second " "$work/list.out"'
kill -9 $first
wait $first 2>/dev/null
run list list --quiet
check list_killed "what was killed with -9 is gone" all 'same 0 $status' 'same 1 $(wc -l <"$work/list.out")' 'says list.out "$work/list-b"'
finish $second
start_ready first 2 listen shm://list-c inproc://list-d
run list list --quiet
check list_dialable "what stands there can be dialled: a name in shared memory, but nothing within a process" all 'same 1 $(wc -l <"$work/list.out")' \
    '"$TELEX" send "$(cut -d " " -f 1 "$work/list.out")" hello' 'same hello "$(cat "$work/first.out")"'
finish $pid
run list list --quiet
check list_empty "nothing is left" all 'same 0 $status' 'silent list.out'

done_testing
