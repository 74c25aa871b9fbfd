"""The checks, in the order in which they run. Each returns whether AWS behaves as expected, and what was observed, or SKIPPED."""

import json
import re
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import boto3

from run import MINUTE, SKIPPED, Result, Run, errors, lookup, now, outcomes, refusal, steps
from sandbox import EXEMPT, ROOT, STACK, TAG, policy

CHECKS: list[tuple[str, str, Callable[[Run], Result | None]]] = []
ENCRYPTS = {
    "Effect": "Allow",
    "Principal": {"Service": "cloudtrail.amazonaws.com"},
    "Action": ["kms:GenerateDataKey*", "kms:DescribeKey"],
    "Resource": "*",
}


def check(name: str, expectation: str):
    def register(function: Callable[[Run], Result | None]):
        CHECKS.append((name, expectation, function))
        return function

    return register


# Dry-run mode


@check("First sweep", "within two minutes of the deployment")
def first_sweep(run: Run) -> Result:
    return run.answer(2 * MINUTE, run.deployed, kind="sweep")


@check("Missing alias", "`planned` with `create-key` in the bucket's Region, though the role may not list the bucket")
def missing_alias(run: Run) -> Result:
    [trail] = run.aws.seal(run.trail)["trails"]
    created = [step["detail"] for step in trail["steps"] if step["step"] == "create-key"]
    return trail["outcome"] == "planned" and run.aws.region in "".join(created), f"{trail['outcome']} ({steps(trail)})"


@check("Events of the only trail", "answers to `StopLogging` and `StartLogging`, each within two minutes")
def only_trail(run: Run) -> Result:
    cloudtrail, since = run.aws.client("cloudtrail"), now()
    cloudtrail.stop_logging(Name=run.trail)
    stopped, stop = run.answer(2 * MINUTE, since, kind="StopLogging")
    since = now()
    cloudtrail.start_logging(Name=run.trail)
    started, start = run.answer(2 * MINUTE, since, kind="StartLogging")
    return stopped and started, f"stop: {stop}; start: {start}"


@check("Metric filter", "`Sweeps` counts sweeps without an error only")
def metric_filter(run: Run) -> Result:
    answers = [json.dumps({"trigger": {"kind": "sweep"}, "error": error}) for error in (None, {"class": "terminal"})]
    logs = run.aws.client("logs")
    filters = logs.describe_metric_filters(logGroupName=run.stack["LogGroupName"])["metricFilters"]
    [pattern] = [it["filterPattern"] for it in filters if it["metricTransformations"][0]["metricName"] == "Sweeps"]
    found = logs.test_metric_filter(filterPattern=pattern, logEventMessages=answers)["matches"]
    matched = [it["eventMessage"] for it in found]
    return matched == answers[:1], f"{len(matched)} of 2 messages"


@check("Policy length", "32,768 bytes are the limit")
def policy_length(run: Run) -> Result:
    kms, key = run.aws.client("kms"), run.aws.key()

    def put(size: int, spaces: int = 0) -> str:
        statement = {"Effect": "Deny", "Principal": "*", "Action": "kms:Sign", "Resource": "*"}
        shortest = len(run.aws.key_policy(statement | {"Sid": ""}))
        text = run.aws.key_policy(statement | {"Sid": "x" * (size - shortest)})
        return refusal(lambda: kms.put_key_policy(KeyId=key, PolicyName="default", Policy=text + " " * spaces))

    longest, longer, spaced = put(32768), put(32769), put(32000, 2000)
    observed = f"32,768: {longest}; 32,769: {longer}; 32,000 and 2,000 spaces: {spaced}"
    return (longest, longer) == ("accepted", "LimitExceededException"), observed


# Enforce mode


@check("Lockout check", "the first sweep in enforce mode creates a key and seals the trail")
def lockout(run: Run) -> Result:
    since = run.deploy("Mode=enforce")
    found = [it for it in run.sweeps(since) if it["mode"] == "enforce"]
    answer = found[0] if found else run.aws.invoke({"sweep": {}})
    [trail] = [it for it in answer["trails"] if it["trail_arn"] == run.trail]
    expected = "create-key done, enable-rotation done, create-alias done, update-trail done"
    return bool(found) and steps(trail) == expected, outcomes({"trails": [trail]})


@check("`kms:CreateKey` conditions", "as the role: a multi-Region, an RSA, and an untagged key are refused")
def create_key_conditions(run: Run) -> Result:
    iam, name = run.aws.client("iam"), run.stack["RoleArn"].rpartition("/")[2]
    trust = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    root = {"AWS": f"arn:{run.aws.partition}:iam::{run.aws.account}:root"}
    wider = [*trust["Statement"], {"Effect": "Allow", "Principal": root, "Action": "sts:AssumeRole"}]
    try:
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=policy(*wider))
        kms = boto3.client("kms", region_name=run.aws.region, **run.aws.assume(run.stack["RoleArn"]))
    finally:
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))
    tags = [{"TagKey": "managed-by", "TagValue": "trailseal"}, {"TagKey": TAG, "TagValue": run.aws.suffix}]
    found = {
        "multi-Region": refusal(lambda: kms.create_key(MultiRegion=True, Tags=tags)),
        "RSA": refusal(lambda: kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY", Tags=tags)),
        "untagged": refusal(lambda: kms.create_key(Tags=tags[1:])),
    }
    return set(found.values()) == {"AccessDeniedException"}, str(found)


@check("`alias/aws/s3`", "CloudTrail refuses it as a trail's key")
def managed_key(run: Run) -> Result:
    cloudtrail = run.aws.client("cloudtrail")
    found = refusal(lambda: cloudtrail.update_trail(Name=run.trail, KmsKeyId="alias/aws/s3"))
    if found == "accepted":
        run.unseal(run.trail)
        run.aws.seal(run.trail)
    return found != "accepted", found


@check("S3 Bucket Keys and pinned keys", "buckets that require the sealing key are sealed")
def special_buckets(run: Run) -> Result:
    key = run.sealing_key()
    run.keyed, run.pinned = run.aws.bucket("keyed"), run.aws.bucket("pinned")
    rule = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    run.aws.client("s3").put_bucket_encryption(
        Bucket=run.keyed,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": rule, "BucketKeyEnabled": True}]
        },
    )
    run.keyed_trail, run.pinned_trail = run.aws.trail("keyed", run.keyed), run.aws.trail("pinned", run.pinned)
    run.aws.pin(run.pinned, key)
    answers = [run.aws.seal(trail) for trail in (run.keyed_trail, run.pinned_trail)]
    run.sealed = now()
    sealed = [run.key_of(trail) == key for trail in (run.keyed_trail, run.pinned_trail)]
    return all(sealed), "; ".join(outcomes(answer) for answer in answers)


@check("Bucket Key without `kms:Decrypt`", "`InsufficientEncryptionPolicyException`")
def bucket_key_decrypt(run: Run) -> Result:
    key, cloudtrail = run.aws.key(ENCRYPTS), run.aws.client("cloudtrail")
    # CloudTrail does not find a new key at once.
    time.sleep(MINUTE * run.aws.patience)
    found = refusal(lambda: cloudtrail.update_trail(Name=run.keyed_trail, KmsKeyId=key))
    if found == "accepted":
        cloudtrail.update_trail(Name=run.keyed_trail, KmsKeyId=run.sealing_key())
    return found == "InsufficientEncryptionPolicyException", found


@check("`LatestDeliveryError`", "names `AccessDenied` without a grant, and `KMS` with a disabled key")
def delivery_errors(run: Run) -> Result | None:
    aws, region = run.aws, run.aws.other
    if not region:
        return SKIPPED
    kms, bucket, trails = aws.client("kms", region), aws.bucket("broken", region), {}
    for name in ("denied", "disabled"):
        key = aws.key(ENCRYPTS, region=region)
        trails[name] = aws.trail(name, bucket, region, KmsKeyId=key, TagsList=[EXEMPT])
        if name == "denied":
            kms.put_key_policy(KeyId=key, PolicyName="default", Policy=aws.key_policy())
        else:
            kms.disable_key(KeyId=key)
    run.far = trails["denied"]

    def errors() -> dict | None:
        status = aws.client("cloudtrail", region).get_trail_status
        found = {name: status(Name=trail).get("LatestDeliveryError", "") for name, trail in trails.items()}
        return found if all(found.values()) else None

    found = aws.wait(20 * MINUTE, errors) or {}
    return "AccessDenied" in found.get("denied", "") and "KMS" in found.get("disabled", ""), str(found or "no error")


@check("Deliveries", "to all sealed trails, without an error")
def deliveries(run: Run) -> Result:
    status = run.aws.client("cloudtrail").get_trail_status
    trails = [run.trail, run.keyed_trail, run.pinned_trail]

    def late() -> list[str]:
        return [trail for trail in trails if status(Name=trail).get("LatestDeliveryTime", run.sealed) <= run.sealed]

    run.aws.wait(20 * MINUTE, lambda: not late())
    found = [status(Name=trail) for trail in trails]
    names = ("LatestDeliveryError", "LatestDigestDeliveryError")
    errors = [text for it in found for name in names if (text := it.get(name))]
    return (
        not late() and not errors,
        f"{len(trails) - len(late())} of {len(trails)} delivered, errors: {errors or 'none'}",
    )


@check("`aws:SourceArn`", "no call of CloudTrail to KMS is refused")
def source_arn(run: Run) -> Result:
    found = [
        it for it in lookup(run, "kms.amazonaws.com") if it["userIdentity"].get("invokedBy") == "cloudtrail.amazonaws.com"
    ]
    key = run.sealing_key()
    found = [it for it in found if any(key == resource.get("ARN") for resource in it.get("resources") or [])]
    return bool(found) and not any(
        "errorCode" in it for it in found
    ), f"{len(found)} calls, {errors(found) or 'no'} errors"


@check("New key", "CloudTrail refuses `UpdateTrail` for at most 45 seconds")
def new_key(run: Run) -> Result:
    role = run.stack["RoleArn"]
    sessions = [it for it in lookup(run, "cloudtrail.amazonaws.com") if it["eventName"] == "UpdateTrail"]
    found = [
        it for it in sessions if it["userIdentity"].get("sessionContext", {}).get("sessionIssuer", {}).get("arn") == role
    ]
    times = sorted(datetime.fromisoformat(it["eventTime"].replace("Z", "+00:00")) for it in found if "errorCode" in it)
    lasted = times[-1] - times[0] if times else timedelta()
    return bool(
        found
    ) and lasted.total_seconds() <= 45, f"{len(found)} calls, refusals for {lasted}: {errors(found) or 'none'}"


@check("`kms:ResourceAliases`", "a disabled key is restored within five minutes")
def resource_aliases(run: Run) -> Result:
    key, since = run.sealing_key(), now()
    run.aws.client("kms").disable_key(KeyId=key)

    def restored() -> bool:
        run.aws.seal(run.trail)
        return run.key_state(key) == "Enabled"

    return bool(run.aws.wait(5 * MINUTE, restored)), f"{run.key_state(key)} after {(now() - since).total_seconds():.0f} s"


@check("Scheduled deletion", "the event restores the key within five minutes, and an alert names the caller")
def scheduled_deletion(run: Run) -> Result:
    key, kms, since = run.sealing_key(), run.aws.client("kms"), now()
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=30)
    restored = run.aws.wait(5 * MINUTE, lambda: run.key_state(key) == "Enabled")
    delay = f"{(now() - since).total_seconds():.0f} s"
    if not restored:
        run.aws.seal(run.trail)
    alerts = run.messages(run.alerts, MINUTE, lambda it: "ScheduleKeyDeletion" in it["Body"])
    named = any(run.aws.caller in it["Body"] for it in alerts)
    return bool(
        restored
    ) and named, f"{run.key_state(key)} after {delay}, alert {'names' if named else 'does not name'} the caller"


@check("Tag index", "lists a new key within ten seconds, and a sweep reports it as a stray")
def tag_index(run: Run) -> Result:
    since, key = now(), run.aws.key(tags=[{"TagKey": "managed-by", "TagValue": "trailseal"}])
    tagging = run.aws.client("resourcegroupstaggingapi")

    def listed() -> bool:
        found = tagging.get_resources(TagFilters=[{"Key": "managed-by", "Values": ["trailseal"]}])
        return key in [it["ResourceARN"] for it in found["ResourceTagMappingList"]]

    found = run.aws.wait(10, listed)
    delay = f"{(now() - since).total_seconds():.1f} s"
    # trailseal ignores younger keys: another invocation could be about to use them.
    time.sleep(3 * MINUTE * run.aws.patience)
    stray = key in [it["key_arn"] for it in run.aws.invoke({"sweep": {}})["strays"]]
    return bool(found) and stray, f"{'listed' if found else 'not listed'} after {delay}, {'a' if stray else 'no'} stray"


@check("`ListTrails`", "a sweep reports each trail once")
def list_trails(run: Run) -> Result:
    found = [it["trail_arn"] for it in run.aws.invoke({"sweep": {}})["trails"]]
    own = [it for it in found if run.aws.suffix in it]
    # Two are in the other Region.
    expected, twice = 5 if run.aws.other else 3, len(found) - len(set(found))
    return len(own) == expected and not twice, f"{len(own)} of {expected} trails, {twice} twice"


@check("`ConflictException`", "an update among others succeeds within three attempts")
def conflict(run: Run) -> Result:
    run.unseal(run.trail)
    stop, codes = threading.Event(), []

    update = run.aws.client("cloudtrail").update_trail

    def updates() -> None:
        while not stop.wait(0.3):
            codes.append(refusal(lambda: update(Name=run.trail, EnableLogFileValidation=True)))

    worker = threading.Thread(target=updates)
    worker.start()
    try:
        time.sleep(1)
        answers = [run.aws.seal(run.trail) for _ in range(3) if not run.key_of(run.trail)]
    finally:
        stop.set()
        worker.join()
    refused = sorted(set(codes) - {"accepted"})
    return bool(
        run.key_of(run.trail)
    ), f"{'; '.join(outcomes(it) for it in answers)}; other updates: {refused or 'accepted'}"


# Other parameters


@check("Log readers", "`LogReaders=account` lets a principal with `s3:GetObject` alone read, through S3 only")
def log_readers(run: Run) -> Result:
    aws = run.aws
    as_reader = aws.reader()
    s3, kms = (boto3.client(name, region_name=aws.region, **as_reader) for name in ("s3", "kms"))
    context = {"aws:cloudtrail:arn": run.trail}
    text = aws.client("kms").encrypt(KeyId=run.sealing_key(), Plaintext=b"x", EncryptionContext=context)["CiphertextBlob"]
    page = aws.client("s3").list_objects_v2(Bucket=run.logs, Prefix=f"AWSLogs/{aws.account}/CloudTrail/")
    files = sorted(page.get("Contents", []), key=lambda it: it["LastModified"])
    if not files:
        raise LookupError("CloudTrail has delivered no log file")
    file = {"Bucket": run.logs, "Key": files[-1]["Key"]}
    before = refusal(lambda: s3.get_object(**file))
    run.changed = run.deploy("LogReaders=account")
    aws.invoke({"sweep": {}})
    aws.wait(MINUTE, lambda: refusal(lambda: s3.get_object(**file)) == "accepted")
    after = refusal(lambda: s3.get_object(**file))
    direct = refusal(lambda: kms.decrypt(CiphertextBlob=text, EncryptionContext=context))
    observed = f"S3 before: {before}; after: {after}; KMS: {direct}"
    return (before, after, direct) == ("AccessDenied", "accepted", "AccessDeniedException"), observed


@check("Other parameters", "`FunctionKeyArn` and `TopicKeyArn` work, and start no sweep")
def other_parameters(run: Run) -> Result:
    aws, key = run.aws, run.aws.key()
    since = run.deploy(f"FunctionKeyArn={key}", f"TopicKeyArn={key}")
    statements = json.loads(aws.outputs()["TopicKeyStatement"])
    aws.client("kms").put_key_policy(KeyId=key, PolicyName="default", Policy=aws.key_policy(*statements))
    time.sleep(2 * MINUTE * aws.patience)
    swept = len(aws.answers(since, kind="sweep"))
    run.unseal(run.trail)
    answer = aws.seal(run.trail)
    aws.client("cloudwatch").set_alarm_state(AlarmName=f"{STACK}-no-sweep", StateValue="ALARM", StateReason=aws.suffix)
    alarm = run.messages(run.alerts, 2 * MINUTE, lambda it: aws.suffix in it["Body"] and "NewStateReason" in it["Body"])
    sent = (answer.get("alerts") or {}).get("sent", 0)
    observed = f"{outcomes(answer)}, {sent} alerts sent, alarm {'received' if alarm else 'not received'}, {swept} sweeps"
    return bool(sent and alarm) and swept == 0, observed


# Failures


@check("Another key pinned", "`failed` before any write, and the alarm `trails-failed`")
def wrong_pin(run: Run) -> Result:
    other = run.aws.key()
    run.unseal(run.pinned_trail)
    run.aws.pin(run.pinned, other)
    answer = run.aws.seal(run.pinned_trail)
    written = run.key_of(run.pinned_trail)
    alarmed, alarm = run.alarms("ALARM", 20 * MINUTE, "trails-failed")
    run.aws.pin(run.pinned, run.sealing_key())
    run.aws.seal(run.pinned_trail)
    run.repaired = now()
    failed = [it["outcome"] for it in answer["trails"]] == ["failed"]
    return failed and not written and alarmed, f"{outcomes(answer)}, {alarm}"


@check("Failed event", "one message with `InvalidInput`, and the alarms `invocations-failed` and `events-parked`")
def failed_event(run: Run) -> Result:
    run.aws.invoke({"nonsense": 1}, "Event")
    messages = run.messages(run.stack["FailureQueueUrl"], 10 * MINUTE, lambda it: True)
    causes = [json.loads(it["Body"])["responsePayload"].get("errorType") for it in messages]
    alarmed, alarms = run.alarms("ALARM", 20 * MINUTE, "invocations-failed", "events-parked")
    return causes == ["InvalidInput"] and alarmed, f"{causes}, {alarms}"


@check("Undelivered event", "a message with `ERROR_CODE`, and the alarm `events-undelivered`")
def undelivered(run: Run) -> Result:
    function = run.aws.client("lambda")
    for statement in json.loads(function.get_policy(FunctionName=STACK)["Policy"])["Statement"]:
        function.remove_permission(FunctionName=STACK, StatementId=statement["Sid"])
    # Permissions can remain in effect for some time.
    time.sleep(MINUTE * run.aws.patience)
    run.aws.client("cloudtrail").start_logging(Name=run.trail)
    messages = run.messages(run.stack["UndeliveredQueueUrl"], 10 * MINUTE, lambda it: True)
    causes = [it.get("MessageAttributes", {}).get("ERROR_CODE", {}).get("StringValue") for it in messages]
    alarmed, alarms = run.alarms("ALARM", 20 * MINUTE, "events-undelivered")
    return bool(causes and all(causes)) and alarmed, f"{causes}, {alarms}"


@check("Alarm ends", "`trails-failed` is OK within 30 minutes of the repair")
def alarm_ends(run: Run) -> Result:
    left = timedelta(minutes=30) - (now() - run.repaired)
    return run.alarms("OK", max(0, left.total_seconds()), "trails-failed")


# Last, because they deploy and delete stacks


@check("Redeployment", "the key's policy names the deleted role by ID, and the new role uses the key at once")
def redeployment(run: Run) -> Result:
    aws, key = run.aws, run.sealing_key()
    aws.delete_stack(aws.region, STACK)
    read = aws.client("kms").get_key_policy
    renamed = aws.wait(MINUTE, lambda: re.search(r"AROA[A-Z0-9]{10,}", read(KeyId=key, PolicyName="default")["Policy"]))
    since = run.deploy(
        f"KeyAlias={aws.alias}", f"KeyTags={TAG}={aws.suffix}", "CreateDashboard=false", "Mode=enforce", *run.parameters
    )
    swept = [it for it in run.sweeps(since) if it["mode"] == "enforce"]
    same = key == run.key_of(run.trail) == run.sealing_key()
    observed = f"{'a role ID' if renamed else 'no role ID'}, {'the same key' if same else 'another key'}"
    return bool(renamed and same and swept), f"{observed}, {len(swept)} sweeps"


@check("Forwarders", "an event in another Region is answered within a minute")
def forwarders(run: Run) -> Result | None:
    aws = run.aws
    if not aws.other:
        return SKIPPED
    cloudformation, name = aws.client("cloudformation", aws.other), f"{STACK}-forwarder"
    aws.undo(f"stack {name} in {aws.other}", lambda: aws.delete_stack(aws.other, name))
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=(ROOT / "forwarder.yaml").read_text(),
        Parameters=[{"ParameterKey": "MainRegion", "ParameterValue": aws.region}],
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name)
    since = now()
    aws.client("cloudtrail", aws.other).stop_logging(Name=run.far)
    return run.answer(MINUTE, since, kind="StopLogging", region=aws.other)
