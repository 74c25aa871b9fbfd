"""Deploys trailseal to an AWS emulator on this machine, and watches what it does to an account's trails.

Everything that it says is checked against what the emulator holds; it exits with 1 if anything does not hold.
"""

import json
import os
import shutil
import signal
import sys
import time
import traceback
from datetime import datetime, timezone

from account import ELSEWHERE, HOME, LEFT_OVER, READER, REPLICATION_RULE, Account
from local import LOGS, PROJECT, Trouble, architecture, build, deploy, emulator, environment, port
from look import changes, cloudtrails, granted, outcomes, short, steps, warnings, without_key
from show import Show
from sweep import sweep
from trouble import trouble

STACK = "trailseal"
ALIAS = "alias/trailseal"
# The statements of a new key's policy, where one role is configured as a reader.
POLICY = [
    "AccountAdministersThroughIam",
    "TrailsealFinishesCreation",
    "CloudTrailEncrypts",
    "CloudTrailDescribes",
    "CloudTrailDecryptsForBucketKeys",
    "LogReadersDecrypt",
]


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

    warned = warnings(answers["far-away"])
    show.claim(
        "of far-away it names the reader who would be locked out, and the replication rule that would stop",
        READER in warned.get("readers-locked-out", "")
        and f"`{REPLICATION_RULE}`" in warned.get("replication-will-stop", ""),
        warned,
    )
    show.claim(
        "of orders and billing, whose bucket nobody else reads, it names nobody",
        not warnings(answers["orders"]) and not warnings(answers["billing"]),
        [warnings(answers["orders"]), warnings(answers["billing"])],
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
        "kms:EnableKey",
        "kms:CancelKeyDeletion",
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
    about = [alert["Message"] for alert in alerts if trails["far-away"] in alert["Message"]]
    show.claim(
        "the one about far-away names that reader and that rule",
        len(about) == 1 and READER in about[0] and REPLICATION_RULE in about[0],
        "\n".join(about),
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
        if name == "far-away":
            show.claim("nobody is locked out any more, and no replication stops", not warnings(answer), answer)

    show.scene("Before and after, as the emulator holds it")
    after = account.state(list(trails.values()))
    rows = []
    for name, arn in trails.items():
        old, new = before["trails"][arn], after["trails"][arn]
        rows.append(
            [name, account.region_of(new["S3BucketName"]), short(old.get("KmsKeyId")), short(new.get("KmsKeyId"))]
        )
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
            "it lets in the account's administrators, CloudTrail, trailseal to finish it, and the reader; nobody else",
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


def repeat(
    show: Show, account: Account, trails: dict[str, str], stack: dict[str, str], mailbox: str, event: dict
) -> None:
    show.scene("The same event once more, as when EventBridge delivers one twice")
    before, began = account.state(list(trails.values())), datetime.now(timezone.utc)
    answer = account.invoke(stack["FunctionName"], event)
    show.answer(answer)
    writes = account.key_writes(began)
    after = account.state(list(trails.values()))
    show.claim(
        "the function says of orders: compliant", outcomes(answer) == ["compliant"], json.dumps(answer, indent=1)
    )
    show.claim("nothing has changed, and there is no new key", before == after, changes(before, after))
    show.claim("KMS was not even asked to change anything", writes == [], writes)
    show.claim("and nobody is bothered with an alert", account.alerts(mailbox) == [])


def mend(show: Show, account: Account, trails: dict[str, str], stack: dict[str, str], mailbox: str) -> dict:
    """Somebody breaks the key of orders; returns the event after which it is mended."""
    key = account.trail(trails["orders"]).get("KmsKeyId")
    if not key:
        raise Trouble("orders has no key that somebody could break: see what did not hold above")
    show.scene(f"Behind trailseal's back, somebody breaks the key in {key.split(':')[3]}")
    sound = account.state(list(trails.values()))
    account.break_key(key)
    broken = account.state(list(trails.values()))
    show.say(
        "The key is disabled, and its policy replaced: what is left are the account's root and a statement of that "
        "somebody's own. No log file of orders and billing could be written now. Then somebody touches orders:"
    )
    event = account.trail_event(trails["orders"], eventName="UpdateTrail")
    show.claim("the rule matches that event", account.matches(stack["TrailRuleName"], event))
    began = datetime.now(timezone.utc)
    answer = account.invoke(stack["FunctionName"], event)
    writes = account.key_writes(began)
    show.answer(answer)
    mended = account.state(list(trails.values()))

    [was, bad, now] = (
        next(found for found in state["keys"] if found["arn"] == key) for state in (sound, broken, mended)
    )
    show.table(
        ["the key", "state", "statements", "of these CloudTrail's"],
        [
            [when, found["state"], len(found["policy"]["Statement"]), len(cloudtrails(found["policy"]))]
            for when, found in (("before", was), ("broken", bad), ("after", now))
        ],
    )
    show.claim(
        "the function says of orders: remediated, by restoring the key and extending its policy",
        outcomes(answer) == ["remediated"] and steps(answer) == ["restore-key done", "extend-key-policy done"],
        json.dumps(answer, indent=1),
    )
    show.claim(
        "the key is enabled again, and apart from its policy as it was",
        (bad["state"], now["state"]) == ("Disabled", "Enabled") and now == was | {"policy": now["policy"]},
        changes(was, now),
    )
    [old, new] = [[granted(statement) for statement in found["policy"]["Statement"]] for found in (was, now)]
    kept = len(LEFT_OVER)
    show.claim(
        "CloudTrail's statements are back, and so is whatever else trailseal had written; nothing more",
        len(cloudtrails(was["policy"])) == len(cloudtrails(now["policy"])) == 3
        and cloudtrails(bad["policy"]) == []
        and all(statement in new for statement in old)
        and all(statement in old for statement in new[kept:]),
        json.dumps(now["policy"], indent=2),
    )
    show.claim(
        "what stood in the broken policy stands there as it was, somebody's own statement included",
        bad["policy"]["Statement"] == LEFT_OVER == now["policy"]["Statement"][:kept],
        json.dumps(now["policy"], indent=2),
    )
    # The emulator has no lock-out check, so what it was sent is all that there is to see of it.
    show.claim(
        "KMS was asked for these two things only, and not to skip its lock-out check",
        [name for name, _ in writes] == ["EnableKey", "PutKeyPolicy"]
        and not any(sent.get("BypassPolicyLockoutSafetyCheck") for _, sent in writes),
        writes,
    )
    show.claim(
        "every trail and every other key is as it was; orders and billing have the same key",
        sound["trails"] == mended["trails"]
        and [found for found in sound["keys"] if found["arn"] != key]
        == [found for found in mended["keys"] if found["arn"] != key],
        changes(sound, mended),
    )
    alerts = account.alerts(mailbox)
    show.claim(
        "there is one alert, about orders",
        len(alerts) == 1 and trails["orders"] in alerts[0]["Message"],
        [alert.get("Subject") for alert in alerts],
    )
    return event


def play(show: Show) -> None:
    at = port(os.environ.get("DEMO_PORT", "0"))
    env = environment(f"http://127.0.0.1:{at}", HOME)
    account = Account(env)

    show.scene("Building the function as it would be deployed (the first time takes some minutes)")
    show.say(f"sam build took {build(env):.0f} s.")

    with emulator(at, env):
        show.scene(f"An account in an AWS emulator at {env['AWS_ENDPOINT_URL']}")
        account.make_bucket("logs-near", HOME)
        account.make_bucket("logs-far", ELSEWHERE, READER)
        account.make_bucket("archive", HOME)
        account.replicate("logs-far", "archive")
        owners_key = account.make_owners_key()
        trails = {
            "orders": account.make_trail("orders", "logs-near"),
            "billing": account.make_trail("billing", "logs-near"),
            "far-away": account.make_trail("far-away", "logs-far"),
            "audit": account.make_trail("audit", "logs-near", owners_key),
        }
        show.say(
            f"It has four trails in {HOME}. Three are not encrypted: orders and billing, with a bucket in {HOME}, and "
            f"far-away, whose bucket is in {ELSEWHERE}. The fourth, audit, is encrypted with a key of the account's owner."
        )
        show.say(
            f"The bucket of far-away is read by a role of another account, {READER}, and replicated to an archive by a "
            "rule that does not take what is encrypted with a KMS key."
        )
        seconds = deploy("deploy-dry-run", STACK, "Mode=dry-run", f"Architecture={architecture()}", env=env)
        show.say(f"sam deploy with Mode=dry-run took {seconds:.0f} s.")
        stack = account.outputs(STACK)
        mailbox = account.listen(stack["AlertTopicArn"])
        dry_run(show, account, trails, stack, mailbox)

        show.scene("The owner has read what would be done, and deploys Mode=enforce")
        account.replicate("logs-far", "archive", owners_key)
        show.say("First, the replication rule was told to take encrypted objects too, and LogReaders names that role.")
        seconds = deploy("deploy-enforce", STACK, "Mode=enforce", f"LogReaders={READER}", env=env)
        show.say(f"sam deploy took {seconds:.0f} s.")
        enforce(show, account, trails, stack, mailbox)
        repeat(show, account, trails, stack, mailbox, account.trail_event(trails["orders"]))
        event = mend(show, account, trails, stack, mailbox)
        repeat(show, account, trails, stack, mailbox, event)
        sweep(show, account, trails, stack, mailbox)
        trouble(show, account, stack, mailbox)


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
