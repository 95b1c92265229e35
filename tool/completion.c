/* SPDX-License-Identifier: MIT */
/* telex completion: the completion of the command line for bash(1), made at build time from the same tables as --help. */
#include <stdio.h>
#include <string.h>

#include "common.h"

/* What may stand behind ? in an address (docs/media.md): names, and values where there are only few. tests/lint compares it with the library's table. */
static const char address_options[] =
    "wire=telex wire=lines wire=raw max= size= buffer= window= queue= ring= arena= prefault=yes prefault=no trust=yes trust=no greeting= keepalive= "
    "wait=adaptive wait=spin wait=block full=wait full=fail full=drop-newest full=drop-oldest mode= descriptors= pending= program= fault= flush=call flush=helper";

static const char schemes[] = "shm:// unix:/// unix://@ pipe:/// tcp:// fd: stdio:";

static const char script[] =
    "# what telex listens at, then schemes\n"
    "_telex_addresses()\n"
    "{\n"
    "    telex list --quiet 2>/dev/null | while read -r address rest; do printf '%s\\n' \"$address\"; done\n"
    "}\n"
    "\n"
    "# those words of $1 that begin with $2; bash replaces only what stands behind the last break, $3 is what stands before it\n"
    "# (compgen -W would expand the words, and run what is in them)\n"
    "_telex_offer()\n"
    "{\n"
    "    local word words\n"
    "    read -rd '' -a words <<<\"$1\"\n"
    "    for word in \"${words[@]}\"; do\n"
    "        [[ $word == \"$2\"* ]] || continue\n"
    "        COMPREPLY+=(\"${word#\"$3\"}\")\n"
    "        case $word in *= | *:// | *:/// | *@) compopt -o nospace 2>/dev/null ;; esac\n"
    "    done\n"
    "}\n"
    "\n"
    "# the options of an address of which $1 is there already, before the last ? or &\n"
    "_telex_options()\n"
    "{\n"
    "    local option=${2#\"$1\"} words= each\n"
    "    [[ $option == [?\\&]* ]] || option=\n"
    "    for each in $_telex_address_options; do words+=\" $1${option:0:1}$each\"; done\n"
    "    _telex_offer \"$words\" \"$2\" \"$3\"\n"
    "}\n"
    "\n"
    "_telex_address()\n"
    "{\n"
    "    local path\n"
    "    case $1 in\n"
    "    *\\?*) _telex_options \"${1%[?&]*}\" \"$1\" \"$2\" ;;\n"
    "    unix:///* | shm:///* | pipe:///*)\n"
    "        local scheme=${1%%:*}\n"
    "        while IFS= read -r path; do\n"
    "            [ ! -d \"$path\" ] || { path=$path/ && compopt -o nospace 2>/dev/null; }\n"
    "            path=$scheme://$path\n"
    "            COMPREPLY+=(\"${path#\"$2\"}\")\n"
    "        done < <(compgen -f -- \"${1#*://}\") ;;\n"
    "    *) _telex_offer \"$(_telex_addresses) $_telex_schemes\" \"$1\" \"$2\" ;;\n"
    "    esac\n"
    "}\n"
    "\n"
    "_telex_files()\n"
    "{\n"
    "    local path\n"
    "    while IFS= read -r path; do COMPREPLY+=(\"$path\"); done < <(compgen -f -- \"$1\")\n"
    "    compopt -o filenames 2>/dev/null\n"
    "}\n"
    "\n"
    "_telex()\n"
    "{\n"
    "    local line=${COMP_LINE:0:COMP_POINT} words current previous= before= subcommand options= operands= values=\n"
    "    COMPREPLY=()\n"
    "    read -ra words <<<\"$line\"\n"
    "    current=${line##*[[:space:]]}\n"
    "    subcommand=${words[1]-}\n"
    "    [ -z \"$current\" ] || unset 'words[-1]'\n"
    "    [ ${#words[@]} -eq 0 ] || previous=${words[-1]}\n"
    "    if [ ${#words[@]} -le 1 ]; then\n"
    "        _telex_offer \"$_telex_subcommands\" \"$current\" ''\n"
    "        return\n"
    "    fi\n"
    "    # bash looks only at what stands behind the last : or = or so, but for words in quotes\n"
    "    case $current in\n"
    "    [\\'\\\"]*) current=${current:1} ;;\n"
    "    *[\"$COMP_WORDBREAKS\"]*) before=${current%\"${current##*[\"$COMP_WORDBREAKS\"]}\"} ;;\n"
    "    esac\n"
    "    _telex_of \"$subcommand\" || return\n"
    "    case \" ${words[*]:2} \" in\n"
    "    *' -- '*)\n"
    "        if [ \"$previous\" = -- ] && [[ $subcommand == @(serve|spawn) ]]; then\n"
    "            _telex_offer \"$(compgen -c -- \"$current\")\" \"$current\" ''\n"
    "        else\n"
    "            _telex_files \"$current\"\n"
    "        fi\n"
    "        return ;;\n"
    "    esac\n"
    "    case \" $values \" in\n"
    "    *\" $previous \"*)\n"
    "        [ \"$previous\" != --deadline ] || _telex_offer '100ms 1s 10s 1min never' \"$current\" ''\n"
    "        return ;;\n"
    "    esac\n"
    "    case $current in\n"
    "    -*) _telex_offer \"$options\" \"$current\" '' ;;\n"
    "    *) case $operands in\n"
    "        addresses) _telex_address \"$current\" \"$before\" ;;\n"
    "        media) _telex_offer \"$_telex_media\" \"$current\" '' && _telex_files \"$current\" ;;\n"
    "        files) _telex_files \"$current\" ;;\n"
    "        options)\n"
    "            local given=\n"
    "            [[ $current != *\\&* ]] || given=${current%\\&*}\n"
    "            _telex_options \"$given\" \"$current\" \"$before\" ;;\n"
    "        esac ;;\n"
    "    esac\n"
    "}\n"
    "\n"
    "complete -F _telex telex\n";

static const char *const operands[] = {
    [TOOL_OPERANDS_ADDRESSES] = "addresses",
    [TOOL_OPERANDS_FILES] = "files",
    [TOOL_OPERANDS_MEDIA] = "media",
    [TOOL_OPERANDS_OPTIONS] = "options",
    [TOOL_OPERANDS_NONE] = "",
};

/* The options of a subcommand; or only those that take a value, and so are followed by one. */
static void put_options(const struct tool_command *command, bool with_value)
{
    bool first = true;
    for (const struct tool_flag *flag = tool_flags; flag->name != NULL; flag++) {
        if (!tool_has_flag(command, flag) || (with_value && flag->value == NULL))
            continue;
        if (flag->letter != 0)
            printf("%s-%c", first ? "" : " ", flag->letter);
        printf("%s--%s", first && flag->letter == 0 ? "" : " ", flag->name);
        first = false;
    }
}

static int run(const struct tool_options *options)
{
    (void)options;
    printf("# SPDX-License-Identifier: MIT\n# bash completion for telex; made by telex completion.\n\n_telex_subcommands='");
    for (const struct tool_command *const *command = tool_commands; *command != NULL; command++)
        if ((*command)->synopsis != NULL)
            printf("%s ", (*command)->name);
    printf("--help --version'\n_telex_schemes='%s'\n_telex_address_options='%s'\n_telex_media='", schemes, address_options);
    for (size_t i = 0; tool_demo_medium(i) != NULL; i++)
        printf("%s%s", i > 0 ? " " : "", tool_demo_medium(i));
    printf("'\n\n");
    printf("# sets options, values (those that are followed by one) and operands; false: no such subcommand\n_telex_of()\n{\n    case $1 in\n");
    for (const struct tool_command *const *command = tool_commands; *command != NULL; command++) {
        if ((*command)->synopsis == NULL)
            continue;
        printf("    %s) options='", (*command)->name);
        put_options(*command, false);
        printf("' values='");
        put_options(*command, true);
        printf("' operands=%s ;;\n", operands[(*command)->operands]);
    }
    printf("    *) return 1 ;;\n    esac\n}\n\n%s", script);
    return TOOL_OK;
}

const struct tool_command tool_completion = {
    .name = "completion",
    .synopsis = NULL,
    .summary = NULL,
    .least = 0,
    .most = 0,
    .run = run,
};
