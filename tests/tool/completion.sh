#!/bin/bash
# SPDX-License-Identifier: MIT
# What bash offers: subcommands, options, addresses and what stands behind ? in them.
group=tool_completion
. "$SOURCE/tests/tool/common.sh"
cd "$work" || exit 1
mkdir bin
ln -s "$TELEX" bin/telex
PATH=$work/bin:$PATH
. "$BUILD/man/telex"

# offers LINE: what bash would be told for this line, a word a line, sorted, in $work/offer
offers() {
    COMP_LINE=$1
    COMP_POINT=${#1}
    COMP_TYPE=9
    read -ra COMP_WORDS <<<"$1"
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    COMPREPLY=()
    _telex telex "${COMP_WORDS[COMP_CWORD]}" ''
    printf '%s\n' "${COMPREPLY[@]}" | sort >"$work/offer"
}

offered() { # LINE WORD...: exactly these
    offers "$1"
    shift
    same "$(printf '%s\n' "$@" | sort)" "$(cat "$work/offer")"
}

among() { # LINE WORD...: these, and maybe others
    offers "$1"
    shift
    for word in "$@"; do
        grep -qFx -e "$word" "$work/offer" || { echo "no $word in:" && cat "$work/offer" && return 1; }
    done
}

check registered "bash knows who completes telex" sh -c 'echo "$1" | grep -q "complete -F _telex telex"' - "$(complete -p telex)"
subcommands=$(telex --help | sed -n 's/^  \([a-z]*\)  *[a-z].*/\1/p' | sed '/^telex$/d')
# shellcheck disable=SC2086 # a list of words
check subcommands "all that --help names" offered 'telex ' $subcommands --help --version
check subcommand_begun "those that begin so" among 'telex re' receive
check option "options that begin so" offered 'telex listen --co' --count
for name in $subcommands; do
    # shellcheck disable=SC2046 # a list of words
    check "options_$name" "all options that its help has" among "telex $name -" $(telex "$name" --help | sed '1,/^options:/d' | sed -n 's/^ *\(-., \)*\(--[a-z]*\).*/\2/p')
done
check deadline "values of --deadline" among 'telex call --deadline ' 10s never
check count "nobody knows the N of -n" offered 'telex ping -n ' ''
check schemes "schemes of addresses" among 'telex call ' shm:// unix:/// tcp://

telex serve --quiet unix://@telex-completion-$$ "unix://$work/socket" --echo 2>/dev/null &
started="$started $!"
soon '[ "$(telex list --quiet | grep -c "^unix")" -eq 2 ]'
check addresses "what telex list knows" among 'telex call ' "unix://$work/socket" "unix://@telex-completion-$$"
check address_begun "bash breaks words at : and @, only the rest is replaced" offered 'telex call unix://@telex-com' "telex-completion-$$"
check address_quoted "in quotes nothing is broken" offered "telex call 'unix://@telex-com" "unix://@telex-completion-$$"
check address_path "paths, where one is typed" offered "telex call unix://$work/sock" "//$work/socket"
check wire "options of addresses, with their values" offered 'telex call tcp://h:1?wi' '1?wire=telex' '1?wire=lines' '1?wire=raw' '1?window='
check second_option "the next one" offered "telex call 'tcp://h:1?wire=raw&ma" "tcp://h:1?wire=raw&max="
check demo_media "media of the demo" among 'telex demo ' shm unix pipe tcp
check command "commands behind --" among 'telex serve unix://@x -- tru' true
check spawned "commands behind -- of spawn" among 'telex spawn -- tru' true
check spawn_options "options of the channel" offered 'telex spawn wi' wire=telex wire=lines wire=raw window=
check unknown "nothing for what is no subcommand" offered 'telex telephone ' ''
offers 'telex call $(touch${IFS}harm)?wi'
offers "telex call '\$(touch harm)?wi"
check harmless "what is typed is not run" sh -c '[ ! -e harm ]'
done_testing
