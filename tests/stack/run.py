"""Tests of the stack as it is deployed, to an AWS emulator on this machine.

Builds the function once, where the demo finds it too, and runs every test in this folder, or those that are named
(`run.py test_rules`, `run.py -k failed`). TRAILSEAL_BUILD names a folder that `sam build` has filled; then nothing is
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

from account import HOME  # noqa: E402
from cloud import LOGS  # noqa: E402
from local import Trouble, build, environment  # noqa: E402


def stop(signum: int, _frame: object) -> None:
    # What ends a run of unittest; any other exception would be one more test that fails.
    raise KeyboardInterrupt(signal.Signals(signum).name)


def run(arguments: list[str]) -> bool:
    if "TRAILSEAL_BUILD" not in os.environ:
        # Nothing is asked of AWS, so nobody need be there.
        build(environment("http://127.0.0.1:9", HOME), LOGS)
    if not any(it.startswith("test_") for it in arguments):
        arguments = ["discover", "-s", str(HERE), "-t", str(HERE), *arguments]
    result = unittest.main(module=None, argv=["run.py", *arguments], verbosity=2, exit=False).result
    return result.wasSuccessful() and result.testsRun > 0


def main() -> int:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, stop)
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    try:
        return 0 if run(sys.argv[1:]) else 1
    except Trouble as trouble:
        print(f"error: {trouble}", file=sys.stderr)
    except KeyboardInterrupt as interrupt:
        print(f"error: stopped by {interrupt}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
