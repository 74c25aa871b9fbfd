"""Tests of the stack as it is deployed, to an AWS emulator on this machine.

Builds the function once, where the demo finds it too, and runs every test in this folder; names of modules, classes or
tests run only these (`run.py test_rules -k network`). TRAILSEAL_BUILD names a folder that `sam build` has filled; then
nothing is built here.
"""

import os
import shutil
import signal
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "demo")]

from cloud import LOGS  # noqa: E402
from local import Trouble, build, environment  # noqa: E402


def stop(signum: int, _frame: object) -> None:
    # What ends a run of unittest; any other exception would be one more test that fails.
    raise KeyboardInterrupt(signal.Signals(signum).name)


def main() -> int:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, stop)
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    if "TRAILSEAL_BUILD" not in os.environ:
        try:
            # Nothing is asked of AWS.
            build(environment("http://127.0.0.1:9", "eu-west-1"), LOGS)
        except Trouble as trouble:
            print(f"error: {trouble}", file=sys.stderr)
            return 1
    arguments = sys.argv[1:]
    if not any(not it.startswith("-") for it in arguments):
        arguments = ["discover", "-s", str(HERE), "-t", str(HERE), *arguments]
    run = unittest.main(module=None, argv=["run.py", *arguments], verbosity=2, exit=False)
    return 0 if run.result.wasSuccessful() and run.result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main())
