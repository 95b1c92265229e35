#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Shows that each lint can fail: breaks a small tree in one place, and expects exactly that lint to say so."""
import sys

sys.dont_write_bytecode = True

import os
import subprocess
import tempfile

import run
import tree as trees

LICENCE = "/* SPDX-License-Identifier: MIT */\n"

# What two processes may share.
SHARED = """struct line {
    _Atomic uint64_t head; /* not a pointer: *head */
    _Alignas(64) _Atomic uint32_t log[16];
    uint16_t type, lane;
    struct other {
        uint8_t bytes[8];
    } other;
    struct other others[2];
};
enum flags { FIRST = 1, SECOND = 2 };
static inline int length(const struct line *line) { int found = 0; return found; }
"""

# A tree that no lint has anything to say about.
SOUND = {
    "include/telex/telex.h": LICENCE + "struct o {\n    int max; /* max=: most */\n};\n\n/* Says it. */\nint telex_say(void);\n",
    "libtelex.map": LICENCE + "TELEX_0.1 {\nglobal:\n    telex_say;\nlocal:\n    *;\n};\n",
    "src/meson.build": "# SPDX-License-Identifier: MIT\nfiles('os/clock.c', 'wire/lines.c')\n",
    "src/os/clock.h": LICENCE,
    "src/os/clock.c": LICENCE + '#include "os/clock.h"\n#include "os/layout.h"\n#include "telex/telex.h"\n\nint telex_say(void)\n{\n    return 0;\n}\n',
    "src/os/layout.h": LICENCE + SHARED,
    "src/wire/lines.c": LICENCE + '#include "os/clock.h"\n',
    "tool/meson.build": "# SPDX-License-Identifier: MIT\nsubcommands = [\n  'ping',\n]\nexecutable('telex', 'completion.c', 'ping.c')\n",
    "tool/completion.c": LICENCE + 'static const char options[] = "max=";\n',
    "tool/ping.c": LICENCE + '#include "telex/telex.h"\nconst struct tool_command tool_ping = {\n    .name = "ping",\n    .synopsis = "",\n    .help = "examples:\\n",\n};\n',
    "man/telex.3": '.\\" SPDX-License-Identifier: MIT\n.Fn telex_say\n',
    "scripts/install-deps": "#!/bin/sh\n# SPDX-License-Identifier: MIT\ncat <<'END'\nbuild gcc compiles\nEND\n",
    "Makefile": "# SPDX-License-Identifier: MIT\nall:\n\tscripts/install-deps build\n",
    "README.md": "Needs `gcc`. See [media](docs/media.md).\n",
    "docs/media.md": "`max=1MiB`\n",
}

# lint, what is written where (None: removed; +: appended), words of the complaint
BROKEN = [
    ("layers", "src/os/clock.c", '+#include "wire/lines.h"\n', "os lies below wire", {"src/wire/lines.h": LICENCE, "src/wire/lines.c": LICENCE + '#include "wire/lines.h"\n'}),
    ("layers", "src/os/clock.c", '+#include "nowhere/x.h"\n', "no such header"),
    ("layers", "tool/ping.c", '+#include "os/clock.h"\n', "only the public headers"),
    ("layers", "tool/ping.c", '+#include "../src/os/clock.h"\n', "only the public headers"),
    ("layers", "src/attic/x.c", '+#include "os/clock.h"\n', "no layer", {"src/attic/meson.build": "# SPDX-License-Identifier: MIT\nfiles('x.c')\n", "src/attic/x.c": LICENCE}),
    *[
        ("layouts", "src/os/layout.h", f"+struct wrong {{\n    uint8_t fine;\n    {member};\n}};\n", f"src/os/layout.h:15 {member}: {words}")
        for member, words in [
            ("uint8_t *bytes", "a pointer"),
            ("void (*call)(void)", "a pointer"),
            ("size_t length", "size_t is no number"),
            ("unsigned long count", "unsigned long is no number"),
            ("_Atomic bool held", "_Atomic bool is no number"),
            ("atomic_uint references", "atomic_uint is no number"),
            ("enum kind kind", "enum kind is no number"),
            ("unsigned flag : 1", "where bits lie"),
            ("pthread_mutex_t lock", "a lock"),
            ("struct stranger stranger", "struct stranger is no number"),
        ]
    ],
    ("symbols", "libtelex.map", LICENCE + "TELEX_0.1 {\nglobal:\nlocal:\n    *;\n};\n", "telex_say: not in libtelex.map"),
    ("symbols", "libtelex.map", LICENCE + "TELEX_0.1 {\nglobal:\n    telex_say;\n    telex_gone;\nlocal:\n    *;\n};\n", "telex_gone: in libtelex.map"),
    ("comments", "include/telex/telex.h", LICENCE + "/* max=: */\n\nint telex_say(void);\n", "telex_say has no comment"),
    ("sources_built", "src/os/extra.c", LICENCE, "src/os/extra.c: in no meson.build"),
    ("headers_included", "src/os/extra.h", LICENCE, "src/os/extra.h: included by nobody"),
    ("documents_reachable", "docs/lost.md", "Nobody links here.\n", "docs/lost.md: not reachable"),
    ("documents_reachable", "docs/media.md", "+[gone](gone.md)\n", "not there"),
    ("scripts_called", "scripts/forgotten", "#!/bin/sh\n# SPDX-License-Identifier: MIT\n", "scripts/forgotten: called by nothing"),
    ("licences", "src/os/clock.h", "/* nothing */\n", "src/os/clock.h: no SPDX"),
    ("licences", "scripts/install-deps", "#!/bin/sh\ncat <<'END'\nbuild gcc compiles\nEND\n", "scripts/install-deps: no SPDX"),
    ("sizes", "src/os/clock.c", "+" + "\n" * 701, "more than 700"),
    ("sizes", "src/os/clock.c", "+\nint telex_long(void)\n{\n" + "    ;\n" * 100 + "}\n", "a function of 102 lines"),
    ("open_words", "src/os/clock.c", "+/* TO" + "DO */\n", "says TO" + "DO"),
    ("options_described", "docs/media.md", "nothing here\n", "max=: an option"),
    ("options_completed", "tool/completion.c", LICENCE, "max=: an option"),
    ("options_described", "src/medium/address.c", LICENCE + 'table = {\n    {"lost",    SIZE,  0},\n};\n', "lost=: an option", {"tool/completion.c": LICENCE + 'static const char options[] = "max= lost=";\n', "src/medium/meson.build": "# SPDX-License-Identifier: MIT\nfiles('address.c')\n"}),
    ("packages_described", "README.md", "See [media](docs/media.md).\n", "gcc: installed"),
    ("subcommands_described", "tool/meson.build", "# SPDX-License-Identifier: MIT\nsubcommands = [\n]\nexecutable('telex', 'completion.c', 'ping.c')\n", "ping: a subcommand without a manual page"),
    ("subcommands_described", "tool/ping.c", LICENCE + 'const struct tool_command tool_ping = {\n    .name = "ping",\n    .synopsis = "",\n};\n', "help has no examples"),
    ("subcommands_described", "tool/ping.c", LICENCE, "no subcommand found"),
    ("functions_described", "man/telex.3", '.\\" SPDX-License-Identifier: MIT\n', "telex_say: a function"),
    ("examples_built", "README.md", "+```c\nint main;\n```\n", "int main; ..."),
]


def write(root, files):
    for path, text in files.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "a" if text.startswith("+") else "w", encoding="utf-8") as file:
            file.write(text[1:] if text.startswith("+") else text)


def complaints(files, build=None):
    """What every lint says about a tree of these files: {lint: complaints}."""
    with tempfile.TemporaryDirectory() as root:
        for layer in files:
            write(root, layer)
        tree = trees.Tree(root, build)
        return {name: found for name in run.CHECKS if (found := run.complaints_of(name, tree))}


def library(code):
    """What the lint of symbols says about a library built from this code."""
    with tempfile.TemporaryDirectory() as build:
        write(build, {"src/x.c": code})
        source = os.path.join(build, "src/x.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", os.path.join(build, "src/libtelex.so"), source], check=True)
        subprocess.run(["cc", "-c", "-o", os.path.join(build, "src/libtelex.a"), source], check=True)
        return " ".join(complaints([SOUND], build).get("symbols", []))


def main():
    failed = 0

    def report(name, fine, why):
        nonlocal failed
        failed += not fine
        print(f"ok {name}" if fine else f"not ok {name} # {why}")

    found = complaints([SOUND])
    report("lint_self.sound", not found, found)
    for number, (lint, path, text, words, *more) in enumerate(BROKEN, 1):
        found = complaints([SOUND, *more, {path: text}])
        fine = list(found) == [lint] and words in " ".join(found[lint])
        report(f"lint_self.{lint}_{number}", fine, f"expected {lint} alone to say '{words}': {found}")

    report("lint_self.library_sound", not library("int telex_say(void){return 0;}"), "a sound library is complained about")
    for name, code, words in [
        ("missing", "int telex_other(void){return 0;}", "telex_say: not exported"),
        ("surplus", "int telex_say(void){return 0;} int telex_other(void){return 0;}", "telex_other: exported"),
        ("prefix", "int telex_say(void){return 0;} int other;", "other: global in libtelex.a"),
    ]:
        said = library(code)
        report(f"lint_self.library_{name}", words in said, said)
    return 1 if failed else 0


sys.exit(main())
