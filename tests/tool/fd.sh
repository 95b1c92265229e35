#!/bin/sh
# SPDX-License-Identifier: MIT
# fd: and stdio: as addresses: what is open already, a pipe of the shell or a file, is one side's medium.
group=tool.fd
. "${0%/*}/common.sh"

seq 200000 >"$work/numbers"
seq 3 | timeout 20 "$TELEX" listen 'stdio:?wire=lines' >"$work/listen.out" 2>"$work/listen.err"
status=$?
check listen_stdio "it ends with its input" all 'same 0 $status' 'same "1 2 3" "$(echo $(cat "$work/listen.out"))"'
timeout 20 "$TELEX" listen 'stdio:?wire=lines' <"$work/numbers" >"$work/file.out" 2>"$work/file.err"
status=$?
check listen_file "a plain file is read to its end" all 'same 0 $status' 'cmp "$work/numbers" "$work/file.out"'
printf 'to be\nor not\n' | timeout 20 "$TELEX" serve 'stdio:?wire=lines' -- wc -w >"$work/serve.out" 2>"$work/serve.err"
status=$?
check serve_stdio "each line is a call" all 'same 0 $status' 'same "2 2" "$(echo $(cat "$work/serve.out"))"'
seq 3 | timeout 20 "$TELEX" send 'fd:-,5?wire=lines' 5>"$work/sent" 2>"$work/sent.err"
status=$?
check send_to_a_file "what is sent lies there" all 'same 0 $status' 'same "1 2 3" "$(echo $(cat "$work/sent"))"'
mkfifo "$work/there" "$work/back"
timeout 20 "$TELEX" serve --echo 'fd:4,5' 4<>"$work/there" 5<>"$work/back" 2>"$work/echo.err" &
pid=$!
soon '[ -s "$work/echo.err" ]' # it waits for whoever comes
sleep 0.2
timeout 20 "$TELEX" call fd:4,5 'through two pipes' 4<>"$work/back" 5<>"$work/there" >"$work/call.out" 2>"$work/call.err"
status=$?
check call_over_fifos "telex speaks over any two pipes" all 'same 0 $status' 'same "through two pipes" "$(cat "$work/call.out")"'
wait $pid
{ sleep 0.3; timeout 20 "$TELEX" serve --quiet --echo fd:4,5; } 4<>"$work/there" 5<>"$work/back" &
pid=$!
timeout 20 "$TELEX" call fd:4,5 'asked first' 4<>"$work/back" 5<>"$work/there" >"$work/first.out" 2>"$work/first.err"
status=$?
check call_before_serve "whoever asks waits for the other side" all 'same 0 $status' 'same "asked first" "$(cat "$work/first.out")"'
wait $pid
timeout 20 "$TELEX" send 'fd:-,5?wire=lines' 'for later' 5<>"$work/there" 2>"$work/later.err" &
pid=$!
sleep 0.3
same_later=$(timeout 20 cat "$work/there")
wait $pid
check send_before_reader "what is sent waits for its reader" all 'same 0 $?' 'same "for later" "$same_later"'
timeout 20 "$TELEX" receive 'fd:7,-?wire=lines' 2>"$work/closed.err" 7<&-
status=$?
check not_open "a sentence that names the descriptor" all 'same 1 $status' 'says closed.err "descriptor 7 is not open"'

done_testing
