"""Runs a module as a program that dies with the process that started it.

    python -m oms.cli.child_program MODULE ARGUMENT...

The starter holds the other end of standard input. When it goes away, however it goes, the system
closes that end, and this program ends at that instant, without any clean-up: no demo that was
killed leaves a gateway or a daemon behind, and no process id has to be trusted later to find one.
Works wherever Python has pipes.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading

#: Exit status of a program whose starter has gone.
ORPHANED = 3


def main() -> None:
    """Run the module named on the command line."""
    module = sys.argv[1]
    sys.argv = [module, *sys.argv[2:]]
    threading.Thread(target=_die_with_starter, name="starter", daemon=True).start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _die_with_starter() -> None:
    # The bare descriptor: a thread that waits in sys.stdin would hold its lock at shutdown.
    while os.read(0, 1):
        continue
    os._exit(ORPHANED)


if __name__ == "__main__":
    main()
