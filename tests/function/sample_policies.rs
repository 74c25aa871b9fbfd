//! The sample policies of the documents do what the documents say.

use std::collections::BTreeSet;

use fake_aws::{Authorization, IdentityPolicy, Key, ResourcePolicy, World};
use serde_json::Value;

use crate::decisions::table_run;
use crate::role;
use crate::support::{ACCOUNT, AUDIT, account};

fn page(name: &str) -> String {
    std::fs::read_to_string(format!("{}/docs/{name}.md", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The first JSON block after a heading of a page.
fn policy(name: &str, heading: &str) -> Value {
    let page = page(name);
    let (_, section) = page.split_once(&format!("# {heading}\n")).unwrap();
    let (_, block) = section.split_once("```json\n").unwrap();
    serde_json::from_str(block.split_once("```").unwrap().0).unwrap()
}

/// The actions that silence trailseal, by the table of the threat model.
fn silencing_actions() -> Vec<String> {
    let page = page("threat-model");
    let (_, section) = page.split_once("### Who can silence it\n").unwrap();
    let (table, _) = section.split_once("\n\nCloudTrail records").unwrap();
    let mut service = "";
    let mut actions = Vec::new();
    for name in
        table.lines().filter_map(|row| row.split('|').nth(1)).flat_map(|cell| cell.split('`').skip(1).step_by(2))
    {
        let (prefix, name) = name.split_once(':').unwrap_or((service, name));
        service = match prefix {
            "lambda" => "lambda",
            "events" => "events",
            "scheduler" => "scheduler",
            "logs" => "logs",
            "cloudwatch" => "cloudwatch",
            "sns" => "sns",
            "sqs" => "sqs",
            prefix => panic!("unknown service {prefix}"),
        };
        actions.push(format!("{service}:{name}"));
    }
    actions
}

/// A resource of the stack that the action changes, or `*` for an action without resource-level permissions.
fn resource(action: &str) -> String {
    let in_region = |service: &str, name: &str| format!("arn:aws:{service}:eu-west-1:{ACCOUNT}:{name}");
    match action.split_once(':').unwrap() {
        ("sns", "Unsubscribe") => "*".into(),
        ("lambda", _) => role::FUNCTION.into(),
        ("events", "DeleteEventBus") => in_region("events", "event-bus/trailseal-outcomes"),
        ("events", _) => in_region("events", "rule/trailseal-trails"),
        ("scheduler", _) => in_region("scheduler", "schedule/default/trailseal-sweep-enforce"),
        ("logs", "DeleteLogStream" | "PutLogEvents") => {
            in_region("logs", "log-group:/aws/lambda/trailseal:log-stream:2026")
        }
        ("logs", _) => in_region("logs", "log-group:/aws/lambda/trailseal"),
        ("cloudwatch", "PutMetricData") => "*".into(),
        ("cloudwatch", _) => in_region("cloudwatch", "alarm:trailseal-no-sweep"),
        ("sns", _) => in_region("sns", "trailseal-alerts"),
        ("sqs", _) => in_region("sqs", "trailseal-failed"),
        _ => panic!("{action} has no resource"),
    }
}

/// The actions of the only role in another template with the parameter `PermissionsBoundary`.
fn actions_of_role(template: &str) -> Vec<String> {
    let text = std::fs::read_to_string(format!("{}/{template}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (_, policies) = text.split_once("\n      Policies:\n").unwrap();
    let (policies, others) = policies.split_once("\n\n").unwrap();
    assert!(!others.contains("Policies:"), "{template} has another role");
    let actions = policies.lines().filter_map(|line| line.trim().strip_prefix("Action: "));
    actions.flat_map(|it| it.trim_matches(['[', ']']).split(", ")).map(str::to_owned).collect()
}

fn caller(role: &str, policy: &Value) -> World {
    let mut world = account();
    world.caller_role_arn = format!("arn:aws:iam::{ACCOUNT}:role/{role}");
    world.caller_policies = Some(vec![IdentityPolicy::new("sample", policy.clone())]);
    world
}

#[test]
fn the_sample_scp_denies_everyone_else_to_silence_trailseal() {
    let scp = policy("threat-model", "A service control policy");
    let (stranger, deployment) = (caller("admin", &scp), caller("DEPLOYMENT-ROLE", &scp));
    let mut actions = silencing_actions();
    assert!(actions.len() > 20, "{actions:?}");
    actions.extend(
        ["sns:AddPermission", "sns:RemovePermission", "sqs:AddPermission", "sqs:RemovePermission"].map(str::to_owned),
    );
    for action in actions {
        let denied = |world: &World| {
            let request = world.access_request(&action, &resource(&action)).with("cloudwatch:namespace", "trailseal");
            world.decide(&request).denied_by.is_some()
        };
        assert!(denied(&stranger), "{action}");
        // Only Lambda and the metric filters of CloudWatch do these.
        let forges = ["logs:PutLogEvents", "cloudwatch:PutMetricData"].contains(&action.as_str());
        assert_eq!(denied(&deployment), forges, "{action}");
    }
    let (log, trailseal) = ("logs:PutLogEvents", caller("trailseal-eu-west-1", &scp));
    assert_eq!(trailseal.decide(&trailseal.access_request(log, &resource(log))).denied_by, None);
    let metrics = stranger.access_request("cloudwatch:PutMetricData", "*").with("cloudwatch:namespace", "another");
    assert_eq!(stranger.decide(&metrics).denied_by, None);
}

#[test]
fn the_sample_scp_covers_versions_and_aliases_of_the_function() {
    let scp = policy("threat-model", "A service control policy");
    let stranger = caller("admin", &scp);
    for qualifier in ["", ":1", ":live"] {
        let function = format!("{}{qualifier}", role::FUNCTION);
        let request = stranger.access_request("lambda:PutFunctionEventInvokeConfig", &function);
        assert!(stranger.decide(&request).denied_by.is_some(), "{function}");
    }
    let another = stranger.access_request("lambda:UpdateFunctionCode", &format!("{}-another", role::FUNCTION));
    assert_eq!(stranger.decide(&another).denied_by, None);
}

#[test]
fn the_sample_scp_reserves_changes_of_tags() {
    let scp = policy("threat-model", "A service control policy");
    let world = |role: &str| {
        let mut world = caller(role, &scp);
        let own = world.key(Key::new("eu-west-1").tag("managed-by", "trailseal"));
        let another = world.key(Key::new("eu-west-1").tag("managed-by", "terraform"));
        (world, own, another)
    };
    let (stranger, own, another) = world("admin");
    let (deployment, ..) = world("DEPLOYMENT-ROLE");
    for (action, resource, tag, denied) in [
        ("kms:UntagResource", own.as_str(), "managed-by", true),
        ("kms:TagResource", &own, "managed-by", true),
        ("kms:UntagResource", &own, "team", false),
        ("kms:UntagResource", &another, "managed-by", false),
        ("kms:UntagResource", &own, "trailseal:exempt", true),
        ("kms:TagResource", &own, "trailseal:exempt", true),
        ("cloudtrail:AddTags", AUDIT, "trailseal:exempt", true),
        ("cloudtrail:CreateTrail", AUDIT, "trailseal:exempt", true),
        ("cloudtrail:RemoveTags", AUDIT, "trailseal:exempt", true),
        ("cloudtrail:RemoveTags", AUDIT, "managed-by", false),
    ] {
        let decide = |world: &World| {
            let request = world.access_request(action, resource).with_all("aws:TagKeys", [tag, "other"]);
            world.decide(&request).denied_by.is_some()
        };
        assert_eq!(decide(&stranger), denied, "{action} {tag}");
        assert!(!decide(&deployment), "{action} {tag}");
    }
    let untagged = stranger.access_request("cloudtrail:CreateTrail", AUDIT);
    assert_eq!(stranger.decide(&untagged).denied_by, None);
}

#[test]
fn the_sample_scp_denies_trailseal_none_of_its_calls() {
    let world = caller("trailseal-eu-west-1", &policy("threat-model", "A service control policy"));
    let calls = table_run().authorizations.iter().map(|(_, call)| &call.request);
    for call in calls {
        let request = call.clone().with("aws:PrincipalArn", &world.caller_role_arn);
        assert_eq!(world.decide(&request).denied_by, None, "{request:?}");
    }
}

/// A boundary limits what key policies grant to the role by its ARN:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>.
#[test]
fn the_sample_boundary_cuts_none_of_the_roles_calls() {
    let boundary = [IdentityPolicy::new("boundary", policy("permissions", "A permissions boundary"))];
    let copy = role::in_mode("enforce", &role::Texts::new());
    let limited = |policies: &[IdentityPolicy], call: &Authorization| {
        let call = Authorization { resource_policy: ResourcePolicy::None, ..call.clone() };
        !call.under(policies).is_allowed()
    };
    let calls =
        table_run().authorizations.iter().filter(|(mode, call)| *mode == "enforce" && call.decision.is_allowed());
    let calls: Vec<&Authorization> = calls.map(|(_, call)| call).collect();
    let cut = |policies: &[IdentityPolicy]| {
        let cut = calls.iter().filter(|call| limited(policies, call)).map(|call| call.request.action.clone());
        cut.collect::<BTreeSet<_>>()
    };
    assert_eq!(cut(&boundary), BTreeSet::new());
    // What the page warns of: no statement of the role allows these on a new key, which has no alias.
    let cut = cut(&copy);
    assert!(cut.contains("kms:EnableKeyRotation") && cut.contains("kms:CreateAlias"), "{cut:?}");
}

#[test]
fn the_sample_boundary_allows_only_what_the_roles_use() {
    let boundary = policy("permissions", "A permissions boundary");
    let listed: BTreeSet<String> = serde_json::from_value(boundary["Statement"]["Action"].clone()).unwrap();
    let mut used: BTreeSet<String> = role::allowed_actions().into_iter().map(|(_, action)| action).collect();
    // By the policies of trailseal's keys, and by the schedule's role.
    used.extend(["kms:EnableKeyRotation", "lambda:InvokeFunction"].map(str::to_owned));
    for template in ["forwarder.yaml", "security-hub.yaml"] {
        let actions = actions_of_role(template);
        assert!(!actions.is_empty(), "{template}");
        used.extend(actions);
    }
    assert_eq!(listed, used);
}
