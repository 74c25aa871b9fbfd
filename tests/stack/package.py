"""Runs the script of `make package` on an existing build."""

import json
import os
import subprocess
from pathlib import Path

from emulated_account import LOGS
from local import BUILD, PROJECT, TOOLS, architecture

PACKAGES = LOGS / "package"
BILL_OF_MATERIALS = {"bomFormat": "CycloneDX"}
BUILT = Path(os.environ.get("TRAILSEAL_BUILD", BUILD))


def build_package(parent: Path, build: Path = BUILT) -> Path:
    """Creates the package in `parent` and returns its folder."""
    parent.mkdir(parents=True)
    bill = parent / "bill.json"
    bill.write_text(json.dumps(BILL_OF_MATERIALS))
    # What scripts/package-cli creates is tested by no emulator.
    cli = parent / "cli"
    cli.mkdir()
    (cli / "trailseal").write_text("the command line")
    script = [TOOLS / "sam" / "bin" / "python", "-B", PROJECT / "scripts" / "package"]
    subprocess.run([*script, architecture(), build, bill, cli, parent], check=True, capture_output=True, text=True)
    [folder] = parent.glob(f"trailseal-*-{architecture()}")
    return folder


def checksums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file, as SHA256SUMS lists them."""
    return dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
