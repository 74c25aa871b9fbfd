"""scripts/live-check in the emulator: what it refuses, what it reports, and that it removes what it created."""

import io
import json
import os
import re
import signal
import subprocess
import unittest
import zipfile
from pathlib import Path

from account import HOME
from emulated_account import start_emulator
from local import ACCOUNT, BUILD, PROJECT, TOOLS, architecture

EXAMPLE = "111122223333"
CHECKED = "trailseal-live-check"
# In the emulator, CloudTrail sends no events, delivers no files, and refuses no key, and IAM refuses nothing.
EMULATED = {
    "Missing alias",
    "S3 Bucket Keys and pinned keys",
    "`kms:ResourceAliases`",
    "`ConflictException`",
    "Other parameters",
}


def setUpModule() -> None:
    global aws
    aws = start_emulator("live-check")


def start(*arguments: str) -> subprocess.Popen:
    command = [TOOLS / "sam" / "bin" / "python", "-B", PROJECT / "scripts" / "live-check", *arguments]
    build = Path(os.environ.get("TRAILSEAL_BUILD", BUILD))
    options = [
        "--region",
        HOME,
        "--build",
        build,
        "--patience",
        "0.002",
        "--parameters",
        f"Architecture={architecture()}",
    ]
    return subprocess.Popen([*command, *options], env=aws.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(*arguments: str) -> tuple[int, str, str]:
    process = start(*arguments)
    output, errors = process.communicate()
    return process.returncode, output, errors


def remaining() -> dict:
    """What is left in the account, and the states of its keys."""
    buckets = [it["Name"] for it in aws.client("s3").list_buckets()["Buckets"]]
    trails = [it["Name"] for it in aws.client("cloudtrail").list_trails()["Trails"]]
    return aws.resources() | {"buckets": buckets, "trails": trails}


class Refusals(unittest.TestCase):
    def assert_refused(self, reason: str, *arguments: str) -> None:
        before = remaining()
        code, output, errors = run(*arguments)
        self.assertEqual((code, output), (2, ""), errors)
        self.assertIn(reason, errors)
        self.assertEqual(remaining(), before)

    def test_an_account_must_be_named(self):
        self.assert_refused("--account")

    def test_the_account_must_be_the_callers(self):
        self.assert_refused(f"the credentials are for account {ACCOUNT}, not {EXAMPLE}", "--account", EXAMPLE)

    def test_a_trail_that_is_not_exempt_is_not_encrypted(self):
        aws.make_bucket("own", HOME)
        self.addCleanup(aws.client("s3").delete_bucket, Bucket="own")
        trail = aws.make_trail("own", "own")
        self.addCleanup(aws.client("cloudtrail").delete_trail, Name=trail)
        self.assert_refused(f"the run would encrypt {trail}", "--account", ACCOUNT)

    def test_a_deployed_trailseal_is_left_alone(self):
        iam, function = aws.client("iam"), aws.client("lambda")
        role = iam.create_role(RoleName="own", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        self.addCleanup(iam.delete_role, RoleName="own")
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("bootstrap", "")
        function.create_function(
            FunctionName="own", Role=role, Code={"ZipFile": code.getvalue()}, Runtime="provided.al2023", Handler="bootstrap",
            Environment={"Variables": {"TRAILSEAL_MODE": "dry-run"}},
        )  # fmt: skip
        self.addCleanup(function.delete_function, FunctionName="own")
        self.assert_refused("trailseal is deployed as own", "--account", ACCOUNT)


class Complete(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.before = remaining()
        cls.code, cls.output, cls.errors = run("--account", ACCOUNT)

    def test_the_table_tells_what_the_emulator_shows(self):
        rows = re.findall(r"^\| (.+?): .+? \| (confirmed|\*\*differs\*\*) \| (.*) \|$", self.output, re.MULTILINE)
        self.assertEqual({name for name, result, _ in rows if result == "confirmed"}, EMULATED, self.output)
        self.assertEqual(len(rows), 27)

    def test_nothing_but_keys_pending_deletion_remains(self):
        self.assertEqual(remaining(), self.before)
        self.assertEqual({key["state"] for key in aws.keys()}, {"PendingDeletion"})
        self.assertNotIn("Remove by hand", self.output)

    def test_the_account_id_is_replaced(self):
        [record] = re.findall(r"^Record: (.+)$", self.errors, re.MULTILINE)
        record = (PROJECT / record).read_text()
        self.assertNotIn(ACCOUNT, self.output + record)
        self.assertIn(EXAMPLE, record)
        for line in record.splitlines():
            json.loads(line)


class Interrupted(unittest.TestCase):
    def test_what_cannot_be_removed_after_an_interrupt_is_named(self):
        before, cloudformation = remaining(), aws.client("cloudformation")
        process = start("--account", ACCOUNT)
        for line in process.stderr:
            if line.startswith("First sweep"):
                break
        cloudformation.update_termination_protection(StackName=CHECKED, EnableTerminationProtection=True)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
        self.assertEqual(process.returncode, 130, errors)
        self.assertIn("| First sweep", output)
        self.assertEqual(
            re.findall(r"^Remove by hand: (stack \S+): .*TerminationProtection", output, re.MULTILINE),
            [f"stack {CHECKED}"],
        )
        cloudformation.update_termination_protection(StackName=CHECKED, EnableTerminationProtection=False)
        cloudformation.delete_stack(StackName=CHECKED)
        self.assertEqual(remaining(), before)
