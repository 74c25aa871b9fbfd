"""scripts/live-check in the emulator: what it refuses, what it reports, and that it removes what it created."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import unittest
import unittest.mock
import zipfile
from pathlib import Path
from types import SimpleNamespace

from botocore.exceptions import ClientError

from account import HOME
from emulated_account import start_emulator
from local import ACCOUNT, BUILD, PROJECT, TOOLS, architecture

# Before this folder, which has a run.py, too.
sys.path.insert(0, str(PROJECT / "scripts" / "live-check"))

import sandbox
from checks import CHECKS

EXAMPLE = "111122223333"
OTHER, ONLY = "us-east-1", "eusc-de-east-1"
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


def start(*arguments: str, python: Path | str = TOOLS / "sam" / "bin" / "python") -> subprocess.Popen:
    command = [python, "-B", PROJECT / "scripts" / "live-check", *arguments]
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


def run(*arguments: str, **interpreter: str) -> tuple[int, str, str]:
    process = start(*arguments, **interpreter)
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
        self.assert_refused("12 digits", "--account", "")

    def test_the_account_must_be_the_callers(self):
        self.assert_refused(f"the credentials are for account {ACCOUNT}, not {EXAMPLE}", "--account", EXAMPLE)

    def test_a_trail_that_is_not_exempt_is_not_encrypted(self):
        aws.make_bucket("own", HOME)
        self.addCleanup(aws.client("s3").delete_bucket, Bucket="own")
        trail = aws.make_trail("own", "own")
        self.addCleanup(aws.client("cloudtrail").delete_trail, Name=trail)
        self.assert_refused(f"the run would encrypt {trail}", "--account", ACCOUNT)

    def test_a_deployed_trailseal_is_left_alone(self):
        for region in (HOME, OTHER):
            with self.subTest(region):
                self.assert_function_refused(region)

    def assert_function_refused(self, region: str) -> None:
        iam, function = aws.client("iam"), aws.client("lambda", region)
        role = iam.create_role(RoleName="own", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("bootstrap", "")
        function.create_function(
            FunctionName="own", Role=role, Code={"ZipFile": code.getvalue()}, Runtime="provided.al2023", Handler="bootstrap",
            Environment={"Variables": {"TRAILSEAL_MODE": "dry-run"}},
        )  # fmt: skip
        try:
            self.assert_refused(f"trailseal is deployed as own in {region}", "--account", ACCOUNT)
        finally:
            function.delete_function(FunctionName="own")
            iam.delete_role(RoleName="own")

    def test_a_trailseal_of_a_third_region_is_left_alone(self):
        for region in (HOME, OTHER):
            kms = aws.client("kms", region)
            key = kms.create_key()["KeyMetadata"]["KeyId"]
            kms.create_alias(AliasName="alias/trailseal", TargetKeyId=key)
            with self.subTest(region):
                self.assert_refused(f"alias/trailseal exists in {region}", "--account", ACCOUNT)
            kms.delete_alias(AliasName="alias/trailseal")
            kms.schedule_key_deletion(KeyId=key)

    def test_validation_changes_nothing(self):
        before = remaining()
        self.assertEqual(run("--account", ACCOUNT, "--validate"), (0, "", ""))
        self.assertEqual(remaining(), before)

    def test_make_validates_before_it_builds(self):
        command = ["make", "-n", "-C", PROJECT, "live-check", f"ACCOUNT={ACCOUNT}"]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        found = [line for line in lines if "live-check --account" in line or "sam build" in line]
        self.assertEqual(
            ["--validate" in found[0], "sam build" in found[1], "--validate" in found[2]], [True, True, False]
        )


class OtherRegion(unittest.TestCase):
    def test_the_other_region_is_one_of_the_partition(self):
        for partition, region, expected in (
            ("aws", "eu-west-1", "us-east-1"),
            ("aws", "us-east-1", "us-west-2"),
            ("aws-cn", "cn-north-1", "cn-northwest-1"),
            ("aws-cn", "cn-northwest-1", "cn-north-1"),
            ("aws-us-gov", "us-gov-west-1", "us-gov-east-1"),
            ("aws-eusc", "eusc-de-east-1", None),
        ):
            self.assertEqual(sandbox.other_region(partition, region), expected)

    def test_one_region_skips_the_checks_of_another(self):
        account = sandbox.Sandbox({"Account": EXAMPLE, "Arn": f"arn:aws-eusc:iam::{EXAMPLE}:role/admin"}, ONLY, None, 1)
        self.assertEqual(account.regions, [ONLY])
        skipped = [check for check in CHECKS if check[0] in ("`LatestDeliveryError`", "Forwarders")]
        self.assertEqual([function(SimpleNamespace(aws=account)) for _, _, function in skipped], [None, None])


class RemovalOfKeys(unittest.TestCase):
    def test_the_error_names_region_and_keys_that_remain(self):
        account = sandbox.Sandbox({"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:role/admin"}, HOME, OTHER, 1)
        keys = [(region, f"arn:aws:kms:{region}:{ACCOUNT}:key/{region}") for region in account.regions]
        account._keys = keys
        expired = ClientError({"Error": {"Code": "ExpiredToken", "Message": "expired"}}, "ListAliases")
        account.client = unittest.mock.Mock()
        account.client.return_value.get_paginator.side_effect = expired
        account.client.return_value.describe_key.side_effect = expired
        remains = account.clean_up()
        for (region, key), line in zip(reversed(keys), remains, strict=True):
            self.assertIn(f"keys in {region} ", line)
            self.assertIn(key.replace(ACCOUNT, EXAMPLE), line)


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
    def test_everything_is_removed_though_stderr_is_closed(self):
        before, process = remaining(), start("--account", ACCOUNT)
        for line in process.stderr:
            if line.startswith("First sweep"):
                break
        process.stderr.close()
        process.send_signal(signal.SIGINT)
        output = process.stdout.read()
        self.assertEqual((process.wait(), remaining()), (130, before))
        self.assertNotIn("Remove by hand", output)
        process.stdout.close()

    def test_an_unexpected_error_prints_no_traceback(self):
        before = remaining()
        # This Python has no sam next to it.
        code, output, errors = run("--account", ACCOUNT, python=sys.executable)
        self.assertEqual(code, 2)
        self.assertIn("error: FileNotFoundError: ", errors)
        self.assertNotIn("Traceback", errors)
        self.assertNotIn("Remove by hand", output)
        self.assertEqual(remaining(), before)

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
            re.findall(r"^Remove by hand: (stack \S+ in \S+): .*TerminationProtection", output, re.MULTILINE),
            [f"stack {CHECKED} in {HOME}"],
        )
        cloudformation.update_termination_protection(StackName=CHECKED, EnableTerminationProtection=False)
        cloudformation.delete_stack(StackName=CHECKED)
        # The emulator creates the log group again when the interrupted sweep ends.
        deadline = time.monotonic() + 30
        while (remains := remaining()) != before and time.monotonic() < deadline:
            for group in set(remains["log groups"]) - set(before["log groups"]):
                aws.client("logs").delete_log_group(logGroupName=group)
            time.sleep(0.5)
        self.assertEqual(remains, before)
