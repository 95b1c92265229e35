#!/bin/sh
# SPDX-License-Identifier: MIT
# Command lines: help, version, usage errors, and which exit status goes with what.
group=tool_usage
. "$SOURCE/tests/tool/common.sh"

run none
check nothing "telex alone should be a usage error, with help on stderr" all 'same 2 $status' 'silent none.out' 'says none.err "usage: telex"'

run help --help
check help "telex --help" all 'same 0 $status' 'silent help.err' 'says help.out examples:'

cp "$work/help.out" "$work/subcommands"

run version --version
check version "telex --version" all 'same 0 $status' 'silent version.err' 'grep -Eqx "telex [0-9]+\.[0-9]+\.[0-9]+" "$work/version.out"'

for name in serve call listen send receive talk ping tap sequence demo list; do
    run help "$name" --help
    check "help_$name" "telex $name --help" all 'same 0 $status' 'silent help.err' 'says help.out "usage: telex $name"' 'says help.out examples:' 'says help.out --deadline'
    run version "$name" --version
    check "version_$name" "telex $name --version" all 'same 0 $status' 'says version.out "telex "'
    run option "$name" --no-such-option unix:///nowhere
    check "option_$name" "an unknown option" all 'same 2 $status' 'silent option.out' 'says option.err "telex: --no-such-option"'
done

for name in serve call listen send receive talk ping tap sequence; do
    run address "$name"
    check "too_few_$name" "no address" all 'same 2 $status' 'silent address.out' 'says address.err "telex: $name"'
done

wrong() { # NAME ARGUMENT...
    wrong_name=$1
    shift
    run wrong "$@"
    check "$wrong_name" "telex $*: should be a usage error" all 'same 2 $status' 'silent wrong.out' 'grep -q "^telex: " "$work/wrong.err"'
}
wrong subcommand telephone
wrong count_zero listen unix://@telex-usage -n 0
wrong count_word listen unix://@telex-usage -n many
wrong count_missing listen unix://@telex-usage -n
wrong deadline_bare receive unix://@telex-usage --deadline 5
wrong size_word ping unix://@telex-usage -s long
wrong value_unwanted ping unix://@telex-usage --json=yes
wrong serve_what serve unix://@telex-usage
wrong serve_both serve unix://@telex-usage --echo -- cat
wrong serve_no_command serve unix://@telex-usage --
wrong too_many call unix://@telex-usage one two
wrong workers_zero demo --workers 0
wrong tap_alone tap unix://@telex-usage
wrong tap_new_address tap smoke://signals unix://@telex-usage
wrong sequence_two sequence one two
wrong scheme call smoke://signals hello
wrong address_relative listen unix://relative
wrong address_option send 'tcp://127.0.0.1:1?colour=red' hello
wrong address_value send 'tcp://127.0.0.1:1?max=huge' hello

run refused call tcp://127.0.0.1:1 hello
check nobody_tcp "nobody listens: failure" all 'same 1 $status' 'silent refused.out' 'grep -q "^telex: " "$work/refused.err"'
run refused send "unix://$work/nowhere" hello
check nobody_unix "nobody listens: failure" all 'same 1 $status' 'silent refused.out' 'grep -q "^telex: " "$work/refused.err"'

run closed list >&- 2>&1
"$TELEX" list >&- 2>"$work/closed.err"
status=$?
check stdout_closed "standard output is closed: no crash" all '[ $status -le 1 ]'
"$TELEX" --help >/dev/full 2>"$work/full.err"
status=$?
check stdout_full "standard output is full: failure" all 'same 1 $status' 'says full.err "telex: standard output"'

# Messages that look like options go after --
start_ready listen 1 listen "unix://$work/dash" -n 2
run dash send "unix://$work/dash" -- -n --help
wait "$pid"
check after_dashes "what follows -- is no option" all 'same 0 $status' 'same "-n
--help" "$(cat "$work/listen.out")"'

# Manual pages are made at build time, from what --help says.
pages=$(sed -n 's/^  \([a-z]*\)  *[a-z].*/\1/p' "$work/subcommands" | sed '/^telex$/d')
check man_pages "the manual pages are well formed" same "" "$(mandoc -T lint -W warning "$BUILD"/man/*.1 "$SOURCE/man/telex.3" 2>&1)"
page_of_each() {
    [ "$(echo "$pages" | wc -l)" -ge 9 ] || { echo "only these subcommands: $pages"; return 1; }
    for page in $pages; do
        mandoc -T utf8 "$BUILD/man/telex-$page.1" | sed 's,.\x08,,g' >"$work/page" || return 1
        "$TELEX" "$page" --help | sed -n 's/.*\(--[a-z][a-z]*\).*/\1/p' | sort -u >"$work/options"
        while read -r option; do
            grep -q -e "$option" "$work/page" || { echo "telex-$page(1) has no $option"; return 1; }
        done <"$work/options"
        mandoc -T utf8 "$BUILD/man/telex.1" | sed 's,.\x08,,g' | grep -q "telex-$page(1)" || { echo "telex(1) does not list $page"; return 1; }
    done
}
check man_page_of_each "each subcommand has a page that knows its options, and telex(1) names it" page_of_each

done_testing
