use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_kms::operation::describe_key::DescribeKeyError;
use serde::Deserialize;

use super::*;

/// The error codes of every call: `codes.json`, which `scripts/error-codes` writes.
#[derive(Deserialize)]
struct Codes {
    /// By call, from the service models.
    calls: BTreeMap<String, Vec<String>>,
    /// By call or service, or `*`, from other pages.
    services: BTreeMap<String, Vec<String>>,
}

impl Codes {
    fn read() -> Self {
        serde_json::from_str(include_str!("codes.json")).unwrap()
    }

    /// Every call with each of its codes.
    fn of_calls(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.calls.iter().flat_map(|(call, codes)| {
            let call: &'static str = call.clone().leak();
            let service = call.split(':').next().unwrap();
            let more = [call, service, "*"].into_iter().filter_map(|scope| self.services.get(scope));
            codes.iter().chain(more.flatten()).map(move |code| (call, code.as_str()))
        })
    }
}

fn operation(name: &'static str) -> Operation {
    Operation::new(name, &"eu-west-1".parse().unwrap(), "create a key in `eu-west-1`".into())
}

fn refused(name: &'static str, status: u16, code: &str) -> Failure {
    let error = ErrorMetadata::builder().code(code).message("because").build();
    operation(name).failure(AttemptError::Refused(status, error))
}

fn refused_with(status: u16, code: &str) -> Failure {
    refused("kms:CreateKey", status, code)
}

fn remedy(failure: &Failure) -> &str {
    failure.remedy.as_deref().unwrap()
}

#[test]
fn every_code_of_every_call_has_a_row() {
    let codes = Codes::read();
    let missing: Vec<_> = codes.of_calls().filter(|(call, code)| table::row(call, code).is_none()).collect();
    assert!(missing.is_empty(), "without a row in table.rs: {missing:#?}");
}

#[test]
fn the_listed_calls_are_those_that_trailseal_makes() {
    let sources = [
        include_str!("../cloudtrail.rs"),
        include_str!("../kms.rs"),
        include_str!("../s3.rs"),
        include_str!("../sns.rs"),
        include_str!("../tagging.rs"),
    ];
    let is_call = |text: &&str| {
        text.split_once(':').is_some_and(|(service, name)| {
            ["cloudtrail", "kms", "s3", "sns", "tag"].contains(&service) && name.starts_with(char::is_uppercase)
        })
    };
    let made: BTreeSet<&str> = sources.iter().flat_map(|source| source.split('"')).filter(is_call).collect();
    let codes = Codes::read();
    let listed: BTreeSet<&str> = codes.calls.keys().map(String::as_str).collect();
    assert_eq!(made, listed, "add the call to codes.json, and run scripts/error-codes");
}

#[test]
fn every_row_applies_to_a_call() {
    let codes = Codes::read();
    let used: BTreeSet<_> =
        codes.of_calls().filter_map(|(call, code)| Some((table::row(call, code)?.scope, code))).collect();
    // Codes that the pages do not list, but that AWS or a proxy returns.
    let rows =
        table::rows().filter(|row| row.scope != "*").flat_map(|row| row.codes.split(' ').map(|code| (row.scope, code)));
    let unused: Vec<_> = rows.filter(|row| !used.contains(row)).collect();
    assert_eq!(unused, [("kms", "KeyUnavailableException"), ("kms", "TagException"), ("s3:HeadBucket", "BadRequest")]);
}

#[test]
fn a_code_has_one_row_in_a_scope() {
    let mut rows: Vec<_> = table::rows().flat_map(|row| row.codes.split(' ').map(|code| (row.scope, code))).collect();
    let all = rows.len();
    rows.sort_unstable();
    rows.dedup();
    assert_eq!(rows.len(), all);
    assert!(rows.iter().all(|(_, code)| !code.is_empty()));
}

#[test]
fn remedies_name_the_action_the_call_and_the_region() {
    for (call, code, part) in [
        ("kms:CreateKey", "AccessDeniedException", "allow `kms:CreateKey`"),
        ("s3:HeadBucket", "AccessDenied", "allow `s3:ListBucket`"),
        ("s3:GetBucketReplication", "AccessDenied", "allow `s3:GetReplicationConfiguration`"),
        ("s3:ListBuckets", "AccessDenied", "allow `s3:ListAllMyBuckets`"),
        ("sns:Publish", "AuthorizationError", "allow `sns:Publish`"),
        ("s3:GetBucketPolicy", "InvalidToken", "enable `eu-west-1`"),
        ("kms:CreateKey", "OptInRequired", "`kms:CreateKey` in `eu-west-1`"),
        ("kms:ListGrants", "Unlisted", "`kms:ListGrants`"),
    ] {
        let failure = refused(call, 400, code);
        assert!(remedy(&failure).contains(part), "{code}: {}", remedy(&failure));
    }
    let codes = Codes::read();
    for (call, code) in codes.of_calls() {
        let failure = refused(call, 400, code);
        assert!(!remedy(&failure).contains(['{', '}']), "{code}: {}", remedy(&failure));
    }
}

#[test]
fn a_403_without_a_code_is_a_denial() {
    for (call, action) in [("s3:GetBucketPolicy", "s3:GetBucketPolicy"), ("kms:PutKeyPolicy", "kms:PutKeyPolicy")] {
        let failure = operation(call).failure(AttemptError::Refused(403, ErrorMetadata::default()));
        assert!(is_denied(&failure) && failure.is("HTTP 403") && failure.class == Class::Terminal, "{failure:?}");
        assert!(
            remedy(&failure).starts_with(&format!("allow `{action}` for the role that runs trailseal")),
            "{failure:?}"
        );
        assert_eq!(failure.message, "cannot create a key in `eu-west-1`: HTTP 403: AWS returned no message");
    }
}

#[test]
fn the_same_code_can_have_another_remedy_in_another_service() {
    for (code, calls) in [
        ("UnsupportedOperationException", ["cloudtrail:UpdateTrail", "kms:EnableKeyRotation"]),
        ("LimitExceededException", ["kms:CreateKey", "kms:PutKeyPolicy"]),
        ("ValidationException", ["kms:CreateKey", "kms:PutKeyPolicy"]),
        ("InvalidParameterException", ["cloudtrail:UpdateTrail", "tag:GetResources"]),
    ] {
        let [one, other] = calls.map(|call| refused(call, 400, code));
        assert_ne!(one.remedy, other.remedy, "{code}");
    }
}

#[test]
fn a_failure_names_the_operation_the_code_and_the_cause() {
    let failure = refused_with(400, "TagException");
    assert_eq!(failure.message, "cannot create a key in `eu-west-1`: TagException: because");
    assert_eq!((failure.operation, failure.code.as_deref()), (Some("kms:CreateKey"), Some("TagException")));
}

#[test]
fn a_5xx_and_an_unreadable_success_leave_the_outcome_unknown() {
    let unreadable = operation("kms:CreateKey").failure(AttemptError::Refused(200, ErrorMetadata::default()));
    for failure in [refused_with(500, "KMSInternalException"), unreadable] {
        assert_eq!((failure.outcome_unknown, failure.class), (true, Class::Transient));
    }
    assert!(!refused_with(400, "ThrottlingException").outcome_unknown);
}

#[test]
fn an_unknown_code_has_the_class_of_its_status() {
    for (status, class) in [(400, Class::Terminal), (429, Class::Transient), (503, Class::Transient)] {
        assert_eq!(refused_with(status, "Unlisted").class, class, "{status}");
    }
}

#[test]
fn the_class_of_a_code_decides_whether_it_is_retried() {
    use Class::{Terminal, Transient};
    for (call, code, class, retried) in [
        ("cloudtrail:UpdateTrail", "ThrottlingException", Transient, true),
        ("cloudtrail:UpdateTrail", "ConflictException", Transient, true),
        ("cloudtrail:ListTags", "ResourceNotFoundException", Transient, true),
        ("kms:CreateKey", "KMSInternalException", Transient, true),
        ("kms:DescribeKey", "NotFoundException", Transient, false),
        ("kms:CreateKey", "LimitExceededException", Terminal, false),
        ("cloudtrail:UpdateTrail", "KmsException", Terminal, false),
        ("cloudtrail:UpdateTrail", "InvalidHomeRegionException", Terminal, false),
        ("s3:GetBucketPolicy", "OperationAborted", Transient, true),
        ("s3:GetBucketPolicy", "PermanentRedirect", Transient, false),
        ("s3:GetBucketPolicy", "AuthorizationHeaderMalformed", Transient, false),
        ("s3:GetBucketPolicy", "RequestTimeTooSkewed", Transient, false),
        ("s3:GetBucketPolicy", "InvalidToken", Terminal, false),
        ("s3:GetBucketPolicy", "AccessDenied", Terminal, false),
        ("sns:Publish", "KMSThrottling", Transient, true),
        ("sns:Publish", "Throttled", Transient, true),
        ("sns:Publish", "KMSDisabled", Terminal, false),
        ("tag:GetResources", "PaginationTokenExpiredException", Transient, false),
        ("kms:ListGrants", "ExpiredTokenException", Transient, false),
    ] {
        let failure = refused(call, 400, code);
        assert_eq!((failure.class, is_retryable(&failure)), (class, retried), "{call} {code}");
    }
}

#[test]
fn a_request_that_cannot_be_built_is_terminal_and_unsent() {
    let error: SdkError<DescribeKeyError, HttpResponse> = SdkError::construction_failure("no key");
    let failure = operation("kms:DescribeKey").failure(error.into());
    let message = "cannot create a key in `eu-west-1`: failed to construct request: no key";
    let expected = Failure { operation: Some("kms:DescribeKey"), remedy: None, ..Failure::terminal(message, "") };
    assert_eq!(failure, expected);
}

#[test]
fn a_request_without_a_response_may_have_taken_effect() {
    let error: SdkError<DescribeKeyError, HttpResponse> = SdkError::timeout_error("a cause that says no more");
    let failure = operation("kms:DescribeKey").failure(error.into());
    let expected = Failure {
        operation: Some("kms:DescribeKey"),
        remedy: Some(RETRIED.to_owned()),
        outcome_unknown: true,
        ..Failure::transient("cannot create a key in `eu-west-1`: no response in time")
    };
    assert_eq!(failure, expected);
}
