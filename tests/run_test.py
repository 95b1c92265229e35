#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Shows that the runner sees what it has to see: programs that fail, crash, hang, say nothing, or leave processes behind."""
import sys

sys.dont_write_bytecode = True

import contextlib
import importlib.machinery
import importlib.util
import io
import os
import tempfile

loader = importlib.machinery.SourceFileLoader("runner", os.path.join(os.path.dirname(os.path.abspath(__file__)), "run"))
runner = importlib.util.module_from_spec(importlib.util.spec_from_loader("runner", loader))
loader.exec_module(runner)

# case, shell script, whether its cases are listed, passed, what is said about failures
PROGRAMS = [
    ("passes", "echo ok a; echo noise; echo ok b", False, 2, []),
    ("skips", "echo ok a; echo 'ok b # skip no such thing here'", False, 1, []),
    ("shows_notes", "echo 'note: 12 states'; echo ok a", False, 1, []),
    ("fails", "echo ok a; echo 'not ok b # too long'; exit 1", False, 1, ["too long"]),
    ("says_nothing", "true", False, 0, ["reported no case"]),
    ("exits_badly", "echo ok a; exit 3", False, 1, ["exit status 3"]),
    ("crashes", "echo ok a; kill -SEGV $$", False, 1, ["ended by signal SIGSEGV"]),
    ("hangs", "echo ok a; setsid sleep 60 & sleep 60", False, 1, ["ran out of time"]),
    ("leaves_a_process", "echo ok a; setsid sleep 60 & exit 0", False, 1, ["left processes behind: sleep"]),
    ("says_it_twice", "echo ok a; echo ok a", False, 1, ["reported twice"]),
    ("forgets_one", "if [ \"$1\" = --list ]; then echo a; echo b; else echo ok a; fi", True, 1, ["was not reported"]),
    ("sanitizer_of_a_child", "echo ok a; echo race >${TSAN_OPTIONS##*log_path=}.123", False, 1, ["a sanitizer spoke up"]),
    ("makes_a_runtime_directory", "[ $(stat -c %a $XDG_RUNTIME_DIR) = 700 ] && echo ok a", False, 1, []),
]


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name, script, listed, passed, whys in PROGRAMS:
            path = os.path.join(scratch, name)
            with open(path, "w", encoding="utf-8") as file:
                file.write("#!/bin/sh\n" + script + "\n")
            os.chmod(path, 0o755)
            test = {"name": name, "cmd": [path], "env": {}, "workdir": None, "limit": 1, "prefix": "", "factor": 1, "suite_names": {"listed"} if listed else set()}
            score = runner.Score()
            shown = io.StringIO()
            with contextlib.redirect_stdout(shown):
                runner.run_test(test, score, scratch)
            said = [why for _name, why in score.failures]
            fine = score.passed == passed and len(said) == len(whys) and all(want in have for want, have in zip(whys, said))
            fine = fine and ("note: 12 states" in shown.getvalue()) == (name == "shows_notes")
            failed += not fine
            print(f"ok run.{name}" if fine else f"not ok run.{name} # {score.passed} passed, said {said}")
    return 1 if failed else 0


sys.exit(main())
