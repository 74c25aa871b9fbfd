"""A deployment with every parameter set that has an effect beyond the function's environment."""

import json
import unittest

from account import HOME
from cloud import open_cloud
from local import ACCOUNT, architecture
from parameters import PARAMETERS, ROLE

STACK = "everything"


def setUpModule() -> None:
    global cloud, key, bus, given, outputs, policies, template
    cloud = open_cloud("everything-set")
    key = cloud.client("kms").create_key(Description="the topic's")["KeyMetadata"]["Arn"]
    bus = cloud.client("events").create_event_bus(Name="outcomes")["EventBusArn"]
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    boundary = cloud.client("iam").create_policy(PolicyName="boundary", PolicyDocument=json.dumps(document))
    given = {
        "Mode": "enforce",
        "Architecture": architecture(),
        "RestartLogging": "true",
        "ReadersLockedOut": "hold",
        "ExemptTag": "no-seal",
        "KeyAlias": "alias/logs",
        "KeyTags": "team=security,cost-centre=42",
        "LogReaders": f"{ROLE},210987654321,o-abcdefghij,account",
        "AlertEmail": "ops@example.com",
        "TopicKeyArn": key,
        "OutcomeBusArn": bus,
        "SweepInterval": "hourly",
        "ReservedConcurrency": "1",
        "LogRetentionDays": "30",
        "PermissionsBoundary": boundary["Policy"]["Arn"],
        "OrgTrailOwner": "999999999999",
    }
    outputs = cloud.deploy(*(f"{name}={value}" for name, value in given.items()), stack=STACK)
    policies = cloud.role(f"{STACK}-{HOME}")
    template = cloud.template(STACK)


class EverythingSet(unittest.TestCase):
    def statement(self, policy: str, sid: str) -> dict:
        [found] = [it for it in policies[policy]["Statement"] if it["Sid"] == sid]
        return found

    def test_every_value_arrives_as_it_was_given(self):
        arrived = cloud.parameters(STACK)
        self.assertEqual({name: arrived[name] for name in given}, given)

    def test_each_variable_of_the_function_has_its_parameters_value(self):
        function = cloud.client("lambda").get_function_configuration(FunctionName=STACK)
        variables, arrived = function["Environment"]["Variables"], cloud.parameters(STACK)
        for name, (variable, _, _) in PARAMETERS.items():
            if variable:
                self.assertEqual(variables[variable], arrived[name], name)
        self.assertEqual(len(variables), 2 + sum(1 for variable, _, _ in PARAMETERS.values() if variable))

    def test_alerts_are_mailed(self):
        subscribed = cloud.client("sns").list_subscriptions_by_topic(TopicArn=outputs["AlertTopicArn"])
        found = [(it["Protocol"], it["Endpoint"]) for it in subscribed["Subscriptions"]]
        self.assertEqual(found, [("email", "ops@example.com")])
        # With everything set, any other condition would do as well.
        condition = template["Conditions"][template["Resources"]["AlertMail"]["Condition"]]
        asked = {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlertEmail"}, ""]}]}
        self.assertEqual(condition, {"Fn::And": [{"Condition": "MakesTopic"}, asked]})

    def test_the_role_may_publish_to_the_encrypted_topic_and_through_sns_only(self):
        through = self.statement("Report", "EncryptAlerts")
        self.assertEqual((through["Effect"], through["Resource"]), ("Allow", key))
        self.assertEqual(through["Action"], ["kms:Decrypt", "kms:GenerateDataKey*"])
        self.assertEqual(through["Condition"], {"StringEquals": {"kms:ViaService": f"sns.{HOME}.amazonaws.com"}})
        never = self.statement("Never", "NeverDecrypts")
        self.assertEqual((never["Effect"], never.get("NotResource")), ("Deny", key))
        self.assertNotIn("Resource", never)

    def test_the_statement_for_the_topics_key_is_printed_ready_to_use(self):
        statements = json.loads(outputs["TopicKeyStatement"])
        use = {"Effect": "Allow", "Action": ["kms:Decrypt", "kms:GenerateDataKey*"], "Resource": "*"}
        through_sns = {"StringEquals": {"kms:ViaService": f"sns.{HOME}.amazonaws.com"}}
        alarms = use | {"Sid": "AlarmsReachTheTopic", "Principal": {"Service": "cloudwatch.amazonaws.com"}}
        alerts = use | {"Sid": "AlertsReachTheTopic", "Principal": {"AWS": outputs["RoleArn"]}}
        self.assertEqual(statements, [alarms, alerts | {"Condition": through_sns}])
        kms = cloud.client("kms")
        whole = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
        whole["Statement"] += statements
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(whole))

    def test_answers_go_by_way_of_a_bus_of_this_account_which_lambda_is_documented_to_send_to(self):
        own = f"arn:aws:events:{HOME}:{ACCOUNT}:event-bus/{STACK}-outcomes"
        retries = cloud.client("lambda").get_function_event_invoke_config(FunctionName=STACK, Qualifier="$LATEST")
        # The emulator keeps this and sends nothing there (`invoke_async_with_retry` in lambda_svc.py).
        self.assertEqual(retries["DestinationConfig"]["OnSuccess"], {"Destination": own})
        self.assertEqual(
            retries["DestinationConfig"]["OnFailure"],
            {"Destination": f"arn:aws:sqs:{HOME}:{ACCOUNT}:{STACK}-failed"},
        )
        may = self.statement("Report", "SendOutcomes")
        self.assertEqual((may["Effect"], may["Action"], may["Resource"]), ("Allow", "events:PutEvents", own))

    def test_nobody_but_the_function_may_put_anything_on_it(self):
        # The emulator's CloudFormation drops the bus's policy (`_eb_event_bus_create` in provisioners.py).
        [statement] = template["Resources"]["OutcomeBus"]["Properties"]["Policy"]["Statement"]
        self.assertEqual((statement["Effect"], statement["Principal"]), ("Deny", "*"))
        self.assertEqual(statement["Action"], "events:PutEvents")
        role = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${AWS::StackName}-${AWS::Region}"
        self.assertEqual(statement["Condition"], {"ArnNotEquals": {"aws:PrincipalArn": {"Fn::Sub": role}}})
        self.assertEqual(outputs["RoleArn"], f"arn:aws:iam::{ACCOUNT}:role/{STACK}-{HOME}")

    def outcome_rule(self) -> tuple[dict, dict]:
        """It and its target."""
        asked = {"EventBusName": f"{STACK}-outcomes"}
        [rule] = cloud.client("events").list_rules(**asked)["Rules"]
        [target] = cloud.client("events").list_targets_by_rule(Rule=rule["Name"], **asked)["Targets"]
        return rule, target

    def test_a_rule_sends_them_on_to_the_bus_as_a_role_that_may_do_nothing_else(self):
        rule, target = self.outcome_rule()
        role = f"{STACK}-outcomes-{HOME}"
        self.assertEqual((rule["Name"], target["Arn"]), (f"{STACK}-outcomes", bus))
        self.assertEqual(target["RoleArn"], f"arn:aws:iam::{ACCOUNT}:role/{role}")
        self.assertEqual(target["DeadLetterConfig"], {"Arn": f"arn:aws:sqs:{HOME}:{ACCOUNT}:{STACK}-undelivered"})
        [statement] = [it for policy in cloud.role(role).values() for it in policy["Statement"]]
        granted = (statement["Effect"], statement["Action"], statement["Resource"])
        self.assertEqual(granted, ("Allow", "events:PutEvents", bus))
        [parks] = json.loads(cloud.queue(outputs["UndeliveredQueueUrl"])["Policy"])["Statement"]
        self.assertIn(rule["Arn"], parks["Condition"]["ArnEquals"]["aws:SourceArn"])

    def test_answers_are_sent_on_and_nothing_else(self):
        pattern = self.outcome_rule()[0]["EventPattern"]
        answer = {
            **{"version": "0", "id": "1", "time": "2026-11-20T10:00:00Z", "region": HOME, "resources": []},
            **{"source": "lambda", "account": ACCOUNT, "detail": {"responsePayload": {"schema": 1}}},
            "detail-type": "Lambda Function Invocation Result - Success",
        }
        for event, sent_on in (
            (answer, True),
            (answer | {"source": "aws.lambda"}, True),
            (answer | {"source": "my.lambda"}, False),
            (answer | {"detail-type": "Lambda Function Invocation Result - Failure"}, False),
            (answer | {"account": "999999999999"}, False),
        ):
            asked = cloud.client("events").test_event_pattern(EventPattern=pattern, Event=json.dumps(event))
            self.assertEqual(asked["Result"], sent_on, event)

    def test_an_answer_that_lambda_puts_on_the_stacks_bus_arrives_on_the_other(self):
        events, sqs = cloud.client("events"), cloud.client("sqs")
        queue = sqs.create_queue(QueueName="siem")["QueueUrl"]
        events.put_rule(Name="to-siem", EventBusName="outcomes", EventPattern=json.dumps({"source": ["lambda"]}))
        target = {"Id": "siem", "Arn": f"arn:aws:sqs:{HOME}:{ACCOUNT}:siem"}
        events.put_targets(Rule="to-siem", EventBusName="outcomes", Targets=[target])
        detail = {"responsePayload": {"schema": 1}}
        entry = {"Source": "lambda", "EventBusName": f"{STACK}-outcomes", "Detail": json.dumps(detail)}
        events.put_events(Entries=[entry | {"DetailType": "Lambda Function Invocation Result - Success"}])
        [message] = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10).get("Messages", [])
        self.assertEqual(json.loads(message["Body"])["detail"], detail)

    def test_it_sweeps_every_hour_and_is_missed_after_two(self):
        schedule = cloud.client("scheduler").get_schedule(Name=outputs["SweepScheduleName"])
        self.assertEqual(schedule["Name"], f"{STACK}-sweep-enforce")
        self.assertEqual(schedule["ScheduleExpression"], "rate(1 hour)")
        alarm = cloud.alarms(STACK)["no-sweep"]
        self.assertEqual((alarm["Period"], alarm["EvaluationPeriods"]), (3600, 2))
        self.assertIn("(hourly)", alarm["AlarmDescription"])

    def test_every_interval_is_missed_after_two_of_it(self):
        for interval, expected in template["Mappings"]["Sweep"].items():
            number, unit = expected["Rate"].removeprefix("rate(").removesuffix(")").split()
            hours = int(number) * {"hour": 1, "hours": 1, "day": 24}[unit]
            self.assertEqual(expected["HoursOfTwo"], 2 * hours, interval)
        self.assertEqual(sorted(template["Mappings"]["Sweep"]), sorted(PARAMETERS["SweepInterval"][1]))

    def test_the_log_is_kept_as_long_as_was_said(self):
        [group] = cloud.client("logs").describe_log_groups(logGroupNamePrefix=outputs["LogGroupName"])["logGroups"]
        self.assertEqual(group["retentionInDays"], 30)

    def test_the_management_accounts_trails_are_in_the_roles_reach_and_no_other_accounts(self):
        trails = self.statement("Seal", "SealTrails")["Resource"]
        self.assertEqual(trails, [f"arn:aws:cloudtrail:*:{account}:trail/*" for account in (ACCOUNT, "999999999999")])

    def test_rights_to_keys_hang_on_the_alias_that_was_given(self):
        named = self.statement("Seal", "NameNewKeys")["Resource"]
        self.assertEqual(named, f"arn:aws:kms:*:{ACCOUNT}:alias/logs")
        kept = self.statement("Seal", "RestoreAndExtendTheSealingKey")["Condition"]
        self.assertEqual(kept, {"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/logs"}})

    def test_what_the_emulator_does_not_carry_over_depends_on_its_parameter(self):
        # Its CloudFormation drops these (`_lambda_create`, `_iam_role_create`, `_sns_create` in provisioners.py), so
        # the template is read here.
        for resource, name, condition, parameter in (
            ("Function", "ReservedConcurrentExecutions", "ReservesConcurrency", "ReservedConcurrency"),
            ("Role", "PermissionsBoundary", "IsBounded", "PermissionsBoundary"),
            ("SweepRole", "PermissionsBoundary", "IsBounded", "PermissionsBoundary"),
            ("OutcomeRole", "PermissionsBoundary", "IsBounded", "PermissionsBoundary"),
            ("AlertTopic", "KmsMasterKeyId", "EncryptsTopic", "TopicKeyArn"),
        ):
            with self.subTest(resource):
                self.assertEqual(
                    template["Resources"][resource]["Properties"][name],
                    {"Fn::If": [condition, {"Ref": parameter}, {"Ref": "AWS::NoValue"}]},
                )
                self.assertEqual(
                    template["Conditions"][condition], {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]}
                )
                self.assertEqual(template["Parameters"][parameter]["Default"], "")
