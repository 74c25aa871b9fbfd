"""A stack's life: in dry-run, in enforce, in dry-run again, deleted, and deployed anew under the same name.

It is played once, in `setUpModule`, and everything worth knowing is kept; the tests say what must have been so.
"""

import json
import unittest
from types import SimpleNamespace as Stage

from account import ELSEWHERE, HOME, LEFT_OVER
from cloud import ROLE, STACK, event, open_cloud
from local import ACCOUNT
from look import changes, granted, outcomes, steps, without_key

READER = "arn:aws:iam::210987654321:role/siem"
# Set once, at the first deployment. None of them is said again, and each must stay.
SETTINGS = ["KeyTags=team=security", f"LogReaders={READER}", "LogRetentionDays=30", "SweepInterval=hourly"]
ALIAS = "alias/trailseal"
# Every write that the function knows.
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
# What KMS makes of a role in a policy once the role is deleted. The emulator leaves its ARN there.
DELETED_ROLE = "AROAEXAMPLEROLE000001"


def setUpModule() -> None:
    global cloud, untouched, dry, enforced, back, gone, anew
    cloud = open_cloud("life")
    cloud.make_bucket("logs", HOME)
    cloud.make_bucket("logs-far", ELSEWHERE)
    trails = [cloud.make_trail("audit", "logs"), cloud.make_trail("far", "logs-far")]
    untouched = Stage(belongings=cloud.belongings())

    dry = Stage(outputs=cloud.deploy_first("Mode=dry-run", *SETTINGS), before=cloud.state(trails))
    look_at(dry)
    dry.answers = [cloud.invoke(STACK, cloud.trail_event(trails[0])), sweep()]
    dry.after = cloud.state(trails)

    enforced = Stage(outputs=cloud.deploy("Mode=enforce"), before=cloud.state(trails))
    look_at(enforced)
    enforced.answers = [cloud.invoke(STACK, cloud.trail_event(trails[0])), sweep()]
    enforced.after = cloud.state(trails)
    enforced.again = sweep()
    enforced.belongings = cloud.belongings()

    back = Stage(outputs=cloud.deploy("Mode=dry-run"))
    look_at(back)
    back.trail = cloud.make_trail("orders", "logs")
    trails.append(back.trail)
    back.before = cloud.state(trails)
    back.answers = [cloud.invoke(STACK, cloud.trail_event(back.trail)), sweep()]
    back.after = cloud.state(trails)

    cloud.delete()
    gone = Stage(after=cloud.state(trails), belongings=cloud.belongings())
    forget_the_role()

    anew = Stage(outputs=cloud.deploy_first("Mode=enforce", *SETTINGS), before=cloud.state(trails))
    anew.answer = cloud.invoke(STACK, cloud.trail_event(back.trail))
    anew.after = cloud.state(trails)
    anew.key = cloud.trail(back.trail).get("KmsKeyId")
    cloud.break_key(anew.key)
    anew.broken = cloud.state(trails)
    anew.mending = cloud.invoke(STACK, key_event(anew.key))
    anew.mended = cloud.state(trails)
    anew.sweep = sweep()
    anew.swept = cloud.state(trails)
    anew.again = sweep()
    anew.at_last = cloud.state(trails)


def look_at(stage: Stage) -> None:
    stage.parameters = cloud.parameters()
    stage.function = cloud.client("lambda").get_function_configuration(FunctionName=STACK)
    stage.schedules = [it["Name"] for it in cloud.client("scheduler").list_schedules()["Schedules"]]
    stage.policies = cloud.role(ROLE)
    stage.may = cloud.may(stage.outputs["RoleArn"], WRITES)


def sweep() -> dict:
    return cloud.invoke(STACK, {"sweep": {}})


def key_event(key: str) -> dict:
    """What EventBridge hands over after somebody disabled the key."""
    disabled = event("disable-key")
    disabled["detail"]["requestParameters"]["keyId"] = key
    disabled["detail"]["responseElements"] = {"keyId": key}
    disabled["detail"]["resources"] = [{"accountId": ACCOUNT, "type": "AWS::KMS::Key", "ARN": key}]
    return disabled


def forget_the_role() -> None:
    for key in cloud.keys():
        text = json.dumps(key["policy"]).replace(f"arn:aws:iam::{ACCOUNT}:role/{ROLE}", DELETED_ROLE)
        cloud.client("kms", key["region"]).put_key_policy(KeyId=key["arn"], PolicyName="default", Policy=text)


def key_of(state: dict, arn: str) -> dict:
    [found] = [key for key in state["keys"] if key["arn"] == arn]
    return found


class Told(unittest.TestCase):
    def assert_same(self, before: dict, after: dict) -> None:
        self.assertEqual(before, after, changes(before, after))

    def assert_kept(self, stage: Stage, mode: str) -> None:
        """Everything that the update did not name is as it was set."""
        self.assertEqual(stage.parameters, dry.parameters | {"Mode": mode})
        variables = stage.function["Environment"]["Variables"]
        self.assertEqual(variables, dry.function["Environment"]["Variables"] | {"TRAILSEAL_MODE": mode})


class InDryRun(Told):
    def test_the_parameters_are_the_defaults_but_for_what_was_given(self):
        given = {it.partition("=")[0]: it.partition("=")[2] for it in SETTINGS}
        self.assertEqual({name: dry.parameters[name] for name in given}, given)
        self.assertEqual((dry.parameters["Mode"], dry.parameters["KeyAlias"]), ("dry-run", ALIAS))

    def test_it_says_what_it_would_do(self):
        by_event, by_sweep = dry.answers
        self.assertEqual(outcomes(by_event), ["planned"])
        self.assertEqual(by_sweep["summary"], {"planned": 2})
        self.assertEqual({status.partition(" ")[2] for status in steps(by_event)}, {"planned"})

    def test_it_changes_nothing(self):
        self.assert_same(dry.before, dry.after)
        self.assertEqual(dry.after["keys"], [])

    def test_its_role_is_explicitly_denied_every_write(self):
        self.assertEqual(dry.may, dict.fromkeys(WRITES, "explicitDeny"))
        self.assertEqual(list(dry.policies), ["Read", "Report", "Never", "DryRun"])


class Enforcing(Told):
    def test_parameters_that_the_update_did_not_give_keep_their_values(self):
        self.assert_kept(enforced, "enforce")

    def test_another_mode_is_another_schedule_so_that_a_sweep_follows_at_once(self):
        self.assertEqual(dry.schedules, [f"{STACK}-sweep-dry-run"])
        self.assertEqual(enforced.schedules, [f"{STACK}-sweep-enforce"])
        self.assertEqual(enforced.outputs["SweepScheduleName"], f"{STACK}-sweep-enforce")

    def test_its_role_has_the_one_policy_in_place_of_the_other(self):
        self.assertEqual(list(enforced.policies), ["Read", "Report", "Never", "Seal"])
        # The emulator's simulator takes no context (`_extract_simulate_params` in iam.py), so what hangs on a condition
        # is an implicit denial to it.
        self.assertNotIn("explicitDeny", enforced.may.values())

    def test_it_seals_every_trail_with_a_key_of_its_buckets_region(self):
        by_event, by_sweep = enforced.answers
        self.assertEqual(outcomes(by_event), ["remediated"])
        self.assertEqual(by_sweep["summary"], {"compliant": 1, "remediated": 1})
        regions = {arn.rpartition("/")[2]: it["KmsKeyId"].split(":")[3] for arn, it in self.trails(enforced.after)}
        self.assertEqual(regions, {"audit": HOME, "far": ELSEWHERE})
        keys = [(key["region"], key["state"], key["rotates"], key["aliases"]) for key in enforced.after["keys"]]
        self.assertEqual(keys, [(region, "Enabled", True, [ALIAS]) for region in (HOME, ELSEWHERE)])

    def test_the_settings_of_the_first_deployment_reach_the_keys(self):
        for key in enforced.after["keys"]:
            self.assertEqual(key["tags"], {"managed-by": "trailseal", "team": "security"})
            readers = [it for it in key["policy"]["Statement"] if it["Sid"] == "LogReadersDecrypt"]
            self.assertEqual([it["Condition"]["ArnEquals"]["aws:PrincipalArn"] for it in readers], [READER])

    def test_it_changes_no_other_setting_of_a_trail(self):
        for (arn, old), (_, new) in zip(self.trails(enforced.before), self.trails(enforced.after), strict=True):
            self.assertEqual(without_key(old), without_key(new), arn)

    def test_once_sealed_there_is_nothing_left_to_do(self):
        self.assertEqual(enforced.again["summary"], {"compliant": 2})

    @staticmethod
    def trails(state: dict) -> list[tuple[str, dict]]:
        return sorted(state["trails"].items())


class BackInDryRun(Told):
    def test_parameters_that_the_update_did_not_give_keep_their_values(self):
        self.assert_kept(back, "dry-run")

    def test_it_plans_only(self):
        by_event, by_sweep = back.answers
        self.assertEqual(steps(by_event), ["update-trail planned"])
        self.assertEqual(by_sweep["summary"], {"compliant": 2, "planned": 1})
        self.assert_same(back.before, back.after)

    def test_its_role_is_explicitly_denied_every_write_again(self):
        # Also where a key's policy, written while enforcing, lets it in.
        self.assertIn("TrailsealFinishesCreation", json.dumps(back.before["keys"]))
        self.assertEqual(back.may, dict.fromkeys(WRITES, "explicitDeny"))
        self.assertEqual(back.policies, dry.policies)


class Deleted(Told):
    def test_the_keys_and_the_trails_stay_exactly_as_they_were(self):
        self.assert_same(back.after, gone.after)
        self.assertEqual(len(gone.after["keys"]), 2)

    def test_nothing_else_of_the_stack_is_left(self):
        self.assertEqual(gone.belongings, untouched.belongings)
        for what in gone.belongings:
            # Nobody subscribed, and no other account may put events; of the rest, there was something to leave.
            if what not in ("subscriptions", "who may put events"):
                self.assertGreater(len(enforced.belongings[what]), len(gone.belongings[what]), what)


class DeployedAnew(Told):
    def test_it_finds_its_old_key_and_makes_no_second_one(self):
        self.assertEqual(outcomes(anew.answer), ["remediated"])
        self.assertNotIn("create-key", " ".join(steps(anew.answer)))
        self.assertEqual(anew.key, cloud.trail(f"arn:aws:cloudtrail:{HOME}:{ACCOUNT}:trail/audit")["KmsKeyId"])
        self.assertEqual([key["arn"] for key in anew.after["keys"]], [key["arn"] for key in gone.after["keys"]])

    def test_the_deleted_role_in_the_keys_policy_gives_way_to_the_present_one(self):
        finishing = "TrailsealFinishesCreation"
        [old] = [it for it in key_of(anew.before, anew.key)["policy"]["Statement"] if it["Sid"] == finishing]
        [new] = [it for it in key_of(anew.after, anew.key)["policy"]["Statement"] if it["Sid"] == finishing]
        self.assertEqual(old["Principal"], {"AWS": DELETED_ROLE})
        self.assertEqual(new["Principal"], {"AWS": anew.outputs["RoleArn"]})

    def test_a_key_of_its_former_life_is_still_its_own_to_mend(self):
        self.assertEqual(key_of(anew.broken, anew.key)["state"], "Disabled")
        self.assertEqual(anew.mending["summary"], {"remediated": 2}, "audit and orders use that key")
        self.assertEqual(
            [step for step in steps(anew.mending) if step.endswith(" done")],
            ["restore-key done", "extend-key-policy done"],
        )
        self.assertEqual(key_of(anew.mended, anew.key)["state"], "Enabled")

    def test_what_somebody_else_wrote_into_its_policy_stands_as_it_was(self):
        statements = key_of(anew.mended, anew.key)["policy"]["Statement"]
        self.assertEqual(statements[: len(LEFT_OVER)], LEFT_OVER)
        whole = [granted(it) for it in key_of(anew.after, anew.key)["policy"]["Statement"]]
        for statement in statements[len(LEFT_OVER) :]:
            self.assertIn(granted(statement), whole)

    def test_every_trail_and_every_other_key_is_as_it_was(self):
        self.assert_same(anew.after["trails"], anew.mended["trails"])
        self.assertEqual(*[[key for key in it["keys"] if key["arn"] != anew.key] for it in (anew.after, anew.mended)])

    def test_a_sweep_finds_the_deleted_role_in_the_other_regions_key_too(self):
        self.assertEqual(anew.sweep["summary"], {"compliant": 2, "remediated": 1})
        self.assertEqual(steps(anew.sweep), ["extend-key-policy done"])
        self.assertNotIn(DELETED_ROLE, json.dumps(anew.swept))

    def test_then_nothing_is_left_to_do(self):
        self.assertEqual(anew.again["summary"], {"compliant": 3})
        self.assert_same(anew.swept, anew.at_last)
