"""The lifecycle of a stack: dry-run, enforce, dry-run again, deleted, and redeployed with the same name.

`setUpModule` runs the lifecycle once and records every stage. The tests check the records.
"""

import json
import unittest
from types import SimpleNamespace as Stage

from account import HOME, OTHER_REGION, STRIPPED_POLICY
from answers import changes, outcomes, steps, without_key, without_sid
from emulated_account import ROLE, STACK, event, start_emulator
from local import ACCOUNT

READER = "arn:aws:iam::210987654321:role/siem"
# Set at the first deployment only. Updates must keep them.
SETTINGS = ["KeyTags=team=security", f"LogReaders={READER}", "LogRetentionDays=30", "SweepInterval=hourly"]
ALIAS = "alias/trailseal"
# Every write that the function makes.
WRITES = [
    "cloudtrail:StartLogging",
    "cloudtrail:UpdateTrail",
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:CreateKey",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:PutKeyPolicy",
    "kms:TagResource",
]
# In a policy, KMS replaces the ARN of a deleted role with its ID. The emulator does not.
DELETED_ROLE = "AROAEXAMPLEROLE000001"


def setUpModule() -> None:
    global aws, initial, dry_run, enforce, dry_run_again, deleted, redeployed
    aws = start_emulator("lifecycle")
    aws.make_bucket("logs", HOME)
    aws.make_bucket("logs-far", OTHER_REGION)
    trails = [aws.make_trail("audit", "logs"), aws.make_trail("far", "logs-far")]
    initial = Stage(resources=aws.resources())

    dry_run = Stage(outputs=aws.deploy_first("Mode=dry-run", *SETTINGS), before=aws.state(trails))
    record_stack(dry_run)
    dry_run.answers = [aws.invoke(STACK, aws.trail_event(trails[0])), sweep()]
    dry_run.after = aws.state(trails)

    enforce = Stage(outputs=aws.deploy("Mode=enforce"), before=aws.state(trails))
    record_stack(enforce)
    enforce.answers = [aws.invoke(STACK, aws.trail_event(trails[0])), sweep()]
    enforce.after = aws.state(trails)
    enforce.second_sweep = sweep()
    enforce.resources = aws.resources()

    dry_run_again = Stage(outputs=aws.deploy("Mode=dry-run"))
    record_stack(dry_run_again)
    new_trail = aws.make_trail("orders", "logs")
    trails.append(new_trail)
    dry_run_again.before = aws.state(trails)
    dry_run_again.answers = [aws.invoke(STACK, aws.trail_event(new_trail)), sweep()]
    dry_run_again.after = aws.state(trails)

    aws.delete()
    deleted = Stage(after=aws.state(trails), resources=aws.resources())
    replace_deleted_role()

    redeployed = Stage(outputs=aws.deploy_first("Mode=enforce", *SETTINGS), before=aws.state(trails))
    redeployed.answer = aws.invoke(STACK, aws.trail_event(new_trail))
    redeployed.after = aws.state(trails)
    redeployed.key = aws.trail(new_trail).get("KmsKeyId")
    aws.break_key(redeployed.key)
    redeployed.with_broken_key = aws.state(trails)
    redeployed.repair = aws.invoke(STACK, key_event(redeployed.key))
    redeployed.after_repair = aws.state(trails)
    redeployed.sweep = sweep()
    redeployed.after_sweep = aws.state(trails)
    redeployed.second_sweep = sweep()
    redeployed.after_second_sweep = aws.state(trails)


def record_stack(stage: Stage) -> None:
    stage.parameters = aws.parameters()
    stage.function = aws.client("lambda").get_function_configuration(FunctionName=STACK)
    stage.schedules = [it["Name"] for it in aws.client("scheduler").list_schedules()["Schedules"]]
    stage.policies = aws.role_policies(ROLE)
    stage.decisions = aws.simulate(stage.outputs["RoleArn"], WRITES)


def sweep() -> dict:
    return aws.invoke(STACK, {"sweep": {}})


def key_event(key: str) -> dict:
    """The event of a DisableKey call."""
    disabled = event("disable-key")
    disabled["detail"]["requestParameters"]["keyId"] = key
    disabled["detail"]["responseElements"] = {"keyId": key}
    disabled["detail"]["resources"] = [{"accountId": ACCOUNT, "type": "AWS::KMS::Key", "ARN": key}]
    return disabled


def replace_deleted_role() -> None:
    """Changes the key policies as KMS does after the role is deleted."""
    for key in aws.keys():
        text = json.dumps(key["policy"]).replace(f"arn:aws:iam::{ACCOUNT}:role/{ROLE}", DELETED_ROLE)
        aws.client("kms", key["region"]).put_key_policy(KeyId=key["arn"], PolicyName="default", Policy=text)


def key_of(state: dict, arn: str) -> dict:
    [found] = [key for key in state["keys"] if key["arn"] == arn]
    return found


class LifecycleTestCase(unittest.TestCase):
    def assert_same(self, before: dict, after: dict) -> None:
        self.assertEqual(before, after, changes(before, after))

    def assert_only_mode_changed(self, stage: Stage, mode: str) -> None:
        """The update changed the mode and nothing else."""
        self.assertEqual(stage.parameters, dry_run.parameters | {"Mode": mode})
        variables = stage.function["Environment"]["Variables"]
        self.assertEqual(variables, dry_run.function["Environment"]["Variables"] | {"TRAILSEAL_MODE": mode})


class DryRun(LifecycleTestCase):
    def test_parameters_have_the_given_or_default_values(self):
        settings = {it.partition("=")[0]: it.partition("=")[2] for it in SETTINGS}
        self.assertEqual({name: dry_run.parameters[name] for name in settings}, settings)
        self.assertEqual((dry_run.parameters["Mode"], dry_run.parameters["KeyAlias"]), ("dry-run", ALIAS))

    def test_it_reports_what_it_would_do(self):
        by_event, by_sweep = dry_run.answers
        self.assertEqual(outcomes(by_event), ["planned"])
        self.assertEqual(by_sweep["summary"], {"planned": 2})
        self.assertEqual({status.partition(" ")[2] for status in steps(by_event)}, {"planned"})

    def test_it_changes_nothing(self):
        self.assert_same(dry_run.before, dry_run.after)
        self.assertEqual(dry_run.after["keys"], [])

    def test_the_role_is_explicitly_denied_every_write(self):
        self.assertEqual(dry_run.decisions, dict.fromkeys(WRITES, "explicitDeny"))
        self.assertEqual(list(dry_run.policies), ["Read", "Report", "Never", "DryRun"])


class Enforce(LifecycleTestCase):
    def test_the_update_keeps_all_other_parameters(self):
        self.assert_only_mode_changed(enforce, "enforce")

    def test_a_mode_change_replaces_the_schedule(self):
        self.assertEqual(dry_run.schedules, [f"{STACK}-sweep-dry-run"])
        self.assertEqual(enforce.schedules, [f"{STACK}-sweep-enforce"])
        self.assertEqual(enforce.outputs["SweepScheduleName"], f"{STACK}-sweep-enforce")

    def test_the_role_has_seal_instead_of_dry_run(self):
        self.assertEqual(list(enforce.policies), ["Read", "Report", "Never", "Seal"])
        # The emulator's policy simulator accepts no context (`_extract_simulate_params` in iam.py), so a permission with a
        # condition is an implicit denial.
        self.assertNotIn("explicitDeny", enforce.decisions.values())

    def test_every_trail_gets_a_key_in_its_buckets_region(self):
        by_event, by_sweep = enforce.answers
        self.assertEqual(outcomes(by_event), ["remediated"])
        self.assertEqual(by_sweep["summary"], {"compliant": 1, "remediated": 1})
        regions = {arn.rpartition("/")[2]: it["KmsKeyId"].split(":")[3] for arn, it in self.trails(enforce.after)}
        self.assertEqual(regions, {"audit": HOME, "far": OTHER_REGION})
        keys = [(key["region"], key["state"], key["rotates"], key["aliases"]) for key in enforce.after["keys"]]
        self.assertEqual(keys, [(region, "Enabled", True, [ALIAS]) for region in (HOME, OTHER_REGION)])

    def test_new_keys_have_the_configured_tags_and_readers(self):
        for key in enforce.after["keys"]:
            self.assertEqual(key["tags"], {"managed-by": "trailseal", "team": "security"})
            readers = [it for it in key["policy"]["Statement"] if it["Sid"] == "LogReadersDecrypt"]
            self.assertEqual([it["Condition"]["ArnEquals"]["aws:PrincipalArn"] for it in readers], [READER])

    def test_it_changes_no_other_trail_setting(self):
        for (arn, old), (_, new) in zip(self.trails(enforce.before), self.trails(enforce.after), strict=True):
            self.assertEqual(without_key(old), without_key(new), arn)

    def test_a_second_sweep_finds_every_trail_compliant(self):
        self.assertEqual(enforce.second_sweep["summary"], {"compliant": 2})

    @staticmethod
    def trails(state: dict) -> list[tuple[str, dict]]:
        return sorted(state["trails"].items())


class DryRunAgain(LifecycleTestCase):
    def test_the_update_keeps_all_other_parameters(self):
        self.assert_only_mode_changed(dry_run_again, "dry-run")

    def test_it_plans_and_changes_nothing(self):
        by_event, by_sweep = dry_run_again.answers
        self.assertEqual(steps(by_event), ["update-trail planned"])
        self.assertEqual(by_sweep["summary"], {"compliant": 2, "planned": 1})
        self.assert_same(dry_run_again.before, dry_run_again.after)

    def test_the_role_is_explicitly_denied_every_write_again(self):
        # This includes keys whose policy, written in enforce mode, allows the role.
        self.assertIn("TrailsealFinishesCreation", json.dumps(dry_run_again.before["keys"]))
        self.assertEqual(dry_run_again.decisions, dict.fromkeys(WRITES, "explicitDeny"))
        self.assertEqual(dry_run_again.policies, dry_run.policies)


class Deleted(LifecycleTestCase):
    def test_the_keys_and_trails_are_unchanged(self):
        self.assert_same(dry_run_again.after, deleted.after)
        self.assertEqual(len(deleted.after["keys"]), 2)

    def test_every_other_resource_is_deleted(self):
        self.assertEqual(deleted.resources, initial.resources)
        for kind in deleted.resources:
            # The stack had resources of every other kind.
            if kind not in ("subscriptions", "default bus policies"):
                self.assertGreater(len(enforce.resources[kind]), len(deleted.resources[kind]), kind)


class Redeployed(LifecycleTestCase):
    def test_it_uses_its_old_key_and_creates_no_other(self):
        self.assertEqual(outcomes(redeployed.answer), ["remediated"])
        self.assertNotIn("create-key", " ".join(steps(redeployed.answer)))
        self.assertEqual(redeployed.key, aws.trail(f"arn:aws:cloudtrail:{HOME}:{ACCOUNT}:trail/audit")["KmsKeyId"])
        self.assertEqual([key["arn"] for key in redeployed.after["keys"]], [key["arn"] for key in deleted.after["keys"]])

    def test_the_new_role_replaces_the_deleted_one_in_the_policy(self):
        sid = "TrailsealFinishesCreation"
        [old] = [it for it in key_of(redeployed.before, redeployed.key)["policy"]["Statement"] if it["Sid"] == sid]
        [new] = [it for it in key_of(redeployed.after, redeployed.key)["policy"]["Statement"] if it["Sid"] == sid]
        self.assertEqual(old["Principal"], {"AWS": DELETED_ROLE})
        self.assertEqual(new["Principal"], {"AWS": redeployed.outputs["RoleArn"]})

    def test_it_restores_a_key_of_the_deleted_stack(self):
        self.assertEqual(key_of(redeployed.with_broken_key, redeployed.key)["state"], "Disabled")
        self.assertEqual(redeployed.repair["summary"], {"remediated": 2}, "audit and orders use that key")
        self.assertEqual(
            [step for step in steps(redeployed.repair) if step.endswith(" done")],
            ["restore-key done", "extend-key-policy done"],
        )
        self.assertEqual(key_of(redeployed.after_repair, redeployed.key)["state"], "Enabled")

    def test_another_principals_statements_are_unchanged(self):
        statements = key_of(redeployed.after_repair, redeployed.key)["policy"]["Statement"]
        self.assertEqual(statements[: len(STRIPPED_POLICY)], STRIPPED_POLICY)
        complete = [without_sid(it) for it in key_of(redeployed.after, redeployed.key)["policy"]["Statement"]]
        for statement in statements[len(STRIPPED_POLICY) :]:
            self.assertIn(without_sid(statement), complete)

    def test_all_trails_and_other_keys_are_unchanged(self):
        self.assert_same(redeployed.after["trails"], redeployed.after_repair["trails"])
        states = (redeployed.after, redeployed.after_repair)
        old, new = ([key for key in state["keys"] if key["arn"] != redeployed.key] for state in states)
        self.assertEqual(old, new)

    def test_a_sweep_replaces_the_deleted_role_in_other_regions(self):
        self.assertEqual(redeployed.sweep["summary"], {"compliant": 2, "remediated": 1})
        self.assertEqual(steps(redeployed.sweep), ["extend-key-policy done"])
        self.assertNotIn(DELETED_ROLE, json.dumps(redeployed.after_sweep))

    def test_a_second_sweep_changes_nothing(self):
        self.assertEqual(redeployed.second_sweep["summary"], {"compliant": 3})
        self.assert_same(redeployed.after_sweep, redeployed.after_second_sweep)
