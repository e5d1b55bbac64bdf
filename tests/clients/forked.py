"""Runs command lines of a program in Python, each in a process of its own, forked from one that has imported the program.

    python forked.py MODULE     reads a list of words a line, as JSON, and answers with the status and what was said

It is run by the program's own Python, and has nothing of ours.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from types import ModuleType


def run(program: ModuleType, words: list[str]) -> dict[str, object]:
    """Run one command line."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as told:
        child = os.fork()
        if not child:
            for place, file in ((0, None), (1, said), (2, told)):
                os.dup2(os.open(os.devnull, os.O_RDONLY) if file is None else file.fileno(), place)
            sys.argv[1:] = words
            sys.exit(program.main())
        _, status = os.waitpid(child, 0)
        for file in (said, told):
            file.seek(0)
        return {
            "status": os.waitstatus_to_exitcode(status),
            "out": said.read().decode(),
            "err": told.read().decode(),
        }


def main() -> None:
    """Run what is asked for, line by line."""
    program = importlib.import_module(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(run(program, json.loads(line))), flush=True)  # noqa: T201 - this is its answer


if __name__ == "__main__":
    main()
