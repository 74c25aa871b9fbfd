"""Deploys trailseal to an AWS emulator on this machine, and shows what it does with an account's trails.

Every statement in the output is checked against the emulator's state. The exit code is 1 if a check fails.
"""

import json
import os
import shutil
import signal
import sys
import time
import traceback
from datetime import datetime, timezone

import command_line
from account import HOME, OTHER_REGION, READER, REPLICATION_ROLE, REPLICATION_RULE, STRIPPED_POLICY, Account
from answers import (
    changes,
    cloudtrail_statements,
    outcomes,
    short_key,
    steps,
    warnings,
    without_key,
    without_sid,
)
from context import Demo
from failure import failure
from local import LOGS, PROJECT, SetupError, architecture, build, build_command_line, deploy, emulator, environment, port
from output import Output
from sweep import sweep

STACK = "trailseal"
ALIAS = "alias/trailseal"
# The statements of a new key's policy if LogReaders names one role.
POLICY = [
    "AccountAdministersThroughIam",
    "TrailsealFinishesCreation",
    "CloudTrailEncrypts",
    "CloudTrailDescribes",
    "CloudTrailDecryptsForBucketKeys",
    "LogReadersDecrypt",
]
WRITES = [
    "cloudtrail:UpdateTrail",
    "cloudtrail:StartLogging",
    "kms:CreateKey",
    "kms:PutKeyPolicy",
    "kms:CreateAlias",
    "kms:EnableKey",
    "kms:CancelKeyDeletion",
]


def expected_outcome(trail: str, otherwise: str) -> str:
    return "compliant" if trail == "audit" else otherwise


def dry_run(demo: Demo) -> None:
    output, account, trails, rule = demo.output, demo.account, demo.trails, demo.stack["TrailRuleName"]
    output.heading("Dry-run mode: an event for each trail")
    before = demo.state()
    answers = {}
    for name, arn in trails.items():
        event = account.trail_event(arn)
        output.check(f"the deployed rule matches the event for {name}", account.rule_matches(rule, event))
        answers[name] = demo.invoke(event)
        output.answer(answers[name])
        expected = expected_outcome(name, "planned")
        output.check(
            f"the outcome of {name} is {expected}",
            outcomes(answers[name]) == [expected],
            json.dumps(answers[name], indent=1),
        )

    warned = warnings(answers["remote"])
    output.check(
        "the answer for remote names the reader that would lose access and the replication rule that would stop",
        READER in warned.get("readers-locked-out", "")
        and f"`{REPLICATION_RULE}`" in warned.get("replication-will-stop", ""),
        warned,
    )
    output.check(
        "orders and billing have no warnings, because no one else reads their bucket",
        not warnings(answers["orders"]) and not warnings(answers["billing"]),
        [warnings(answers["orders"]), warnings(answers["billing"])],
    )

    failed_call = account.trail_event(trails["orders"], errorCode="AccessDenied")
    output.check("the rule does not match a failed API call", not account.rule_matches(rule, failed_call))

    after = demo.state()
    output.check("no trail or key has changed", before == after, changes(before, after))
    decisions = account.simulate(demo.stack["RoleArn"], WRITES)
    output.check(
        "IAM explicitly denies the role every write action",
        len(decisions) == len(WRITES) and set(decisions.values()) == {"explicitDeny"},
        decisions,
    )
    alerts = demo.alerts()
    output.check("trailseal sent one alert for each trail with planned changes", len(alerts) == len(trails) - 1, alerts)
    about = [alert["Message"] for alert in alerts if trails["remote"] in alert["Message"]]
    output.check(
        "the alert about remote names that reader and that rule",
        len(about) == 1 and READER in about[0] and REPLICATION_RULE in about[0],
        "\n".join(about),
    )


def enforce(demo: Demo) -> None:
    output, account, trails = demo.output, demo.account, demo.trails
    output.heading("Enforce mode: the same events again")
    before = demo.state()
    for name, arn in trails.items():
        answer = demo.invoke(account.trail_event(arn))
        output.answer(answer)
        expected = expected_outcome(name, "remediated")
        output.check(f"the outcome of {name} is {expected}", outcomes(answer) == [expected], json.dumps(answer, indent=1))
        if name == "remote":
            output.check("no reader loses access, and no replication rule stops", not warnings(answer), answer)

    output.heading("The trails before and after")
    after = demo.state()
    rows = []
    for name, arn in trails.items():
        old, new = before["trails"][arn], after["trails"][arn]
        bucket_region = account.region_of(new["S3BucketName"])
        rows.append([name, bucket_region, short_key(old.get("KmsKeyId")), short_key(new.get("KmsKeyId"))])
    output.table(["trail", "bucket Region", "key before", "key after"], rows)

    key_of = {name: after["trails"][arn].get("KmsKeyId") for name, arn in trails.items()}
    created = {key["arn"]: key for key in after["keys"] if key["tags"].get("managed-by") == "trailseal"}
    output.check("every trail is encrypted", all(key_of.values()), key_of)
    output.check(
        "orders and billing share one key in the Region of their bucket",
        key_of["orders"] == key_of["billing"] and HOME in str(key_of["orders"]),
        key_of,
    )
    output.check(
        f"remote has a key in {OTHER_REGION}, the Region of its bucket", OTHER_REGION in str(key_of["remote"]), key_of
    )
    output.check(
        "trailseal created only these two keys",
        set(created) == {key_of["orders"], key_of["remote"]} and len(after["keys"]) == len(before["keys"]) + 2,
        list(created),
    )
    output.check(
        "audit keeps the key of the account's owner, which is unchanged",
        before["trails"][trails["audit"]] == after["trails"][trails["audit"]]
        and all(key in after["keys"] for key in before["keys"]),
        changes(before, after),
    )
    output.check(
        "no other setting of any trail has changed",
        all(without_key(before["trails"][arn]) == without_key(after["trails"][arn]) for arn in trails.values()),
        changes(before["trails"], after["trails"]),
    )
    for key in created.values():
        output.check(
            f"the key in {key['region']} is enabled, rotates yearly, and has the alias {ALIAS}",
            key["state"] == "Enabled" and key["rotates"] and key["aliases"] == [ALIAS],
            key,
        )
    if key_of["orders"] in created:
        show_key(output, created[key_of["orders"]])
    show_alert(demo)


def show_key(output: Output, key: dict) -> None:
    output.heading("The new key of orders and billing, and its policy")
    output.text(f"{key['arn']}: {key['description']}")
    order = ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"]
    statements = [{name: it[name] for name in order if name in it} for it in key["policy"]["Statement"]]
    output.quote(json.dumps({"Version": key["policy"]["Version"], "Statement": statements}, indent=2))
    output.check(
        "the policy allows only the account's administrators, CloudTrail, trailseal's own setup calls, and the log reader",
        [statement.get("Sid") for statement in key["policy"]["Statement"]] == POLICY,
    )


def show_alert(demo: Demo) -> None:
    output, alerts = demo.output, demo.alerts()
    output.heading("The email alert about orders")
    about = [alert for alert in alerts if demo.trails["orders"] in alert["Message"]]
    output.check(
        "trailseal sent one alert for each remediated trail, including orders",
        len(alerts) == len(demo.trails) - 1 and len(about) == 1,
        [alert.get("Subject") for alert in alerts],
    )
    for alert in about[:1]:
        output.quote(f"Subject: {alert.get('Subject')}\n\n{alert['Message']}")


def repeat(demo: Demo, event: dict) -> None:
    output = demo.output
    output.heading("The same event again: EventBridge can deliver an event more than once")
    before, start = demo.state(), datetime.now(timezone.utc)
    answer = demo.invoke(event)
    output.answer(answer)
    writes = demo.account.key_writes(start)
    after = demo.state()
    output.check("the outcome of orders is compliant", outcomes(answer) == ["compliant"], json.dumps(answer, indent=1))
    output.check("no trail or key has changed, and no key was created", before == after, changes(before, after))
    output.check("trailseal made no write call to KMS", writes == [], writes)
    output.check("trailseal sent no alert", demo.alerts() == [])


def restore(demo: Demo) -> dict:
    """Breaks the key of orders and has it restored. Returns the event that restored it."""
    output, account, trails = demo.output, demo.account, demo.trails
    key = account.trail(trails["orders"]).get("KmsKeyId")
    if not key:
        raise SetupError("orders has no key to break: see the failed checks above")
    output.heading(f"An administrator breaks the key in {key.split(':')[3]}")
    healthy = demo.state()
    account.break_key(key)
    broken = demo.state()
    output.text(
        "The administrator disables the key and replaces its policy. The new policy allows only the account root and a user, so "
        "CloudTrail can no longer deliver the log files of orders and billing. Then an event for orders arrives:"
    )
    event = account.trail_event(trails["orders"], eventName="UpdateTrail")
    output.check("the deployed rule matches that event", account.rule_matches(demo.stack["TrailRuleName"], event))
    start = datetime.now(timezone.utc)
    answer = demo.invoke(event)
    writes = account.key_writes(start)
    output.answer(answer)
    restored = demo.state()

    [was, bad, now] = (
        next(found for found in state["keys"] if found["arn"] == key) for state in (healthy, broken, restored)
    )
    output.table(
        ["when", "state", "statements", "CloudTrail statements"],
        [
            [when, found["state"], len(found["policy"]["Statement"]), len(cloudtrail_statements(found["policy"]))]
            for when, found in (("before", was), ("broken", bad), ("after", now))
        ],
    )
    output.check(
        "the outcome of orders is remediated: the key is restored and its policy extended",
        outcomes(answer) == ["remediated"] and steps(answer) == ["restore-key done", "extend-key-policy done"],
        json.dumps(answer, indent=1),
    )
    output.check(
        "the key is enabled again, and unchanged except for its policy",
        (bad["state"], now["state"]) == ("Disabled", "Enabled") and now == was | {"policy": now["policy"]},
        changes(was, now),
    )
    [old, new] = [[without_sid(statement) for statement in found["policy"]["Statement"]] for found in (was, now)]
    kept = len(STRIPPED_POLICY)
    output.check(
        "the policy contains all of trailseal's statements again, and no other new statement",
        len(cloudtrail_statements(was["policy"])) == len(cloudtrail_statements(now["policy"])) == 3
        and cloudtrail_statements(bad["policy"]) == []
        and all(statement in new for statement in old)
        and all(statement in old for statement in new[kept:]),
        json.dumps(now["policy"], indent=2),
    )
    output.check(
        "the administrator's statements are unchanged",
        bad["policy"]["Statement"] == STRIPPED_POLICY == now["policy"]["Statement"][:kept],
        json.dumps(now["policy"], indent=2),
    )
    # The emulator has no lockout safety check; only the request shows whether it would be bypassed.
    output.check(
        "trailseal made only two write calls to KMS, EnableKey and PutKeyPolicy, and bypassed no lockout safety check",
        [name for name, _ in writes] == ["EnableKey", "PutKeyPolicy"]
        and not any(request.get("BypassPolicyLockoutSafetyCheck") for _, request in writes),
        writes,
    )
    output.check(
        "all trails and all other keys are unchanged",
        healthy["trails"] == restored["trails"]
        and [found for found in healthy["keys"] if found["arn"] != key]
        == [found for found in restored["keys"] if found["arn"] != key],
        changes(healthy, restored),
    )
    alerts = demo.alerts()
    output.check(
        "trailseal sent one alert, about orders",
        len(alerts) == 1 and trails["orders"] in alerts[0]["Message"],
        [alert.get("Subject") for alert in alerts],
    )
    return event


def create_trails(output: Output, account: Account, owners_key: str) -> dict[str, str]:
    account.make_bucket("logs-near", HOME)
    account.make_bucket("logs-far", OTHER_REGION, READER)
    account.make_bucket("archive", HOME)
    account.make_bucket("logs-by-hand", HOME)
    account.replicate("logs-far", "archive")
    trails = {
        "orders": account.make_trail("orders", "logs-near"),
        "billing": account.make_trail("billing", "logs-near"),
        "remote": account.make_trail("remote", "logs-far"),
        "audit": account.make_trail("audit", "logs-near", owners_key),
    }
    output.text(
        f"The account has four trails in {HOME}. Three are not encrypted with a KMS key: orders and billing, whose bucket is in "
        f"{HOME}, and remote, whose bucket is in {OTHER_REGION}. The fourth, audit, is encrypted with the account owner's own key."
    )
    output.text(
        f"A role in another account, {READER}, reads the bucket of remote. A replication rule copies that bucket to an "
        "archive bucket, but skips objects that are encrypted with a KMS key."
    )
    return trails


def run(output: Output) -> None:
    at = port(os.environ.get("DEMO_PORT", "0"))
    env = environment(f"http://127.0.0.1:{at}", HOME)
    account = Account(env)

    output.heading("Building the function (a few minutes the first time)")
    output.text(f"The build took {build(env):.0f} s.")
    program = build_command_line(env)

    with emulator(at, env):
        output.heading(f"An account in an AWS emulator at {env['AWS_ENDPOINT_URL']}")
        owners_key = account.make_owners_key()
        trails = create_trails(output, account, owners_key)
        command_line.plan(output, program, account, trails)
        seconds = deploy("deploy-dry-run", STACK, "Mode=dry-run", f"Architecture={architecture()}", env=env)
        output.text(f"`sam deploy` with Mode=dry-run took {seconds:.0f} s.")
        stack = account.outputs(STACK)
        demo = Demo(output, account, trails, stack, account.subscribe_queue(stack["AlertTopicArn"]))
        dry_run(demo)

        output.heading("The account's owner reviews the plan and deploys with Mode=enforce")
        account.replicate("logs-far", "archive", owners_key)
        output.text("The replication rule now includes objects encrypted with a KMS key. LogReaders contains both roles.")
        seconds = deploy("deploy-enforce", STACK, "Mode=enforce", f"LogReaders={READER},{REPLICATION_ROLE}", env=env)
        output.text(f"`sam deploy` took {seconds:.0f} s.")
        enforce(demo)
        repeat(demo, account.trail_event(trails["orders"]))
        repeat(demo, restore(demo))
        sweep(demo)
        failure(demo)
        command_line.apply(output, program, account)


def stop(signum: int, _frame: object) -> None:
    # An exception, so that every `finally` block stops its processes.
    raise SystemExit(128 + signum)


def main() -> int:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, stop)
    start = time.monotonic()
    shutil.rmtree(LOGS / "tmp", ignore_errors=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    output = Output()
    try:
        run(output)
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Exception as error:  # noqa: BLE001 - the last resort; the log has the traceback
        log = LOGS / "demo.log"
        log.write_text(traceback.format_exc())
        print(
            f"error: {type(error).__name__}: {error} (log: {log.relative_to(PROJECT)}; the other logs are in the same folder)",
            file=sys.stderr,
        )
        return 1
    finally:
        shutil.rmtree(LOGS / "tmp", ignore_errors=True)

    output.heading(f"Finished in {time.monotonic() - start:.0f} s; the emulator is stopped")
    if output.failed:
        print(f"error: {output.failed} checks failed (logs: {LOGS.relative_to(PROJECT)})", file=sys.stderr)
        return 1
    output.text("Every statement above was checked against the emulator's state.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
