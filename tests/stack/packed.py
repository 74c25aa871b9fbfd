"""A package as `make package` makes it, of a build that is there."""

import json
import os
import subprocess
from pathlib import Path

from cloud import LOGS
from local import BUILD, PROJECT, TOOLS, architecture

INTO = LOGS / "package"
# As cargo-cyclonedx names the workspace's crates.
BILL = {"bomFormat": "CycloneDX", "metadata": {"component": {"bom-ref": f"path+file://{PROJECT}#trailseal@0.1.0"}}}


def package(into: Path, build: Path = Path(os.environ.get("TRAILSEAL_BUILD", BUILD))) -> Path:
    into.mkdir(parents=True)
    (into / "bill.json").write_text(json.dumps(BILL))
    script = [TOOLS / "sam" / "bin" / "python", "-B", PROJECT / "scripts" / "package"]
    subprocess.run([*script, architecture(), build, into / "bill.json", into], check=True, capture_output=True, text=True)
    [made] = into.glob(f"trailseal-*-{architecture()}")
    return made
