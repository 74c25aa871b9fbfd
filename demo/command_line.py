"""The command line: a plan before anything is deployed, and a plan that is saved, refused and applied."""

import json
import subprocess
import tempfile
from pathlib import Path

from account import Account
from output import Output

FINDINGS, ERROR, NOTHING = 2, 1, 0


def run(program: Path, env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess:
    command = [str(program), *arguments]
    # The callers judge the exit code.
    return subprocess.run(
        command, check=False, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )


def plan(output: Output, program: Path, account: Account, trails: dict[str, str]) -> None:
    """`trailseal plan`, before the deployment."""
    output.heading("The command line, before anything is deployed: trailseal plan")
    before = account.state(list(trails.values()))
    found = run(program, account.env, "plan", "--format", "json")
    output.check("the exit code is 2: changes are planned", found.returncode == FINDINGS, found.stderr)
    answer = json.loads(found.stdout)
    output.answer(answer)
    output.check(
        "three trails would be encrypted, and audit is compliant",
        answer["summary"] == {"compliant": 1, "planned": 3},
        json.dumps(answer, indent=1),
    )
    output.check("no trail or key has changed", account.state(list(trails.values())) == before, found.stdout)


def apply(output: Output, program: Path, account: Account) -> None:
    """`trailseal plan --out` and `trailseal apply`, for one new trail."""
    output.heading("The command line: a saved plan")
    arn = account.make_trail("by-hand", "logs-by-hand")
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "plan.json")
        arguments = ("--trail", arn)
        saved = run(program, account.env, "plan", *arguments, "--out", file)
        output.check("the plan for the new trail by-hand is saved", saved.returncode == FINDINGS, saved.stderr)
        account.make_bucket_policy("logs-by-hand", reader="arn:aws:iam::210987654321:role/new-reader")
        refused = run(program, account.env, "apply", file, "--yes")
        output.check(
            "after a change of the bucket policy, the saved plan is refused",
            refused.returncode == ERROR and "the policy or the replication of bucket `logs-by-hand`" in refused.stderr,
            refused.stdout + refused.stderr,
        )
        output.quote(refused.stderr.partition("error: ")[2])
        run(program, account.env, "plan", *arguments, "--out", file)
        applied = run(program, account.env, "apply", file, "--yes")
    output.check(
        "a new plan is applied and verified",
        applied.returncode == NOTHING and "Verified" in applied.stderr,
        applied.stdout + applied.stderr,
    )
    output.quote("\n".join(line for line in applied.stderr.splitlines() if "(done)" in line or "Verified" in line))
    again = run(program, account.env, "plan", *arguments)
    output.check("another plan finds nothing to do", again.returncode == NOTHING, again.stdout + again.stderr)
