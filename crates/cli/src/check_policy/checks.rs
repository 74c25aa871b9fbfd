//! The checks of a key policy and of a bucket policy.

use serde_json::{Value, json};
use trailseal_core::access::{
    DecryptBarrier, Decrypter, KeyAccess, LockedOutReader, LogFiles, cloudtrail_key_access,
    cloudtrail_new_bucket_access, decrypters, locked_out_readers, named_trail_accounts, tests_encryption,
};
use trailseal_core::config::Config;
use trailseal_core::iam::{Decision, StatementId};
use trailseal_core::ids::{FunctionArn, KeyArn, TrailArn, shorten};
use trailseal_core::key_policy::KeyPolicy;

use super::result::{Found, Help};
use super::rules::{Level, Rule};
use super::source::PolicyKind;
use super::tested::{TestedPolicy, because, deciding};

/// What is found in a key policy.
pub(super) fn key_policy(tested: &TestedPolicy<'_>) -> Vec<Found> {
    let malformed: Vec<Found> = tested.malformed().collect();
    if !malformed.is_empty() {
        return malformed;
    }
    let mut found: Vec<Found> = tested.trails.iter().flat_map(|trail| key_access(tested, trail)).collect();
    once_per_statement(&mut found);
    found.extend(foreign_key_use(tested));
    found.extend(by_statement(tested, decrypters(&tested.document, &tested.key, &tested.place.account)).map(
        |(at, names)| {
            let message = format!("principals outside account {} can decrypt log files: {names}", tested.place.account);
            tested.found(Rule::KeyDecrypters, Some(&at), message, None)
        },
    ));
    found
}

fn key_access(tested: &TestedPolicy<'_>, arn: &TrailArn) -> Vec<Found> {
    let access = cloudtrail_key_access(&tested.document, &tested.key, arn, tested.organization(arn));
    let KeyAccess { generate_data_key, describe_key, decrypt } = &access;
    let missing = |access: &KeyAccess| {
        statements(tested, cloudtrail_policy(arn).and_then(|policy| policy.missing_statements(access)))
    };
    let found = |rule, decision: &Decision, message: &str, help| {
        let message = format!("{message}: {}", because(decision));
        tested.found(rule, deciding(decision), message, help)
    };
    let trail = tested.trail_name(arn);
    if generate_data_key.is_denied() {
        let message = format!("CloudTrail cannot encrypt log files with this key for {trail}");
        let help = match generate_data_key.explicit_deny() {
            Some(statement) => Some(Help::new(format!(
                "change {statement}, so that it does not deny CloudTrail `kms:GenerateDataKey`"
            ))),
            None => other_accounts(tested, arn).or_else(|| missing(&access)),
        };
        return vec![found(Rule::KeyPolicyGap, generate_data_key, &message, help)];
    }
    let mut all = Vec::new();
    if let Some((call, decision)) = access.unknown().into_iter().next() {
        let message = format!("it is unknown whether CloudTrail can use this key for {trail} (`{call}`)");
        all.push(found(Rule::KeyPolicyUnclear, decision, &message, tested.unresolved_help()));
    }
    if describe_key.is_denied() {
        let message = "CloudTrail cannot describe this key (`kms:DescribeKey`)";
        let only = KeyAccess { decrypt: generate_data_key.clone(), ..access.clone() };
        all.push(found(Rule::DescribeKeyMissing, describe_key, message, missing(&only)));
    }
    if decrypt.is_denied() {
        let message = "CloudTrail cannot deliver with this key if the bucket uses an S3 Bucket Key (`kms:Decrypt`)";
        let only = KeyAccess { describe_key: generate_data_key.clone(), ..access.clone() };
        all.push(found(Rule::BucketKeyNeedsDecrypt, decrypt, message, missing(&only)));
    }
    all
}

/// The policy that trailseal writes for the trails of an account.
fn cloudtrail_policy(trail: &TrailArn) -> Option<KeyPolicy> {
    let function = FunctionArn::new(trail.partition(), trail.region(), trail.account(), "trailseal".parse().ok()?);
    Some(KeyPolicy::new(&Config::parse(|_| None).ok()?, &function))
}

/// The help for an option that names another account than the policy.
fn other_accounts(tested: &TestedPolicy<'_>, trail: &TrailArn) -> Option<Help> {
    let accounts = named_trail_accounts(&tested.document);
    let others = !accounts.is_empty() && !accounts.contains(trail.account());
    let accounts = accounts.iter().map(|account| format!("`{account}`")).collect::<Vec<String>>().join(", ");
    others.then(|| Help::new(format!("the policy is for trails of {accounts}; if that is intended, pass one of them as --account, or the trail as --trail")))
}

/// JSON to add to the policy.
fn statements(tested: &TestedPolicy<'_>, json: Option<String>) -> Option<Help> {
    let json = json?;
    let statements: Vec<Value> = serde_json::from_str(&json).ok()?;
    let what = if statements.len() == 1 { "this statement" } else { "these statements" };
    let names_example = tested.is_example && json.contains("trail/example");
    let example = if names_example { ", with the name of your trail instead of `example`" } else { "" };
    Some(Help { text: format!("add {what} to the policy{example}:"), statements })
}

/// Whether another account's trail can use the key.
fn foreign_key_use(tested: &TestedPolicy<'_>) -> Vec<Found> {
    let Some(foreign) = tested.foreign_trail() else { return Vec::new() };
    let access = cloudtrail_key_access(&tested.document, &tested.key, &foreign, None);
    let calls = [("encrypt", access.generate_data_key), ("decrypt", access.decrypt)];
    let mut found: Vec<Found> = Vec::new();
    for (verb, decision) in calls {
        let Decision::Allowed(statement) = decision else { continue };
        let message = format!(
            "a trail of any AWS account can {verb} with this key, because {statement} does not restrict the trail"
        );
        found.push(tested.found(Rule::SourceArnMissing, Some(&statement), message, Some(restrict(tested))));
    }
    once_per_statement(&mut found);
    found
}

fn restrict(tested: &TestedPolicy<'_>) -> Help {
    let trail = tested.trails.first().map(|trail| match tested.policy.kind {
        PolicyKind::Key => {
            format!("arn:{}:cloudtrail:*:{}:trail/*", trail.partition(), trail.account())
        }
        PolicyKind::Bucket => trail.to_string(),
    });
    let condition = json!({ "ArnLike": { "aws:SourceArn": trail } });
    Help::new(format!("add to its `Condition`: `{condition}`"))
}

/// Of the results of one rule at one statement, the first, which counts the others.
fn once_per_statement(found: &mut Vec<Found>) {
    let mut kept: Vec<(Found, usize)> = Vec::new();
    for one in found.drain(..) {
        match kept.iter_mut().find(|(known, _)| known.rule == one.rule && known.place == one.place) {
            Some((_, others)) => *others = others.saturating_add(1),
            None => kept.push((one, 0)),
        }
    }
    found.extend(kept.into_iter().map(|(one, others)| match (others, one.rule) {
        (0, _) | (_, Rule::SourceArnMissing) => one,
        (1, _) => Found { message: format!("{} (and for 1 other trail)", one.message), ..one },
        (others, _) => Found { message: format!("{} (and for {others} other trails)", one.message), ..one },
    }));
}

/// The names of principals, by the statement that allows them.
fn by_statement(tested: &TestedPolicy<'_>, found: Vec<Decrypter>) -> impl Iterator<Item = (StatementId, String)> {
    let mut statements: Vec<(StatementId, Vec<String>)> = Vec::new();
    // Principals that the file does not resolve are unknown.
    let is_readable =
        |at: &StatementId| tested.document.statements().get(at.index).is_some_and(|it| it.malformed().is_none());
    for Decrypter { name, statement, certain } in found.into_iter().filter(|it| is_readable(&it.statement)) {
        let name = principal_name(&name, certain);
        match statements.iter_mut().find(|(known, _)| *known == statement) {
            Some((_, names)) => names.push(name),
            None => statements.push((statement, vec![name])),
        }
    }
    statements.into_iter().map(|(statement, names)| (statement, shorten(&names.join(", "), 1000)))
}

fn principal_name(name: &str, certain: bool) -> String {
    let name = if name == "*" { "everyone (`*`)".to_owned() } else { format!("`{name}`") };
    if certain { name } else { format!("possibly {name}") }
}

/// What is found in a bucket policy. `key`: the only key policy of this run.
pub(super) fn bucket_policy(tested: &TestedPolicy<'_>, key: Option<&TestedPolicy<'_>>) -> Vec<Found> {
    let malformed: Vec<Found> = tested.malformed().collect();
    if !malformed.is_empty() {
        return malformed;
    }
    // The key that a trail uses is known only if the file names it.
    let known = key.and_then(|key| key.policy.key.as_ref());
    let key_arn = key.map_or(&tested.key, |key| &key.key);
    let mut found: Vec<Found> = tested.trails.iter().filter_map(|trail| bucket_access(tested, trail, known)).collect();
    once_per_statement(&mut found);
    found.extend(foreign_writes(tested, known));
    found.extend(readers(tested, key, key_arn));
    found
}

fn bucket_access(tested: &TestedPolicy<'_>, arn: &TrailArn, key: Option<&KeyArn>) -> Option<Found> {
    let files = tested.files(arn);
    let trail = tested.trail_name(arn);
    let access = cloudtrail_new_bucket_access(&tested.document, &files, key);
    let (call, decision) = access.decisive();
    let reason = because(decision);
    let bucket = files.bucket;
    if decision.is_denied() {
        let message =
            format!("CloudTrail cannot deliver the log files of {trail} to bucket `{bucket}` (`{call}`): {reason}");
        let help = match decision.explicit_deny() {
            Some(statement) if tests_encryption(&tested.document, statement) => Some(Help::new(format!(
                "change {statement}, so that it accepts files that are encrypted with the trail's KMS key"
            ))),
            Some(statement) => {
                Some(Help::new(format!("change {statement}, so that it does not deny CloudTrail `{call}`")))
            }
            None => {
                let missing = || statements(tested, Some(files.cloudtrail_statements().to_string()));
                other_accounts(tested, arn).or_else(missing)
            }
        };
        return Some(tested.found(Rule::BucketPolicyGap, deciding(decision), message, help));
    }
    let message = format!(
        "it is unknown whether CloudTrail can deliver the log files of {trail} to bucket `{bucket}` (`{call}`): {reason}"
    );
    decision
        .is_unknown()
        .then(|| tested.found(Rule::BucketPolicyUnclear, deciding(decision), message, tested.unresolved_help()))
}

/// Whether another account's trail can write to the bucket.
fn foreign_writes(tested: &TestedPolicy<'_>, key: Option<&KeyArn>) -> Option<Found> {
    let foreign = tested.foreign_trail()?;
    let files = LogFiles { organization: false, organization_id: None, ..tested.files(&foreign) };
    let Decision::Allowed(statement) = cloudtrail_new_bucket_access(&tested.document, &files, key).put_object else {
        return None;
    };
    let message =
        format!("a trail of any AWS account can write to this bucket, because {statement} does not restrict the trail");
    Some(tested.found(Rule::SourceArnMissing, Some(&statement), message, Some(restrict(tested))))
}

/// The principals outside the account that read log files, and those that could not decrypt them.
fn readers(tested: &TestedPolicy<'_>, by: Option<&TestedPolicy<'_>>, key: &KeyArn) -> Vec<Found> {
    let Some(trail) = tested.trails.first() else { return Vec::new() };
    let account = &tested.place.account;
    let files = tested.files(trail);
    let all = locked_out_readers(&tested.document, &files, None, key, account);
    let readers =
        all.into_iter().map(|it| Decrypter { name: it.reader, statement: it.statement, certain: it.reads_certainly });
    let mut found: Vec<Found> = by_statement(tested, readers.collect())
        .map(|(at, names)| {
            let message = format!("principals outside account {account} can read log files: {names}");
            tested.found(Rule::LogReaders, Some(&at), message, None)
        })
        .collect();
    if let Some(by) = by {
        let locked_out = locked_out_readers(&tested.document, &files, Some(&by.document), key, account);
        found.extend(locked_out.iter().map(|reader| locked_out_reader(tested, by, reader)));
    }
    found
}

fn locked_out_reader(tested: &TestedPolicy<'_>, by: &TestedPolicy<'_>, reader: &LockedOutReader) -> Found {
    let name = principal_name(&reader.reader, true);
    let why = match &reader.barrier {
        DecryptBarrier::UnknownPolicy => "the key policy is unknown".to_owned(),
        DecryptBarrier::UnknownDecision(reason) => format!("it is unknown whether the key policy allows it: {reason}"),
        DecryptBarrier::ExplicitDeny(statement) => format!("{statement} of the key policy denies it"),
        DecryptBarrier::ImplicitDeny => "no statement of the key policy allows it".to_owned(),
        DecryptBarrier::SomeAllowed(some) => format!("the key policy may allow it only to some of them: `{some}`"),
        DecryptBarrier::SomeDenied(some) => format!("the key policy may deny it to some of them: `{some}`"),
    };
    let (level, can) = if reader.certain { (Level::Error, "cannot") } else { (Level::Warning, "possibly cannot") };
    let message =
        format!("{name} can read log files but {can} decrypt them (`kms:Decrypt`): {}", shorten(&by.shown(why), 500));
    let help = "allow them `kms:Decrypt` in the key policy, or remove them from the bucket policy";
    tested.found(Rule::ReadersLockedOut, Some(&reader.statement), message, Some(Help::new(help))).with_level(level)
}
