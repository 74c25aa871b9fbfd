//! From AWS's error codes to what they mean for us: one table.

use std::error::Error;

use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::RequestId;
use aws_smithy_types::error::ErrorMetadata;
use trailseal_core::observation::{Class, Failure};

use super::Until;
use super::retry::{LastRefusal, Refusal};

/// A call that is about to be made, as messages name it.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    /// Such as `kms:CreateKey`.
    operation: &'static str,
    /// Such as "create a key in `eu-west-1`".
    what: String,
    /// What the retries were about.
    pub(super) last: LastRefusal,
}

/// What codes mean: whether trying again can help, and what to do about it.
struct Meaning {
    codes: &'static [&'static str],
    class: Class,
    remedy: &'static str,
}

const fn transient(codes: &'static [&'static str], remedy: &'static str) -> Meaning {
    Meaning { codes, class: Class::Transient, remedy }
}

const fn terminal(codes: &'static [&'static str], remedy: &'static str) -> Meaning {
    Meaning { codes, class: Class::Terminal, remedy }
}

const THROTTLED: &[&str] = &[
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "SlowDown",
    "Throttled",
];

/// Whether AWS refused it for its rate, and time did not run out over that.
pub(super) fn is_throttled(failure: &Failure) -> bool {
    !failure.left_open && THROTTLED.iter().any(|code| failure.is(code))
}

const ASK_LATER: &str = "nothing, unless it stays so: it is tried again";

/// Sources: the errors of CloudTrail's UpdateTrail
/// (<https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_UpdateTrail.html>), of KMS's CreateKey
/// (<https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html>) and PutKeyPolicy
/// (<https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html>), of the tag index's GetResources
/// (<https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html>), of S3
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>), of SNS's Publish, and the common ones.
const MEANINGS: &[Meaning] = &[
    transient(THROTTLED, "nothing, unless it stays so: AWS limits how often this may be called, and it is tried again"),
    transient(
        &["ConflictException"],
        "nothing, unless it stays so: somebody else is changing the trail, and it is tried again",
    ),
    transient(
        &[
            "KMSInternalException",
            "DependencyTimeoutException",
            "KeyUnavailableException",
            "InternalFailure",
            "InternalError",
            "InternalServerError",
            "InternalServerException",
            "InternalServiceException",
            "PaginationTokenExpiredException",
            "ServiceUnavailable",
            "ServiceUnavailableException",
            "RequestTimeout",
            "RequestTimeoutException",
            "RequestExpired",
            "ExpiredToken",
            "ExpiredTokenException",
            "ConcurrentModificationException",
        ],
        ASK_LATER,
    ),
    // Of a key that was there a moment ago: KMS is eventually consistent.
    transient(&["NotFoundException"], ASK_LATER),
    terminal(
        &["UnrecognizedClientException", "InvalidClientTokenId", "InvalidClientTokenIdException", "AuthFailure"],
        "look whether the Region is enabled for this account, and whether the function's role still exists",
    ),
    terminal(
        &["InsufficientEncryptionPolicyException"],
        "let CloudTrail in: by the key's policy (`kms:GenerateDataKey*`, `kms:DescribeKey`) and by the bucket's; CloudTrail does not tell which of the two refuses",
    ),
    terminal(
        &["KmsKeyNotFoundException"],
        "look whether the key exists in the bucket's Region, and, if the trail notifies an encrypted SNS topic, whether that topic's key does",
    ),
    terminal(&["KmsException", "KmsKeyDisabledException"], "look at the key's state: it must be enabled"),
    terminal(&["InvalidKmsKeyIdException"], "look at the key's ARN"),
    terminal(
        &[
            "InsufficientS3BucketPolicyException",
            "S3BucketDoesNotExistException",
            "InvalidS3BucketNameException",
            "InvalidS3PrefixException",
        ],
        "mend the trail's bucket first: it must exist and let CloudTrail write; until then this trail delivers nothing",
    ),
    terminal(
        &[
            "InsufficientSnsTopicPolicyException",
            "InvalidSnsTopicNameException",
            "CloudTrailInvalidClientTokenIdException",
        ],
        "mend the SNS topic that the trail notifies, or take it out of the trail",
    ),
    terminal(
        &[
            "InvalidCloudWatchLogsLogGroupArnException",
            "InvalidCloudWatchLogsRoleArnException",
            "CloudWatchLogsDeliveryUnavailableException",
        ],
        "mend the CloudWatch Logs group or role that the trail delivers to, or take it out of the trail",
    ),
    terminal(
        &["NotOrganizationMasterAccountException", "CloudTrailARNInvalidException"],
        "change the trail from the account that owns it",
    ),
    terminal(
        &[
            "OrganizationsNotInUseException",
            "OrganizationNotInAllFeaturesModeException",
            "CloudTrailAccessNotEnabledException",
            "NoManagementAccountSLRExistsException",
            "InsufficientDependencyServiceAccessPermissionException",
        ],
        "give CloudTrail its access to the organization back, and the function's role `iam:GetRole` and `organizations:ListAWSServiceAccessForOrganization`",
    ),
    terminal(
        &["MalformedPolicyDocumentException"],
        "look whether every role and account that the message names exists, and whether `TRAILSEAL_ROLE_ARN` is the function's own role; KMS takes a policy as a whole, so a statement that names a deleted principal (`AROA…`, `AIDA…`), or lacks its action or resource, must be mended first, whoever wrote it",
    ),
    terminal(
        &["LimitExceededException"],
        "for a key's policy, shorten it to the 32 KB that KMS takes; else ask AWS for a higher quota of what the message names, or remove keys that nobody uses",
    ),
    terminal(
        &["KMSInvalidStateException"],
        "look at the key's state, and at who else is changing it: a key that is unavailable, or waits for its material, is its owner's to mend",
    ),
    terminal(&["InvalidArnException"], "look at the key's ARN, and whether the key is in this account"),
    terminal(
        &["InvalidParameterException"],
        "look whether the service knows what the message names in this Region and partition",
    ),
    // S3 says so to an account that the bucket's policy lets in, but that does not own the bucket.
    terminal(&["MethodNotAllowed"], "ask the bucket's owner: S3 tells this to the account that owns the bucket only"),
    terminal(&["TagException"], "look at `TRAILSEAL_KEY_TAGS`"),
    terminal(&["TrailNotFoundException"], "look whether the trail still exists, and who else changes it"),
    terminal(&["NoSuchBucket"], "give the trail a bucket that exists; until then it delivers nothing"),
    terminal(&["NotFound"], "look whether it still exists, and whether the configuration names it right"),
];

const DENIED: &[&str] = &[
    "AccessDeniedException",
    "AccessDenied",
    "AuthorizationError",
    "AuthorizationErrorException",
    "UnauthorizedOperation",
    "Forbidden",
];

/// Whether AWS refused to let us do this.
pub(super) fn is_denied(failure: &Failure) -> bool {
    failure.code.as_deref().is_some_and(|code| DENIED.contains(&code))
}

impl Attempt {
    pub(super) fn new(operation: &'static str, what: impl Into<String>) -> Self {
        Self { operation, what: what.into(), last: LastRefusal::default() }
    }

    /// The IAM action that allows the operation.
    fn permission(&self) -> &'static str {
        match self.operation {
            "s3:HeadBucket" => "s3:ListBucket",
            "s3:GetBucketReplication" => "s3:GetReplicationConfiguration",
            operation => operation,
        }
    }

    /// The failure of this attempt, as AWS or the way there reported it.
    pub(super) fn failure<E>(&self, error: &SdkError<E, HttpResponse>) -> Failure
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            SdkError::ServiceError(refusal) => self.refused(refusal.raw().status().as_u16(), refusal.err().meta()),
            SdkError::ConstructionFailure(_) => self.report(Class::Terminal, None, &causes(error), None, false),
            SdkError::TimeoutError(_) => self.report(Class::Transient, None, "no answer in time", None, true),
            _ => self.report(Class::Transient, None, &causes(error), None, true),
        }
    }

    fn refused(&self, status: u16, refusal: &ErrorMetadata) -> Failure {
        let code = refusal.code().map_or_else(|| format!("HTTP {status}"), str::to_owned);
        let message = refusal.message().unwrap_or("AWS gives no reason");
        self.answered(status, code, message, refusal.request_id().map(str::to_owned))
    }

    /// The failure of an attempt that AWS answered.
    pub(super) fn answered(&self, status: u16, code: String, message: &str, request_id: Option<String>) -> Failure {
        let known = MEANINGS.iter().find(|meaning| meaning.codes.contains(&code.as_str()));
        let class = known
            .map_or(if no_answer(status) || status == 429 { Class::Transient } else { Class::Terminal }, |meaning| {
                meaning.class
            });
        let mut failure = self.report(class, Some(code), message, request_id, no_answer(status));
        failure.remedy = Some(match known {
            _ if is_denied(&failure) => format!(
                "allow `{}` to the function's role; if its policy does, look for a service control policy, a permissions boundary or a resource policy that denies it",
                self.permission()
            ),
            Some(meaning) => meaning.remedy.into(),
            None if class == Class::Transient => ASK_LATER.into(),
            None => "mend what the message names".into(),
        });
        failure
    }

    /// The failure of an attempt for which time ran out. Whatever was being tried
    /// again until then is its cause, and passes.
    pub(super) fn out_of_time(&self, Until { whose, .. }: Until) -> Failure {
        match self.last.get() {
            None => self.report(Class::Transient, None, &format!("{whose} ran out"), None, true),
            Some(Refusal { code, message, request_id }) => {
                let cause = format!("{message} (tried again until {whose} ran out)");
                self.report(Class::Transient, Some(code), &cause, request_id, true)
            }
        }
    }

    /// The failure of an attempt for which time ran out while it waited for its turn.
    pub(super) fn not_sent(&self, Until { whose, .. }: Until) -> Failure {
        let cause = format!("{whose} ran out before it was its turn");
        Failure { not_sent: true, ..self.report(Class::Transient, None, &cause, None, false) }
    }

    /// The failure of an attempt whose answer cannot be worked with.
    pub(super) fn unusable_answer(&self, why: &str) -> Failure {
        let remedy = Some("look whether something stands between the function and AWS; else tell AWS Support".into());
        Failure { remedy, ..self.report(Class::Terminal, None, why, None, false) }
    }

    fn report(
        &self,
        class: Class,
        code: Option<String>,
        cause: &str,
        request_id: Option<String>,
        left_open: bool,
    ) -> Failure {
        Failure {
            class,
            operation: Some(self.operation),
            message: match &code {
                Some(code) => format!("cannot {}: {code}: {cause}", self.what),
                None => format!("cannot {}: {cause}", self.what),
            },
            code,
            request_id,
            remedy: (class == Class::Transient).then(|| ASK_LATER.into()),
            left_open,
            not_sent: false,
        }
    }
}

/// Whether that status leaves it open what became of the call: the service failed, or something between it
/// and us answered in its name.
fn no_answer(status: u16) -> bool {
    !(400..500).contains(&status)
}

/// An error and its causes, joined by colons.
fn causes(error: &dyn Error) -> String {
    let mut words = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push(error.to_string());
        cause = error.source();
    }
    words.dedup();
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, code: &str) -> Failure {
        Attempt::new("kms:CreateKey", "create a key in `eu-west-1`").answered(status, code.into(), "because", None)
    }

    #[test]
    fn a_denial_names_the_action_to_allow() {
        let failure = answered(400, "AccessDeniedException");
        assert_eq!(failure.class, Class::Terminal);
        assert!(failure.remedy.as_deref().unwrap().starts_with("allow `kms:CreateKey`"));
        assert!(is_denied(&failure));
    }

    #[test]
    fn a_denied_read_of_a_bucket_names_s3s_own_action() {
        for (operation, action) in
            [("s3:HeadBucket", "s3:ListBucket"), ("s3:GetBucketReplication", "s3:GetReplicationConfiguration")]
        {
            let failure = Attempt::new(operation, "read").answered(403, "AccessDenied".into(), "because", None);
            assert!(failure.remedy.as_deref().unwrap().starts_with(&format!("allow `{action}`")), "{operation}");
        }
    }

    #[test]
    fn a_failure_says_what_was_tried_on_what_and_what_came_of_it() {
        assert_eq!(answered(400, "TagException").message, "cannot create a key in `eu-west-1`: TagException: because");
    }

    #[test]
    fn throttling_conflicts_and_server_errors_pass_and_a_policy_that_is_too_long_does_not() {
        for (status, code) in [
            (400, "ThrottlingException"),
            (400, "ConflictException"),
            (400, "PaginationTokenExpiredException"),
            (500, "KMSInternalException"),
            (503, "Unheard"),
            (429, "Unheard"),
        ] {
            assert_eq!(answered(status, code).class, Class::Transient, "{code}");
        }
        for (status, code) in
            [(400, "LimitExceededException"), (400, "InsufficientEncryptionPolicyException"), (400, "Unheard")]
        {
            assert_eq!(answered(status, code).class, Class::Terminal, "{code}");
        }
    }

    #[test]
    fn a_server_error_and_a_success_that_nobody_can_read_leave_it_open_whether_the_call_took_effect() {
        assert!(answered(500, "KMSInternalException").left_open);
        let odd = answered(200, "HTTP 200");
        assert_eq!((odd.left_open, odd.class), (true, Class::Transient));
        assert!(!answered(400, "ThrottlingException").left_open);
    }

    #[test]
    fn every_code_has_one_meaning() {
        let mut codes: Vec<&str> = MEANINGS.iter().flat_map(|meaning| meaning.codes).chain(DENIED).copied().collect();
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }
}
