# SPDX-License-Identifier: MIT
"""What users meet is described where they look: options in docs/media.md and in the completion, packages in README.md, subcommands in manual pages, functions in telex(3);
and what README.md shows of C is what is built and tested in examples/."""
import re

import tree as trees


def named_options(tree):
    named = set(re.findall(r"/\* (\w+)=:", tree.text("include/telex/telex.h")))
    for path in tree.under("src/medium", ends="address.c"):  # the table of options: name, kind
        named |= set(re.findall(r'^    \{"(\w+)", +[A-Z]+, ', tree.text(path), re.M))
    return sorted(named)


def options(tree):
    text = tree.text("docs/media.md")
    return [f"{name}=: an option that docs/media.md does not describe" for name in named_options(tree) if not re.search(rf"`{name}=", text)]


def completion(tree):
    text = tree.text("tool/completion.c")
    return [f"{name}=: an option that tool/completion.c does not know" for name in named_options(tree) if not re.search(rf"\b{name}=", text)]


def packages(tree):
    table = re.search(r"<<'END'\n(.*?)\nEND\n", tree.text("scripts/install-deps"), re.S).group(1)
    named = sorted({line.split()[1] for line in table.splitlines()})
    return [f"{name}: installed by scripts/install-deps, not named in README.md" for name in named if f"`{name}`" not in tree.text("README.md")]


def subcommands(tree):
    """Each has a `struct tool_command` in tool/; those without a synopsis are not for users. Its page is made of that, if tool/meson.build lists it."""
    pattern = r'^const struct tool_command \w+ = \{\n    \.name = "([^"]+)",\n    \.synopsis = "'
    named = {name: tree.text(path) for path in tree.under("tool", ends=".c") for name in re.findall(pattern, tree.text(path), re.M)}
    complaints = [] if named else ["tool/: no subcommand found (struct tool_command with a name and a synopsis)"]
    paged = re.search(r"^subcommands = \[\n(.*?)\]", tree.text("tool/meson.build"), re.S | re.M).group(1)
    complaints += [f"{name}: a subcommand without a manual page (the list in tool/meson.build)" for name in sorted(named) if f"'{name}'" not in paged]
    return complaints + [f"{name}: a subcommand whose help has no examples" for name in sorted(named) if "examples:\\n" not in named[name]]


def functions(tree):
    return [f"{name}: a function that man/telex.3 does not name" for name in sorted(trees.public_functions(tree)) if not re.search(rf"\b{name}\b", tree.text("man/telex.3"))]


def examples(tree):
    built = [tree.text(path) for path in tree.under("examples", ends=".c")]
    shown = re.findall(r"^```c\n(.*?)^```$", tree.text("README.md"), re.S | re.M)
    return [f"README.md: a piece of C that stands in no file of examples/: {block.splitlines()[0]} ..." for block in shown if not any(block in text for text in built)]
