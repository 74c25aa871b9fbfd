"""Every parameter of the stack: the variable that it sets, valid values, and invalid values."""

from account import HOME
from local import ACCOUNT

KEY = f"arn:aws:kms:{HOME}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
FAR_KEY = KEY.replace(HOME, "eu-central-1")
MULTI_REGION_KEY = f"arn:aws-us-gov:kms:us-gov-west-1:{ACCOUNT}:key/mrk-1234abcd12ab34cd56ef1234567890ab"
ALIAS_ARN = f"arn:aws:kms:{HOME}:{ACCOUNT}:alias/logs"
ROLE = "arn:aws:iam::210987654321:role/path/siem+log.s@a-b_c"
USER = "arn:aws:iam::210987654321:user/ann"
TOPIC = f"arn:aws:sns:{HOME}:999999999999:trailseal-alerts"
BUS = f"arn:aws:events:{HOME}:{ACCOUNT}:event-bus/outcomes"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/path/boundary"

# Environment variable (if any), valid values, invalid values.
PARAMETERS = {
    "Mode": ("TRAILSEAL_MODE", ["dry-run", "enforce"], ["Enforce", "", "off"]),
    "RestartLogging": ("TRAILSEAL_RESTART_LOGGING", ["true", "false"], ["yes", "True", ""]),
    "ReadersLockedOut": ("TRAILSEAL_READERS_LOCKED_OUT", ["proceed", "hold"], ["stop", ""]),
    "ExemptTag": (
        "TRAILSEAL_EXEMPT_TAG",
        ["trailseal:exempt", "No Seal", "team/logs.exempt=1+2@x-y_z", "x" * 128],
        ["", "aws:exempt", "AWS:exempt", "x" * 129, "a,b", "a;b", "a*"],
    ),
    "KeyAlias": (
        "TRAILSEAL_KEY_ALIAS",
        ["alias/trailseal", "alias/team/a_b-c", "alias/awsome", f"alias/{'x' * 250}"],
        ["", "logs", "alias/", "alias/aws/s3", "alias/a b", "alias/a:b", "alias/*", f"alias/{'x' * 251}", ALIAS_ARN],
    ),
    "KeyArns": (
        "TRAILSEAL_KEY_ARNS",
        ["", KEY, MULTI_REGION_KEY, f"{KEY},{FAR_KEY}", f"{KEY}, {FAR_KEY}, {MULTI_REGION_KEY}"],
        [
            "1234abcd-12ab-34cd-56ef-1234567890ab",
            ALIAS_ARN,
            f"{KEY} {FAR_KEY}",
            f"{KEY},{ALIAS_ARN}",
            f"{KEY},",
            # Two keys in one Region.
            f"{KEY},{KEY}2",
            f"{KEY},{FAR_KEY}, {KEY}2",
            # Not a partition, not a Region.
            KEY.replace("arn:aws:", "arn:awsome:"),
            KEY.replace("arn:aws:", "arn:aws-:"),
            KEY.replace(HOME, "eu"),
            KEY.replace(HOME, "eu-west-1a"),
        ],
    ),
    "KeyTags": (
        "TRAILSEAL_KEY_TAGS",
        [
            "",
            "team=security",
            "team=security,cost-center=42",
            "team=a=b, Data Class=internal use, empty=",
            "managed-by-us=no,xmanaged-by=1",
            "not-aws:x=1",
            "a=1,aa=1,b=a=1",
            "a=1,b=a, c=a=1",
            ",".join(f"k{number}=v" for number in range(49)),
            f"{'k' * 128}={'v' * 256}",
        ],
        [
            "team",
            "=security",
            " =security",
            "team=security,",
            "team=security,,a=b",
            "team=a;b",
            "managed-by=me",
            " managed-by=me",
            "managed-by =me",
            "team=security, managed-by=me",
            "aws:team=security",
            "team=security,AWS:x=1",
            # Duplicate keys.
            "team=a,team=b",
            "x=1, team=a,y=2,team=b",
            " team=a,team=b",
            "team =a,  team=b",
            # KMS allows 50 tags, one of which is managed-by.
            ",".join(f"k{number}=v" for number in range(50)),
            f"{'k' * 129}=v",
            f"k={'v' * 257}",
        ],
    ),
    "LogReaders": (
        "TRAILSEAL_LOG_READERS",
        ["", "account", ROLE, USER, "210987654321", "o-abcdefghij", f"{ROLE}, {USER},210987654321,account"],
        [
            "everyone",
            "*",
            "accounts",
            "o-short",
            "12345",
            f"{ROLE},",
            # IAM allows commas in role names, but here a comma separates values.
            f"{ROLE},everyone",
            f"{ROLE} {USER}",
            "arn:aws:iam::210987654321:root",
            "arn:aws:sts::210987654321:assumed-role/siem/x",
            "arn:aws:iam::210987654321:role/*",
            ROLE.replace("arn:aws:", "arn:awsome:"),
            ROLE.replace("arn:aws:", "arn:aws-:"),
        ],
    ),
    "OrgTrailOwner": (
        "TRAILSEAL_ORG_TRAIL_OWNER",
        ["", "999999999999"],
        ["12345", "9999999999999", "o-abcdefghij", "99999999999x"],
    ),
    "OrganizationId": (
        "TRAILSEAL_ORGANIZATION_ID",
        ["", "o-a1b2c3d4e5"],
        ["o-short", "r-a1b2", "o-ABCDEFGHIJ", "o-a1b2c3d4e5,o-a1b2c3d4e5"],
    ),
    "AlertFormat": ("TRAILSEAL_ALERT_FORMAT", ["text", "chatbot"], ["html", "", "Text"]),
    "AlertEmail": (None, ["", "ops@example.com"], ["ops", "ops@", "a@b@c", "a@b c@d", "a@example.com,b@example.com c"]),
    "AlertTopicArn": (
        None,
        ["", TOPIC, TOPIC.replace("arn:aws:", "arn:aws-us-gov:")],
        [
            "alerts",
            f"{TOPIC}.fifo",
            f"{TOPIC}:subscription",
            f"{TOPIC},{TOPIC}",
            TOPIC.replace("arn:aws:", "arn:awsome:"),
        ],
    ),
    "TopicKeyArn": (None, ["", KEY, MULTI_REGION_KEY], ["alias/aws/sns", ALIAS_ARN, f"{KEY},{FAR_KEY}"]),
    "LogGroupKeyArn": (None, ["", KEY, MULTI_REGION_KEY], ["alias/logs", ALIAS_ARN, f"{KEY},{FAR_KEY}"]),
    "FunctionKeyArn": (None, ["", KEY, MULTI_REGION_KEY], ["alias/lambda", ALIAS_ARN, f"{KEY},{FAR_KEY}"]),
    "OutcomeBusArn": (None, ["", BUS, BUS + "/a.b_c-d"], ["default", BUS.replace("event-bus", "rule"), f"{BUS},{BUS}"]),
    "SweepInterval": (None, ["hourly", "every-6-hours", "every-12-hours", "daily"], ["", "weekly", "rate(1 hour)"]),
    "ReservedConcurrency": (None, ["", "1", "1000"], ["0", "-1", "01", "1.5", "one", "10000"]),
    "PermissionsBoundary": (
        None,
        ["", BOUNDARY, "arn:aws:iam::aws:policy/PowerUserAccess"],
        ["boundary", BOUNDARY.replace("policy", "role"), f"{BOUNDARY} {BOUNDARY}"],
    ),
    "LogRetentionDays": (None, ["1", "30", "365", "3653"], ["0", "2", "never", ""]),
    "CreateDashboard": (None, ["true", "false"], ["", "yes", "True"]),
    "Architecture": (None, ["x86_64", "arm64"], ["x86", "amd64", ""]),
}
# Valid values that are invalid together, and a part of the error message.
INVALID_COMBINATIONS = [
    ({"AlertFormat": "chatbot", "AlertEmail": "ops@example.com"}, "leave AlertEmail empty"),
    ({"AlertTopicArn": TOPIC, "AlertEmail": "ops@example.com"}, "leave AlertEmail empty"),
    ({"OrgTrailOwner": ACCOUNT}, "OrgTrailOwner is this account"),
]
