"""A deployment with a value for every parameter that has an effect outside the function's environment."""

import json
import unittest

from account import HOME
from emulated_account import invocation_result, start_emulator
from local import ACCOUNT, architecture
from parameters import PARAMETERS, ROLE

STACK = "all-parameters"


def setUpModule() -> None:
    global aws, key, bus, given, outputs, policies, template
    aws = start_emulator("all-parameters")
    key = aws.client("kms").create_key(Description="Key of the topic")["KeyMetadata"]["Arn"]
    bus = aws.client("events").create_event_bus(Name="outcomes")["EventBusArn"]
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    boundary = aws.client("iam").create_policy(PolicyName="boundary", PolicyDocument=json.dumps(document))
    given = {
        "Mode": "enforce",
        "Architecture": architecture(),
        "RestartLogging": "true",
        "ReadersLockedOut": "hold",
        "ExemptTag": "no-seal",
        "KeyAlias": "alias/logs",
        "KeyTags": "team=security,cost-center=42",
        "LogReaders": f"{ROLE},210987654321,o-abcdefghij,account",
        "AlertEmail": "ops@example.com",
        "TopicKeyArn": key,
        "OutcomeBusArn": bus,
        "SweepInterval": "hourly",
        "ReservedConcurrency": "1",
        "LogRetentionDays": "30",
        "LogGroupKeyArn": key,
        "FunctionKeyArn": key,
        "PermissionsBoundary": boundary["Policy"]["Arn"],
        "OrgTrailOwner": "999999999999",
        "OrganizationId": "o-a1b2c3d4e5",
    }
    outputs = aws.deploy(*(f"{name}={value}" for name, value in given.items()), stack=STACK)
    policies = aws.role_policies(f"{STACK}-{HOME}")
    template = aws.template(STACK)


class AllParameters(unittest.TestCase):
    def statement(self, policy: str, sid: str) -> dict:
        [found] = [it for it in policies[policy]["Statement"] if it["Sid"] == sid]
        return found

    def test_the_stack_has_the_given_parameters(self):
        parameters = aws.parameters(STACK)
        self.assertEqual({name: parameters[name] for name in given}, given)

    def test_each_variable_has_the_value_of_its_parameter(self):
        function = aws.client("lambda").get_function_configuration(FunctionName=STACK)
        variables, parameters = function["Environment"]["Variables"], aws.parameters(STACK)
        for name, (variable, _, _) in PARAMETERS.items():
            if variable:
                self.assertEqual(variables[variable], parameters[name], name)
        self.assertEqual(len(variables), 2 + sum(1 for variable, _, _ in PARAMETERS.values() if variable))

    def test_the_email_address_is_subscribed(self):
        subscribed = aws.client("sns").list_subscriptions_by_topic(TopicArn=outputs["AlertTopicArn"])
        found = [(it["Protocol"], it["Endpoint"]) for it in subscribed["Subscriptions"]]
        self.assertEqual(found, [("email", "ops@example.com")])
        # With all parameters set, any other condition would also be true.
        condition = template["Conditions"][template["Resources"]["AlertMail"]["Condition"]]
        has_email = {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlertEmail"}, ""]}]}
        self.assertEqual(condition, {"Fn::And": [{"Condition": "MakesTopic"}, has_email]})

    def test_the_role_can_use_the_topics_key_only_through_sns(self):
        allow = self.statement("Report", "EncryptAlerts")
        self.assertEqual((allow["Effect"], allow["Resource"]), ("Allow", key))
        self.assertEqual(allow["Action"], ["kms:Decrypt", "kms:GenerateDataKey*"])
        self.assertEqual(allow["Condition"], {"StringEquals": {"kms:ViaService": f"sns.{HOME}.amazonaws.com"}})
        deny = self.statement("Never", "NeverUsesKeys")
        self.assertEqual((deny["Effect"], deny.get("NotResource")), ("Deny", key))
        self.assertNotIn("Resource", deny)

    def test_the_printed_statements_for_the_topics_key_are_valid(self):
        statements = json.loads(outputs["TopicKeyStatement"])
        use = {"Effect": "Allow", "Action": ["kms:Decrypt", "kms:GenerateDataKey*"], "Resource": "*"}
        through_sns = {"StringEquals": {"kms:ViaService": f"sns.{HOME}.amazonaws.com"}}
        alarms = use | {"Sid": "AlarmsReachTheTopic", "Principal": {"Service": "cloudwatch.amazonaws.com"}}
        alarms |= {"Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}}}
        alerts = use | {"Sid": "AlertsReachTheTopic", "Principal": {"AWS": outputs["RoleArn"]}}
        self.assertEqual(statements, [alarms, alerts | {"Condition": through_sns}])
        kms = aws.client("kms")
        policy = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
        policy["Statement"] += statements
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))

    def test_lambda_sends_answers_to_the_stacks_own_bus(self):
        own = f"arn:aws:events:{HOME}:{ACCOUNT}:event-bus/{STACK}-outcomes"
        retries = aws.client("lambda").get_function_event_invoke_config(FunctionName=STACK, Qualifier="$LATEST")
        # The emulator stores this but sends nothing (`invoke_async_with_retry` in lambda_svc.py).
        self.assertEqual(retries["DestinationConfig"]["OnSuccess"], {"Destination": own})
        self.assertEqual(
            retries["DestinationConfig"]["OnFailure"],
            {"Destination": f"arn:aws:sqs:{HOME}:{ACCOUNT}:{STACK}-failed"},
        )
        send = self.statement("Report", "SendOutcomes")
        self.assertEqual((send["Effect"], send["Action"], send["Resource"]), ("Allow", "events:PutEvents", own))

    def test_only_the_function_can_put_events_on_the_stacks_bus(self):
        # The emulator's CloudFormation drops the bus's policy (`_eb_event_bus_create` in provisioners.py).
        [statement] = template["Resources"]["OutcomeBus"]["Properties"]["Policy"]["Statement"]
        self.assertEqual((statement["Effect"], statement["Principal"]), ("Deny", "*"))
        self.assertEqual(statement["Action"], "events:PutEvents")
        role = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${AWS::StackName}-${AWS::Region}"
        self.assertEqual(statement["Condition"], {"ArnNotEquals": {"aws:PrincipalArn": {"Fn::Sub": role}}})
        self.assertEqual(outputs["RoleArn"], f"arn:aws:iam::{ACCOUNT}:role/{STACK}-{HOME}")

    def outcome_rule(self) -> tuple[dict, dict]:
        """The outcome rule and its target."""
        events, bus = aws.client("events"), f"{STACK}-outcomes"
        [rule] = events.list_rules(EventBusName=bus)["Rules"]
        [target] = events.list_targets_by_rule(Rule=rule["Name"], EventBusName=bus)["Targets"]
        return rule, target

    def test_the_forwarding_role_can_only_put_events(self):
        rule, target = self.outcome_rule()
        role = f"{STACK}-outcomes-{HOME}"
        self.assertEqual((rule["Name"], target["Arn"]), (f"{STACK}-outcomes", bus))
        self.assertEqual(target["RoleArn"], f"arn:aws:iam::{ACCOUNT}:role/{role}")
        self.assertEqual(target["DeadLetterConfig"], {"Arn": f"arn:aws:sqs:{HOME}:{ACCOUNT}:{STACK}-undelivered"})
        [allow] = aws.role_statements(role)
        self.assertEqual((allow["Effect"], allow["Action"], allow["Resource"]), ("Allow", "events:PutEvents", bus))
        [send] = json.loads(aws.queue(outputs["UndeliveredQueueUrl"])["Policy"])["Statement"]
        self.assertIn(rule["Arn"], send["Condition"]["ArnEquals"]["aws:SourceArn"])

    def test_the_outcome_rule_matches_only_answers(self):
        pattern = self.outcome_rule()[0]["EventPattern"]
        for event, matches in (
            (invocation_result(STACK), True),
            (invocation_result(STACK, source="aws.lambda"), True),
            (invocation_result(STACK, source="my.lambda"), False),
            (invocation_result(STACK, **{"detail-type": "Lambda Function Invocation Result - Failure"}), False),
            (invocation_result(STACK, account="999999999999"), False),
            # Functions that were given the role.
            (invocation_result("another"), False),
            (invocation_result(f"{STACK}-another"), False),
        ):
            response = aws.client("events").test_event_pattern(EventPattern=pattern, Event=json.dumps(event))
            self.assertEqual(response["Result"], matches, event)

    def test_an_answer_on_the_stacks_bus_reaches_the_other_bus(self):
        events, sqs = aws.client("events"), aws.client("sqs")
        queue = sqs.create_queue(QueueName="siem")["QueueUrl"]
        events.put_rule(Name="to-siem", EventBusName="outcomes", EventPattern=json.dumps({"source": ["lambda"]}))
        target = {"Id": "siem", "Arn": f"arn:aws:sqs:{HOME}:{ACCOUNT}:siem"}
        events.put_targets(Rule="to-siem", EventBusName="outcomes", Targets=[target])
        answer = invocation_result(STACK)
        entry = {"Source": answer["source"], "DetailType": answer["detail-type"], "Detail": json.dumps(answer["detail"])}
        events.put_events(Entries=[entry | {"EventBusName": f"{STACK}-outcomes"}])
        [message] = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10).get("Messages", [])
        self.assertEqual(json.loads(message["Body"])["detail"], answer["detail"])

    def test_hourly_sweeps_alarm_after_two_hours(self):
        schedule = aws.client("scheduler").get_schedule(Name=outputs["SweepScheduleName"])
        self.assertEqual(schedule["Name"], f"{STACK}-sweep-enforce")
        self.assertEqual(schedule["ScheduleExpression"], "rate(1 hour)")
        alarm = aws.alarms(STACK)["no-sweep"]
        self.assertEqual((alarm["Period"], alarm["EvaluationPeriods"]), (3600, 2))
        self.assertIn("(hourly)", alarm["AlarmDescription"])

    def test_every_interval_alarms_after_two_intervals(self):
        for interval, expected in template["Mappings"]["Sweep"].items():
            number, unit = expected["Rate"].removeprefix("rate(").removesuffix(")").split()
            hours = int(number) * {"hour": 1, "hours": 1, "day": 24}[unit]
            self.assertEqual(expected["HoursOfTwo"], 2 * hours, interval)
        self.assertEqual(sorted(template["Mappings"]["Sweep"]), sorted(PARAMETERS["SweepInterval"][1]))

    def test_the_log_has_the_given_retention(self):
        [group] = aws.client("logs").describe_log_groups(logGroupNamePrefix=outputs["LogGroupName"])["logGroups"]
        self.assertEqual(group["retentionInDays"], 30)

    def test_the_role_can_update_the_management_accounts_trails(self):
        trails = self.statement("Seal", "SealTrails")["Resource"]
        self.assertEqual(trails, [f"arn:aws:cloudtrail:*:{account}:trail/*" for account in (ACCOUNT, "999999999999")])

    def test_key_permissions_depend_on_the_given_alias(self):
        alias = self.statement("Seal", "NameNewKeys")["Resource"]
        self.assertEqual(alias, f"arn:aws:kms:*:{ACCOUNT}:alias/logs")
        condition = self.statement("Seal", "RestoreAndExtendTheSealingKey")["Condition"]
        self.assertEqual(condition, {"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/logs"}})

    def test_properties_that_the_emulator_drops_use_parameters(self):
        # The emulator's CloudFormation drops these (`_lambda_create`, `_iam_role_create`, `_sns_create` in
        # provisioners.py), so the test reads the template.
        for resource, name, condition, parameter in (
            ("Function", "ReservedConcurrentExecutions", "ReservesConcurrency", "ReservedConcurrency"),
            ("Role", "PermissionsBoundary", "IsBounded", "PermissionsBoundary"),
            ("SweepRole", "PermissionsBoundary", "IsBounded", "PermissionsBoundary"),
            ("OutcomeRole", "PermissionsBoundary", "IsBounded", "PermissionsBoundary"),
            ("AlertTopic", "KmsMasterKeyId", "EncryptsTopic", "TopicKeyArn"),
            ("Function", "KmsKeyArn", "EncryptsFunction", "FunctionKeyArn"),
            ("LogGroup", "KmsKeyId", "EncryptsLogGroup", "LogGroupKeyArn"),
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
