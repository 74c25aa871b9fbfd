"""Tests of the deployed stack, in an AWS emulator on this machine.

Builds the function once, in the folder that the demo also uses, and runs every test in this folder or only those named
(`run.py test_rules`, `run.py -k failed`). TRAILSEAL_BUILD names a folder that `sam build` has filled. Then nothing is
built here.
"""

import os
import shutil
import signal
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "demo")]

from account import HOME
from emulated_account import LOGS
from local import SetupError, build, environment


def interrupt(signum: int, _frame: object) -> None:
    # unittest counts any other exception as a failed test and continues.
    raise KeyboardInterrupt(signal.Signals(signum).name)


def run(arguments: list[str]) -> bool:
    if "TRAILSEAL_BUILD" not in os.environ:
        # The build calls no AWS API, so the endpoint need not exist.
        build(environment("http://127.0.0.1:9", HOME), LOGS)
    if not any(argument.startswith("test_") for argument in arguments):
        arguments = ["discover", "-s", str(HERE), "-t", str(HERE), *arguments]
    result = unittest.main(module=None, argv=["run.py", *arguments], verbosity=2, exit=False).result
    return result.wasSuccessful() and result.testsRun > 0


def main() -> int:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, interrupt)
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    try:
        return 0 if run(sys.argv[1:]) else 1
    except SetupError as trouble:
        print(f"error: {trouble}", file=sys.stderr)
    except KeyboardInterrupt as interruption:
        print(f"error: stopped by {interruption}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
