#!/bin/sh
# SPDX-License-Identifier: MIT
# telex tap between programs of every kind, over every medium. What peers see of it frame by frame is in tap_peers.py.
group=tool_tap
. "$SOURCE/tests/tool/common.sh"
cd "$work" || exit 1

# logged LOG EXPRESSION: a Python expression about `events`, the objects in LOG, and their `names` is true, soon
logged() {
    python3 -c '
import json, sys, time
until = time.monotonic() + 10
while True:
    events = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8") if line.endswith("\n")]
    names = [event["event"] for event in events]
    if eval(sys.argv[2]) or time.monotonic() > until:
        break
    time.sleep(0.02)
sys.exit(0 if eval(sys.argv[2]) else 1)' "$work/$1" "$2" || { echo "not true: $2"; cat "$work/$1"; false; }
}

cat >command <<'END'
read -r line || :
case $line in
fail) exit 7 ;;
slow) echo $$ >slow.pid; trap 'echo ended >slow.end; exit 1' TERM; sleep 10 & wait ;;
*) echo "got $line" ;;
esac
END

start_ready words 4 serve "unix://$work/words" shm://words tcp://127.0.0.1:0 'tcp://127.0.0.1:0?wire=lines' -- sh "$work/command"
tcp_words=$(address words 3)
lines_words=$(address words 4)
start_ready echo 3 serve "unix://$work/echo" shm://echo tcp://127.0.0.1:0 --echo
tcp_echo=$(address echo 3)

# ---- calls, over every medium and between them ----

calls() { # NAME, NEW-ADDRESS, address of words
    start_ready "tap_$1" 1 tap --json "$2" "$3"
    new=$(address "tap_$1")
    run call call "$new" hello
    check "$1_call" "a call and its reply" all 'same 0 $status' 'same "got hello" "$(cat call.out)"'
    run call call "$new" fail
    check "$1_fail" "a failure, with its sentence" all 'same 4 $status' 'says call.err "sh ended with status 7"'
    rm -f slow.pid slow.end
    run call call --deadline 400ms "$new" slow
    check "$1_cancel" "a call that is given up ends the command" all 'same 3 $status' 'soon "[ -e slow.end ]"'
    check "$1_log" "call, reply, fail and cancel are in the log" all "logged tap_$1.out 'names.count(\"close\") == 3'" \
        "logged tap_$1.out '[e[\"text\"] for e in events if e[\"event\"] == \"call\"] == [\"hello\", \"fail\", \"slow\"]'" \
        "logged tap_$1.out '[(e[\"text\"], e[\"request\"]) for e in events if e[\"event\"] == \"reply\"] == [(\"got hello\", 1)]'" \
        "logged tap_$1.out '[(e[\"code\"], e[\"sentence\"]) for e in events if e[\"event\"] == \"fail\"][0] == (\"failed\", \"sh ended with status 7\")'" \
        "logged tap_$1.out '\"cancel\" in names'"
    finish "$pid"
    check "$1_ends" "SIGTERM ends it with 0" same 0 "$status"
}
calls unix "unix://$work/tap" "unix://$work/words"
check unix_path_gone "its path is gone" [ ! -e "$work/tap" ]
calls tcp tcp://127.0.0.1:0 "$tcp_words"
calls shm shm://tap shm://words
calls unix_to_tcp "unix://$work/tap" "$tcp_words"
calls shm_to_unix shm://tap "unix://$work/words"
calls tcp_to_shm tcp://127.0.0.1:0 shm://words

# ---- messages, synchronous ones, long ones ----

seq 1000 >numbers
head -c 3000000 /dev/urandom >bytes

messages() { # NAME, NEW-ADDRESS, address to listen at
    start_ready "listen_$1" 1 listen "$3" -n 1000
    listener=$pid
    start_ready "tap_$1" 1 tap --json "$2" "$(address "listen_$1")"
    new=$(address "tap_$1")
    timeout 20 "$TELEX" send "$new" <numbers
    sent=$?
    wait "$listener"
    check "$1_messages" "a thousand, in order" all 'same 0 $sent' "cmp numbers 'listen_$1.out'"
    check "$1_messages_log" "all of them are in the log" logged "tap_$1.out" '[e["text"] for e in events if e["event"] == "message"] == [str(i) for i in range(1, 1001)]'
    finish "$pid"
    start_ready "bytes_$1" 1 listen --binary "$3" -n 1
    listener=$pid
    start_ready "tap_$1" 1 tap "$2" "$(address "bytes_$1")"
    timeout 20 "$TELEX" send --binary --sync "$(address "tap_$1")" <bytes
    sent=$?
    wait "$listener"
    check "$1_long" "3 MB of anything, by rendezvous" all 'same 0 $sent' "cmp bytes 'bytes_$1.out'"
    check "$1_long_log" "the line tells its size, and that it was taken" all "soon 'grep -q \"> message   1 sync  *binary  3000000\" tap_$1.out'" "soon 'grep -q \"< taken     1\" tap_$1.out'"
    finish "$pid"
}
messages unix "unix://$work/tap" "unix://$work/listen"
messages tcp tcp://127.0.0.1:0 tcp://127.0.0.1:0
messages shm shm://tap shm://listen

echoes() { # NAME, NEW-ADDRESS, address of echo
    start_ready "tap_$1" 1 tap "$2" "$3"
    run ping ping -n 200 --json "$(address "tap_$1")"
    check "$1_ping" "round trips of calls" all 'same 0 $status' 'says ping.out "\"n\": 200"'
    run ping ping -n 200 --sync --json "$(address "tap_$1")"
    check "$1_ping_sync" "round trips of synchronous messages" all 'same 0 $status' 'says ping.out "\"n\": 200"'
    finish "$pid"
}
echoes unix "unix://$work/tap" "unix://$work/echo"
echoes tcp tcp://127.0.0.1:0 "$tcp_echo"
echoes shm shm://tap shm://echo

# A listener that is stopped takes nothing, and the sender is not told otherwise.
start_ready stopped 1 listen "unix://$work/stopped"
stopped=$pid
start_ready tap 1 tap "unix://$work/tap" "unix://$work/stopped"
(sleep 0.3; echo one; sleep 1) | "$TELEX" send --sync --deadline 500ms "unix://$work/tap" 2>sync.err >sync.out &
sender=$!
soon 'grep -q hello tap.out && [ "$(grep -c hello tap.out)" -eq 2 ]'
kill -STOP "$stopped"
wait "$sender"
status=$?
kill -CONT "$stopped"
check rendezvous_far "not taken by the far side is not taken" all '[ $status -ne 0 ]' 'says sync.err "was not taken"'
finish "$pid"
finish "$stopped"

# ---- plain text peers ----

start_ready tap 1 tap --json 'tcp://127.0.0.1:0?wire=lines' "$lines_words?wire=lines"
port=$(address tap | sed 's/.*:\([0-9]*\).*/\1/')
check lines_nc "nc on both sides of nothing it knows" same "got one
got two" "$(printf 'one\r\ntwo\n' | timeout 10 nc -N 127.0.0.1 "$port")"
check lines_log "each line is a message" logged tap.out '[e["text"] for e in events if e["event"] == "message"] == ["one", "two", "got one", "got two"]'
printf '\377\376 no text\nunfinished' | timeout 10 nc -N 127.0.0.1 "$port" >/dev/null
check lines_bytes "what is no text is shown in hexadecimal, what is no line as bytes" logged tap.out 'any(e.get("hex") == "fffe206e6f2074657874" for e in events) and any(e["event"] == "bytes" and e["hex"] == b"unfinished".hex() for e in events)'
finish "$pid"

start_ready tap 1 tap 'tcp://127.0.0.1:0?wire=lines' "unix://$work/echo"
port=$(address tap | sed 's/.*:\([0-9]*\).*/\1/')
check lines_to_telex "lines on one side, telex on the other" same hello "$( (echo hello; sleep 0.5) | timeout 10 nc -N 127.0.0.1 "$port")"
finish "$pid"

start_ready raw 1 listen --binary "unix://$work/raw?wire=raw"
raw_pid=$pid
start_ready tap 1 tap --json "unix://$work/tap?wire=raw" "unix://$work/raw?wire=raw"
timeout 10 nc -N -U "$work/tap" <bytes
check raw_bytes "bytes as they come" soon 'cmp bytes raw.out 2>/dev/null'
check raw_log "and so many of them in the log" logged tap.out 'sum(e["size"] for e in events if e["event"] == "bytes") == 3000000'
finish "$pid"
finish "$raw_pid"

# ---- ends ----

start talk talk --listen "unix://$work/far"
far=$pid
soon 'unix_listening "$work/far"'
start_ready tap 1 tap --json "unix://$work/tap" "unix://$work/far"
tap=$pid
mkfifo hold
"$TELEX" talk "unix://$work/tap" <hold >near.out 2>near.err &
near=$!
exec 3>hold
echo 'last words' >&3
soon '[ -s talk.out ]'
kill -9 "$near"
wait "$near" 2>/dev/null
check near_dies "kill -9 of the peer ends the far side, as a death" all 'soon "ended $far"' 'says talk.out "last words"' 'wait $far; [ $? -eq 1 ]'
check near_dies_log "the log says so" logged tap.out 'any(e["event"] == "end" and e["direction"] == ">" and "sentence" in e for e in events) and names[-1] == "close"'
exec 3>&-
start_ready far 1 talk --listen "unix://$work/far"
far=$pid
"$TELEX" receive "unix://$work/tap" >near.out 2>near.err &
near=$!
soon '[ "$(grep -c "\"hello\"" tap.out)" -eq 4 ]'
kill -9 "$far"
check far_dies "kill -9 of the far side ends the peer, as a death" all 'soon "ended $near"' 'wait $near; [ $? -eq 1 ]'
finish "$tap"

start_ready tap 1 tap --json shm://tap shm://echo
"$TELEX" receive shm://tap >near.out 2>near.err &
near=$!
soon '[ "$(grep -c "\"hello\"" tap.out)" -eq 2 ]'
kill -9 "$near"
wait "$near" 2>/dev/null
check shm_near_dies "a death on shm" logged tap.out 'names[-1] == "close" and any(e["event"] == "end" and "sentence" in e for e in events)'
"$TELEX" receive shm://tap >near.out 2>near.err &
near=$!
soon '[ "$(grep -c "\"hello\"" tap.out)" -eq 4 ]'
kill -9 "$pid"
check tap_dies "kill -9 of the tap ends its peers" all 'soon "ended $near"' 'wait $near; [ $? -eq 1 ]'
start_ready tap 1 tap shm://tap shm://echo
check tap_again "and its name can be listened at again" says tap.err "listening on shm://tap"
finish "$pid" INT
check sigint "SIGINT ends it with 0" same 0 "$status"

start_ready tap 1 tap --json "unix://$work/tap" "unix://$work/nobody"
run call call "unix://$work/tap" hello
check nobody "nobody at ADDRESS: the peer is sent away" all 'same 1 $status' 'says tap.err nobody' "logged tap.out 'names == [\"open\", \"end\", \"close\"]'"
finish "$pid"
start_ready tap 1 tap "unix://$work/tap" smoke://signals
run call call "unix://$work/tap" hello
check no_address "an ADDRESS that is none is a usage error, noticed with the first peer" all 'soon "ended $pid"' 'wait $pid; [ $? -eq 2 ]' 'says tap.err smoke'
run taken tap "unix://$work/echo" "unix://$work/words"
check in_use "NEW-ADDRESS is somebody's" all 'same 1 $status' 'says taken.err "telex: "'
"$TELEX" tap "unix://$work/tap" "unix://$work/words" 2>closed.err | head -n 1 >/dev/null &
soon 'unix_listening "$work/tap"'
run call call "unix://$work/tap" hello
run call call "unix://$work/tap" hello
check reader_gone "without a reader of its output it ends" soon '! unix_listening "$work/tap"'

# ---- many, slow and idle ones ----

start_ready all 1 listen "unix://$work/all" -n 1000
listener=$pid
start_ready tap 1 tap --json "unix://$work/tap" "unix://$work/all"
tap=$pid
before=$(ls "/proc/$tap/fd" | wc -l)
senders=
for i in $(seq 100); do
    seq "$((i * 10))" "$((i * 10 + 9))" | timeout 20 "$TELEX" send --deadline 20s "unix://$work/tap" 2>/dev/null &
    senders="$senders $!"
done
lost=0
for one in $senders; do
    wait "$one" || lost=$((lost + 1))
done
wait "$listener"
seq 10 1009 >numbers
check hundred "a hundred at once: nothing is lost, nothing twice" all 'same 0 $lost' 'sort -n all.out | cmp - numbers'
check hundred_log "each of them has its number" logged tap.out 'sorted({e["connection"] for e in events}) == list(range(1, 101)) and names.count("close") == 100'
check hundred_descriptors "nothing is left open" soon '[ "$(ls "/proc/$tap/fd" | wc -l)" -eq "$before" ]'
finish "$tap"

start_ready tap 1 tap --json "unix://$work/tap" "unix://$work/echo"
tap=$pid
near=
for i in $(seq 100); do
    "$TELEX" receive "unix://$work/tap" >/dev/null 2>&1 &
    near="$near $!"
done
check hundred_open "a hundred open ones" logged tap.out 'names.count("hello") == 200'
used() { awk '{ print $14 + $15 }' "/proc/$tap/stat"; }
start_ticks=$(used)
sleep 0.5
ticks=$(($(used) - start_ticks))
check idle "who has nothing to pass uses no processor" [ "$ticks" -le 5 ]
finish "$tap"
check hundred_end "SIGTERM ends all of them" all 'same 0 $status' "logged tap.out 'names.count(\"close\") == 100'"
for one in $near; do
    soon "ended $one" || lost=$((lost + 1))
done
check hundred_told "and their peers know" same 0 "$lost"

slow() { # NAME, NEW-ADDRESS, ADDRESS
    start_ready "slow_$1" 1 listen "$3" # stopped as soon as it has greeted
    slow=$pid
    start_ready "tap_$1" 1 tap --json "$2" "$3"
    tap=$pid
    (sleep 0.5; yes 'the same line again and again, for ever and ever' | head -c 60000000) | "$TELEX" send --deadline 1s "$2" >/dev/null 2>"slow_$1.err" &
    sender=$!
    soon "[ \"\$(grep -c '\"hello\"' tap_$1.out)\" -eq 2 ]"
    kill -STOP "$slow"
    wait "$sender"
    status=$?
    memory=$(awk '/^VmRSS/ { print $2 }' "/proc/$tap/status")
    check "$1_slow" "who does not read holds back who sends, and the tap keeps little (it has $memory kB)" all 'same 3 $status' '[ "$memory" -lt 40000 ]'
    kill -CONT "$slow"
    finish "$tap"
    finish "$slow"
}
slow unix "unix://$work/tap" "unix://$work/slow"
slow shm shm://tap shm://slow

done_testing
