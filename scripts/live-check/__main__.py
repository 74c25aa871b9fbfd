"""Checks on a sandbox account what emulators cannot show, and prints the results as a Markdown table.

It creates a stack, trails, buckets, keys, and a role, and removes them, also after a failure or an interrupt. Keys stay
scheduled for deletion for seven days, which costs nothing. Run it with the Python of .tools/sam, after `make build`.
"""

import argparse
import re
import signal
import sys
import traceback
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from checks import CHECKS
from run import SKIPPED, Run
from sandbox import LOGS, ROOT, Sandbox, SandboxError, code, say


def account_id(text: str) -> str:
    if not re.fullmatch(r"\d{12}", text):
        raise argparse.ArgumentTypeError("must be the 12 digits of an account's ID")
    return text


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/live-check", description=__doc__)
    parser.add_argument(
        "--account", required=True, type=account_id, metavar="ID", help="the sandbox account, which must be the caller's"
    )
    parser.add_argument("--validate", action="store_true", help="only check the arguments and the account")
    parser.add_argument("--region", help="default: from the AWS configuration")
    parser.add_argument("--other-region", help="for a trail in another Region (default: one of the partition)")
    parser.add_argument("--build", type=Path, default=ROOT / ".aws-sam" / "build", help="a build or package folder")
    parser.add_argument("--parameters", nargs="*", default=[], metavar="NAME=VALUE", help="of the stack")
    parser.add_argument("--patience", type=float, default=1, metavar="FACTOR", help="multiplies every wait")
    return parser.parse_args()


def sandbox(options: argparse.Namespace) -> Sandbox:
    """Refuses an account in which the run could change what is not its own."""
    region = options.region or boto3.Session().region_name
    if not region:
        raise SandboxError("set --region")
    identity = boto3.client("sts", region_name=region).get_caller_identity()
    if identity["Account"] != options.account:
        raise SandboxError(f"the credentials are for account {identity['Account']}, not {options.account}")
    if not options.validate and not (options.build / "template.yaml").exists():
        raise SandboxError(f"{options.build} has no template.yaml: run `make build`")
    account = Sandbox(identity, region, options.other_region, options.patience)
    for at in account.regions:
        check_unused(account, at)
    for page in account.client("cloudtrail").get_paginator("list_trails").paginate():
        for trail in page["Trails"]:
            # trailseal never changes the trails of other accounts.
            if trail["TrailARN"].split(":")[4] == account.account:
                check_exempt(account, trail)
    return account


def check_unused(account: Sandbox, region: str) -> None:
    for page in account.client("lambda", region).get_paginator("list_functions").paginate():
        for function in page["Functions"]:
            if "TRAILSEAL_MODE" in function.get("Environment", {}).get("Variables", {}):
                raise SandboxError(
                    f"trailseal is deployed as {function['FunctionName']} in {region}: delete its stack first"
                )
    # A function in a third Region creates this alias where buckets are.
    try:
        account.client("kms", region).describe_key(KeyId="alias/trailseal")
    except ClientError as error:
        if code(error) != "NotFoundException":
            raise
    else:
        raise SandboxError(f"alias/trailseal exists in {region}: delete trailseal's stack, and then the alias")


def check_exempt(account: Sandbox, trail: dict) -> None:
    cloudtrail = account.client("cloudtrail", trail["HomeRegion"])
    [tags] = cloudtrail.list_tags(ResourceIdList=[trail["TrailARN"]])["ResourceTagList"]
    if "trailseal:exempt" not in [tag["Key"] for tag in tags.get("TagsList", [])]:
        raise SandboxError(
            f"the run would encrypt {trail['TrailARN']}: use an account without trails, or tag it trailseal:exempt"
        )


def check(run: Run) -> None:
    for name, expectation, function in CHECKS:
        say(name, end=": ")
        try:
            result = function(run)
        except Exception as error:  # noqa: BLE001 - the other checks must follow
            result = False, f"{type(error).__name__}: {error}"
        if result is SKIPPED:
            say("skipped")
            continue
        confirmed, observed = result
        verdict = "confirmed" if confirmed else "**differs**"
        observed = run.aws.redact(" ".join(observed.split()))
        say(f"{verdict} {observed}")
        run.aws.note("check", {"name": name, "result": verdict, "observed": observed})
        run.rows.append((f"{name}: {expectation}", verdict, observed[:300].replace("|", "\\|")))


def interrupt(signum: int, _frame: object) -> None:
    raise KeyboardInterrupt(signal.Signals(signum).name)


def main() -> int:
    options = arguments()
    LOGS.mkdir(parents=True, exist_ok=True)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, interrupt)
    try:
        account = sandbox(options)
    except (SandboxError, ClientError, BotoCoreError) as error:
        say(f"error: {error}")
        return 2
    if options.validate:
        return 0
    run, exit_code = Run(account, options.build.resolve(), options.parameters), 0
    try:
        run.prepare()
        check(run)
    except KeyboardInterrupt as interruption:
        say(f"\nstopped by {interruption}")
        exit_code = 130
    except Exception as error:  # noqa: BLE001 - what remains must be named
        expected = isinstance(error, (SandboxError, ClientError, BotoCoreError))
        say(account.redact(f"error: {error}" if expected else f"error: {type(error).__name__}: {error}"))
        exit_code = 2
        account.note("error", traceback.format_exc())
    finally:
        # A second interrupt would leave resources behind.
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
        remains = account.clean_up()
    account.note("remains", remains)
    print(f"{account.began:%F}, {account.region}, commit {run.commit}\n\n| check | result | observed |\n|---|---|---|")
    for row in run.rows:
        print("| " + " | ".join(row) + " |")
    print("\nKeys of this run are scheduled for deletion in 7 days, at no cost.")
    for what in remains:
        print(f"Remove by hand: {what}")
    say(f"Record: {account.record.relative_to(ROOT)}")
    differs = any(verdict != "confirmed" for _, verdict, _ in run.rows)
    return exit_code or int(differs or bool(remains))


if __name__ == "__main__":
    sys.exit(main())
