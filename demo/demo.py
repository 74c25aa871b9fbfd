"""Deploys trailseal to an AWS emulator on this machine, and watches what it does to an account's trails.

Everything that it says is checked against what the emulator holds; it exits with 1 if anything does not hold.
"""

import difflib
import json
import shutil
import signal
import sys
import time
import traceback

from account import ELSEWHERE, HOME, Account
from local import LOGS, PROJECT, Trouble, architecture, emulator, environment, port, sam
from show import Show

STACK = "trailseal"
ALIAS = "alias/trailseal"
# The statements of a new key's policy, where no reader is configured.
POLICY = [
    "AccountAdministersThroughIam",
    "TrailsealFinishesCreation",
    "CloudTrailEncrypts",
    "CloudTrailDescribes",
    "CloudTrailDecryptsForBucketKeys",
]
BUILD = ".tools/demo/build"


def deploy(mode: str, env: dict[str, str]) -> float:
    return sam(
        f"deploy-{mode}",
        "deploy",
        "--template-file",
        f"{BUILD}/template.yaml",
        "--stack-name",
        STACK,
        "--parameter-overrides",
        f"Mode={mode}",
        f"Architecture={architecture()}",
        "--resolve-s3",
        "--capabilities",
        "CAPABILITY_NAMED_IAM",
        "--no-confirm-changeset",
        "--no-fail-on-empty-changeset",
        env=env,
    )


def short(arn: str | None) -> str:
    """A key's Region and the beginning of its id."""
    if not arn:
        return "none"
    region, key = arn.split(":")[3], arn.rpartition("/")[2]
    return f"{region} {key[:8]}"


def outcomes(answer: dict) -> list[str]:
    return [trail["outcome"] for trail in answer.get("trails", [])]


def without_key(trail: dict) -> dict:
    return {name: value for name, value in trail.items() if name != "KmsKeyId"}


def changes(before: dict, after: dict) -> str:
    old, new = (json.dumps(state, indent=1, default=str, sort_keys=True).splitlines() for state in (before, after))
    return "\n".join(difflib.unified_diff(old, new, "before", "after", lineterm="", n=1))


def dry_run(show: Show, account: Account, trails: dict[str, str], stack: dict[str, str], mailbox: str) -> None:
    show.scene("In dry-run mode: each trail's event, first to the deployed rule's pattern, then to the function")
    before = account.state(list(trails.values()))
    answers = {}
    for name, arn in trails.items():
        event = account.trail_event(arn)
        show.claim(f"the rule matches the event of {name}", account.matches(stack["TrailRuleName"], event))
        answers[name] = account.invoke(stack["FunctionName"], event)
        show.answer(answers[name])
        expected = ["compliant"] if name == "audit" else ["planned"]
        show.claim(
            f"the function says of {name}: {expected[0]}",
            outcomes(answers[name]) == expected,
            json.dumps(answers[name], indent=1),
        )

    failed = account.trail_event(trails["orders"], errorCode="AccessDenied")
    show.claim("the rule passes over a call that failed", not account.matches(stack["TrailRuleName"], failed))

    after = account.state(list(trails.values()))
    show.claim("no trail and no key has changed", before == after, changes(before, after))
    writes = [
        "cloudtrail:UpdateTrail",
        "cloudtrail:StartLogging",
        "kms:CreateKey",
        "kms:PutKeyPolicy",
        "kms:CreateAlias",
    ]
    verdicts = account.may(stack["RoleArn"], writes)
    show.claim(
        "IAM denies the role every write, explicitly",
        len(verdicts) == len(writes) and set(verdicts.values()) == {"explicitDeny"},
        verdicts,
    )
    alerts = account.alerts(mailbox)
    show.claim(
        "there is one alert for each trail that something would be done to", len(alerts) == len(trails) - 1, alerts
    )


def enforce(show: Show, account: Account, trails: dict[str, str], stack: dict[str, str], mailbox: str) -> None:
    show.scene("In enforce mode: the same events again")
    before = account.state(list(trails.values()))
    for name, arn in trails.items():
        answer = account.invoke(stack["FunctionName"], account.trail_event(arn))
        show.answer(answer)
        expected = ["compliant"] if name == "audit" else ["remediated"]
        show.claim(
            f"the function says of {name}: {expected[0]}", outcomes(answer) == expected, json.dumps(answer, indent=1)
        )

    show.scene("Before and after, as the emulator holds it")
    after = account.state(list(trails.values()))
    rows = []
    for name, arn in trails.items():
        old, new = before["trails"][arn], after["trails"][arn]
        bucket = account.client("s3").head_bucket(Bucket=new["S3BucketName"])["BucketRegion"]
        rows.append([name, bucket, short(old.get("KmsKeyId")), short(new.get("KmsKeyId"))])
    show.table(["trail", "bucket in", "key before", "key after"], rows)

    key_of = {name: after["trails"][arn].get("KmsKeyId") for name, arn in trails.items()}
    ours = {key["arn"]: key for key in after["keys"] if key["tags"].get("managed-by") == "trailseal"}
    show.claim("every trail is encrypted", all(key_of.values()), key_of)
    show.claim(
        "orders and billing share one key, in their buckets' Region",
        key_of["orders"] == key_of["billing"] and HOME in str(key_of["orders"]),
        key_of,
    )
    show.claim(f"far-away has one in {ELSEWHERE}, where its bucket is", ELSEWHERE in str(key_of["far-away"]), key_of)
    show.claim(
        "trailseal made these two keys and no more",
        set(ours) == {key_of["orders"], key_of["far-away"]} and len(after["keys"]) == len(before["keys"]) + 2,
        list(ours),
    )
    show.claim(
        "audit keeps the key of its owner, who finds it as it was",
        before["trails"][trails["audit"]] == after["trails"][trails["audit"]]
        and all(key in after["keys"] for key in before["keys"]),
        changes(before, after),
    )
    show.claim(
        "no other setting of any trail has changed",
        all(without_key(before["trails"][arn]) == without_key(after["trails"][arn]) for arn in trails.values()),
        changes(before["trails"], after["trails"]),
    )
    for key in ours.values():
        show.claim(
            f"the key in {key['region']} is enabled, rotates and is found as {ALIAS}",
            key["state"] == "Enabled" and key["rotates"] and key["aliases"] == [ALIAS],
            key,
        )

    if key_of["orders"] in ours:
        show.scene("The key that orders got, and its policy")
        key = ours[key_of["orders"]]
        show.say(f"{key['arn']}: {key['description']}")
        show.quote(json.dumps(key["policy"], indent=2))
        show.claim(
            "it lets in the account's administrators, CloudTrail, and trailseal to finish it; nobody else",
            [statement.get("Sid") for statement in key["policy"]["Statement"]] == POLICY,
        )

    alerts = account.alerts(mailbox)
    show.scene("The alert about orders, as it would come by e-mail")
    about = [alert for alert in alerts if trails["orders"] in alert["Message"]]
    show.claim(
        "there is one alert for each trail that was sealed, one of them about orders",
        len(alerts) == len(trails) - 1 and len(about) == 1,
        [alert.get("Subject") for alert in alerts],
    )
    for alert in about[:1]:
        show.quote(f"Subject: {alert.get('Subject')}\n\n{alert['Message']}")


def repeat(show: Show, account: Account, trails: dict[str, str], stack: dict[str, str], mailbox: str) -> None:
    show.scene("The same event once more, as when EventBridge delivers one twice")
    before = account.state(list(trails.values()))
    answer = account.invoke(stack["FunctionName"], account.trail_event(trails["orders"]))
    show.answer(answer)
    after = account.state(list(trails.values()))
    show.claim(
        "the function says of orders: compliant", outcomes(answer) == ["compliant"], json.dumps(answer, indent=1)
    )
    show.claim("nothing has changed, and there is no new key", before == after, changes(before, after))
    show.claim("and nobody is bothered with an alert", account.alerts(mailbox) == [])


def play(show: Show) -> None:
    at = port()
    env = environment(f"http://127.0.0.1:{at}", HOME)
    account = Account(env)

    show.scene("Building the function as it would be deployed (the first time takes some minutes)")
    seconds = sam(
        "build", "build", "--build-dir", BUILD, "--parameter-overrides", f"Architecture={architecture()}", env=env
    )
    show.say(f"sam build took {seconds:.0f} s.")

    with emulator(at, env):
        show.scene(f"An account in an AWS emulator at {env['AWS_ENDPOINT_URL']}")
        account.make_bucket("logs-near", HOME)
        account.make_bucket("logs-far", ELSEWHERE)
        trails = {
            "orders": account.make_trail("orders", "logs-near"),
            "billing": account.make_trail("billing", "logs-near"),
            "far-away": account.make_trail("far-away", "logs-far"),
            "audit": account.make_trail("audit", "logs-near", account.make_owners_key()),
        }
        show.say(
            f"It has four trails in {HOME}. Three are not encrypted: orders and billing, with a bucket in {HOME}, and "
            f"far-away, whose bucket is in {ELSEWHERE}. The fourth, audit, is encrypted with a key of the account's owner."
        )
        show.say(f"sam deploy with Mode=dry-run took {deploy('dry-run', env):.0f} s.")
        stack = account.outputs(STACK)
        mailbox = account.listen(stack["AlertTopicArn"])
        dry_run(show, account, trails, stack, mailbox)

        show.scene("The owner has read what would be done, and deploys Mode=enforce")
        show.say(f"sam deploy took {deploy('enforce', env):.0f} s.")
        enforce(show, account, trails, stack, mailbox)
        repeat(show, account, trails, stack, mailbox)


def stop(signum: int, _frame: object) -> None:
    # As an exception, so that every `finally` on the way out ends what it started.
    raise SystemExit(128 + signum)


def main() -> int:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, stop)
    began = time.monotonic()
    shutil.rmtree(LOGS / "tmp", ignore_errors=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    show = Show()
    try:
        play(show)
    except Trouble as trouble:
        print(f"error: {trouble}", file=sys.stderr)
        return 1
    except Exception as error:  # noqa: BLE001 - the last resort; what it was stands in the log
        log = LOGS / "demo.log"
        log.write_text(traceback.format_exc())
        print(
            f"error: {type(error).__name__}: {error}; see {log.relative_to(PROJECT)} and the logs beside it",
            file=sys.stderr,
        )
        return 1
    finally:
        shutil.rmtree(LOGS / "tmp", ignore_errors=True)

    show.scene(f"Done in {time.monotonic() - began:.0f} s; nothing is left running")
    if show.broken:
        print(f"error: {show.broken} of these claims did not hold; logs: {LOGS.relative_to(PROJECT)}", file=sys.stderr)
        return 1
    show.say("Everything said above was checked against the emulator.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
