//! What AWS's error codes mean: one table of classes and remedies. Also the errors of an attempt, the failures that an
//! operation reports, and the parsing of responses, which can fail in the same ways.

use std::error::Error;
use std::str::FromStr;

use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::RequestId;
use aws_smithy_types::error::ErrorMetadata;
use trailseal_core::failure::Class::{self, Terminal, Transient};
use trailseal_core::failure::Failure;
use trailseal_core::ids::Malformed;
use trailseal_core::observation::Reading;

use super::operation::{Deadline, Operation};

/// Why an attempt failed, without the SDK's types of each operation.
#[derive(Debug)]
pub(super) enum AttemptError {
    /// AWS responded with this HTTP status and error.
    Refused(u16, ErrorMetadata),
    /// The SDK could not build the request.
    NotBuilt(String),
    /// No response, or an unreadable one.
    NoResponse(String),
}

impl<E> From<SdkError<E, HttpResponse>> for AttemptError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        match &error {
            SdkError::ServiceError(refusal) => {
                Self::Refused(refusal.raw().status().as_u16(), refusal.err().meta().clone())
            }
            SdkError::ConstructionFailure(_) => Self::NotBuilt(causes(&error)),
            SdkError::TimeoutError(_) => Self::NoResponse("no response in time".into()),
            _ => Self::NoResponse(causes(&error)),
        }
    }
}

/// Codes separated by spaces, their class, and what to do. A code without a row is classified by its HTTP status.
type Row = (&'static str, Class, &'static str);

/// The request exceeded a rate and had no effect.
const THROTTLED: &str = "Throttling ThrottlingException ThrottledException RequestThrottled RequestThrottledException \
    TooManyRequestsException RequestLimitExceeded SlowDown Throttled";

/// Transient, but the same request fails again if it is resent soon: a key that was not found (KMS is eventually
/// consistent), and expired tokens. A later invocation can succeed.
const TRANSIENT_NOT_RETRIED: &str =
    "NotFoundException PaginationTokenExpiredException RequestExpired ExpiredToken ExpiredTokenException";

/// Terminal. The remedy names the IAM action.
const DENIED: &str = "AccessDeniedException AccessDenied AuthorizationError AuthorizationErrorException \
    UnauthorizedOperation Forbidden";

const RETRIED: &str = "no action needed; retried automatically; investigate if it persists";

/// Sources: the errors of CloudTrail's UpdateTrail
/// (<https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_UpdateTrail.html>), of KMS's CreateKey
/// (<https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html>) and PutKeyPolicy
/// (<https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html>), of the tag index's GetResources
/// (<https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html>), of S3
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>), of SNS's Publish, and the common ones.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    (THROTTLED, Transient,
     "no action needed; AWS limits the rate of this call, and it is retried automatically; investigate if it persists"),
    ("ConflictException", Transient,
     "no action needed; another principal is changing the trail, and the call is retried automatically; investigate if it persists"),
    ("KMSInternalException DependencyTimeoutException KeyUnavailableException InternalFailure \
      InternalError InternalServerError InternalServerException InternalServiceException \
      ServiceUnavailable ServiceUnavailableException RequestTimeout RequestTimeoutException \
      ConcurrentModificationException", Transient, RETRIED),
    (TRANSIENT_NOT_RETRIED, Transient, RETRIED),
    ("UnrecognizedClientException InvalidClientTokenId InvalidClientTokenIdException AuthFailure", Terminal,
     "check that the Region is enabled for this account and that the function's role exists"),
    ("InsufficientEncryptionPolicyException", Terminal,
     "allow CloudTrail to use the key (`kms:GenerateDataKey*`, `kms:DescribeKey`) in the key policy, and to write in the bucket policy; CloudTrail does not report which of the two denies access"),
    ("KmsKeyNotFoundException", Terminal,
     "check that the key exists in the bucket's Region; if the trail notifies an encrypted SNS topic, also check that topic's key"),
    ("KmsException KmsKeyDisabledException", Terminal, "check the key's state: it must be enabled"),
    ("InvalidKmsKeyIdException", Terminal, "check the key's ARN"),
    ("InsufficientS3BucketPolicyException S3BucketDoesNotExistException InvalidS3BucketNameException \
      InvalidS3PrefixException", Terminal,
     "fix the trail's bucket first: it must exist and allow CloudTrail to write; until then this trail delivers no logs"),
    ("InsufficientSnsTopicPolicyException InvalidSnsTopicNameException \
      CloudTrailInvalidClientTokenIdException", Terminal,
     "fix the SNS topic that the trail notifies, or remove it from the trail"),
    ("InvalidCloudWatchLogsLogGroupArnException InvalidCloudWatchLogsRoleArnException \
      CloudWatchLogsDeliveryUnavailableException", Terminal,
     "fix the CloudWatch Logs log group or role that the trail delivers to, or remove it from the trail"),
    ("NotOrganizationMasterAccountException CloudTrailARNInvalidException", Terminal,
     "change the trail from the account that owns it"),
    ("OrganizationsNotInUseException OrganizationNotInAllFeaturesModeException \
      CloudTrailAccessNotEnabledException NoManagementAccountSLRExistsException \
      InsufficientDependencyServiceAccessPermissionException", Terminal,
     "restore CloudTrail's access to the organization, and allow the function's role `iam:GetRole` and `organizations:ListAWSServiceAccessForOrganization`"),
    ("MalformedPolicyDocumentException", Terminal,
     "check that every role and account that the message names exists, and that `TRAILSEAL_ROLE_ARN` is the function's own role; KMS validates the whole policy, so first fix any statement that names a deleted principal (`AROA…`, `AIDA…`) or lacks an action or resource"),
    ("LimitExceededException", Terminal,
     "for a key policy, shorten it to the 32 KB that KMS accepts; otherwise request a higher quota for what the message names, or remove unused keys"),
    ("KMSInvalidStateException", Terminal,
     "check the key's state, and find out which other principal is changing it: only its owner can fix a key that is unavailable or pending import"),
    ("InvalidArnException", Terminal, "check the key's ARN and that the key is in this account"),
    ("InvalidParameterException", Terminal,
     "check that the service supports what the message names in this Region and partition"),
    // S3's response to an account that the bucket policy allows but that does not own the bucket.
    ("MethodNotAllowed", Terminal,
     "ask the bucket's owner: S3 allows this call only to the account that owns the bucket"),
    ("TagException", Terminal, "check the stack parameter `KeyTags` (`TRAILSEAL_KEY_TAGS`)"),
    ("TrailNotFoundException", Terminal, "check that the trail exists, and find out which other principal is changing it"),
    ("NoSuchBucket", Terminal, "give the trail an existing bucket; until then it delivers no logs"),
    ("NotFound", Terminal, "check that the resource exists and that the configuration names it correctly"),
];

/// Whether AWS refused the call for its rate, so that it had no effect.
pub(super) fn is_throttled(failure: &Failure) -> bool {
    !failure.outcome_unknown && has_code(failure, THROTTLED)
}

/// Whether AWS denied access.
pub(super) fn is_denied(failure: &Failure) -> bool {
    has_code(failure, DENIED)
}

/// Whether the same request can succeed soon.
pub(super) fn is_retryable(failure: &Failure) -> bool {
    failure.class == Transient && !has_code(failure, TRANSIENT_NOT_RETRIED)
}

/// Whether AWS returned one of these codes, which are separated by spaces.
pub(super) fn has_code(failure: &Failure, codes: &str) -> bool {
    failure.code.as_deref().is_some_and(|code| contains(codes, code))
}

fn contains(codes: &str, code: &str) -> bool {
    codes.split(' ').any(|known| known == code)
}

/// A read in which the code `absent` means that the resource does not exist.
pub(super) fn reading<T>(response: Result<T, Failure>, absent: &str) -> Result<Reading<T>, Failure> {
    match response {
        Ok(value) => Ok(Reading::Known(value)),
        Err(failure) if failure.is(absent) => Ok(Reading::Absent),
        Err(failure) if is_denied(&failure) || failure.is("MethodNotAllowed") => Ok(Reading::Denied(failure)),
        Err(failure) => Err(failure),
    }
}

impl Operation {
    /// The IAM action that allows the operation.
    fn permission(&self) -> &'static str {
        match self.name {
            "s3:HeadBucket" => "s3:ListBucket",
            "s3:GetBucketReplication" => "s3:GetReplicationConfiguration",
            name => name,
        }
    }

    /// The failure of one attempt.
    pub(super) fn failure(&self, error: AttemptError) -> Failure {
        match error {
            AttemptError::Refused(status, error) => self.refused(status, &error),
            AttemptError::NotBuilt(cause) => self.malformed_request(&cause),
            AttemptError::NoResponse(cause) => self.no_response(&cause),
        }
    }

    fn refused(&self, status: u16, error: &ErrorMetadata) -> Failure {
        let code = error.code().map_or_else(|| format!("HTTP {status}"), str::to_owned);
        let row = TABLE.iter().find(|(codes, ..)| contains(codes, &code));
        // A 5xx, or a response that is not AWS's own, does not show whether the call had an effect.
        let outcome_unknown = !(400..500).contains(&status);
        let (class, remedy) = match row {
            _ if contains(DENIED, &code) => (
                Terminal,
                format!(
                    "allow `{}` for the function's role; if its policy already allows it, check for a service control policy, a permissions boundary or a resource policy that denies it",
                    self.permission()
                ),
            ),
            Some((_, class, remedy)) => (*class, (*remedy).to_owned()),
            None if outcome_unknown || status == 429 => (Transient, RETRIED.to_owned()),
            None => (Terminal, "fix what the message names".to_owned()),
        };
        Failure {
            class,
            operation: Some(self.name),
            message: self.message(&format!("{code}: {}", error.message().unwrap_or("AWS gives no reason"))),
            code: Some(code),
            request_id: error.request_id().map(str::to_owned),
            remedy: Some(remedy),
            outcome_unknown,
            not_sent: false,
        }
    }

    /// The failure of a request that could not be built.
    pub(super) fn malformed_request(&self, cause: &str) -> Failure {
        Failure { operation: Some(self.name), remedy: None, ..Failure::terminal(self.message(cause), "") }
    }

    /// The failure of an attempt without a readable response.
    pub(super) fn no_response(&self, cause: &str) -> Failure {
        Failure { outcome_unknown: true, ..self.transient(cause) }
    }

    /// The failure of a call that the deadline ended before the first attempt.
    pub(super) fn not_sent(&self, deadline: Deadline) -> Failure {
        Failure { not_sent: true, ..self.transient(&format!("{} ran out before it was sent", deadline.name)) }
    }

    /// The failure of a call whose response cannot be used. A retry does not help: AWS does not send such responses.
    pub(super) fn malformed_response(&self, cause: &str) -> Failure {
        let remedy =
            "check that no proxy between the function and AWS changes responses; otherwise contact AWS Support";
        Failure { operation: Some(self.name), ..Failure::terminal(self.message(cause), remedy) }
    }

    /// A field that AWS always sends. Without it, the response is unreadable, not a default.
    pub(super) fn require<T>(&self, field: Option<T>, name: &str) -> Result<T, Failure> {
        field.ok_or_else(|| self.malformed_response(&format!("{} returned no `{name}`", self.name)))
    }

    /// A name or ARN that AWS always sends.
    pub(super) fn parse<T: FromStr<Err = Malformed>>(&self, text: Option<String>, name: &str) -> Result<T, Failure> {
        let parsed = self.require(text, name)?.parse();
        parsed.map_err(|malformed| {
            self.malformed_response(&format!("{} returned a malformed `{name}`: {malformed}", self.name))
        })
    }

    fn transient(&self, cause: &str) -> Failure {
        let failure = Failure::transient(self.message(cause));
        Failure { operation: Some(self.name), remedy: Some(RETRIED.to_owned()), ..failure }
    }

    fn message(&self, cause: &str) -> String {
        format!("cannot {}: {cause}", self.description)
    }
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

    #[test]
    fn a_denial_names_the_action_to_allow() {
        for (operation, action) in [
            ("kms:CreateKey", "kms:CreateKey"),
            ("s3:HeadBucket", "s3:ListBucket"),
            ("s3:GetBucketReplication", "s3:GetReplicationConfiguration"),
        ] {
            for code in DENIED.split(' ') {
                let failure = refused(operation, 403, code);
                assert_eq!((failure.class, is_denied(&failure)), (Terminal, true));
                assert!(failure.remedy.as_deref().unwrap().starts_with(&format!("allow `{action}`")), "{operation}");
            }
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
            assert_eq!((failure.outcome_unknown, failure.class), (true, Transient));
        }
        assert!(!refused_with(400, "ThrottlingException").outcome_unknown);
    }

    #[test]
    fn an_unknown_code_has_the_class_of_its_status() {
        for (status, class) in [(400, Terminal), (429, Transient), (503, Transient)] {
            assert_eq!(refused_with(status, "Unlisted").class, class, "{status}");
        }
    }

    fn listed() -> impl Iterator<Item = &'static str> {
        TABLE.iter().map(|(codes, ..)| *codes).chain([DENIED]).flat_map(|codes| codes.split(' '))
    }

    #[test]
    fn every_code_is_in_one_row() {
        let mut codes: Vec<&str> = listed().collect();
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }

    #[test]
    fn throttling_and_conflicts_are_retryable_and_quotas_are_not() {
        for code in THROTTLED.split(' ').chain(["ConflictException", "KMSInternalException"]) {
            assert!(is_retryable(&refused_with(400, code)), "{code}");
        }
        for code in TRANSIENT_NOT_RETRIED.split(' ').chain(["LimitExceededException", "KmsException", "AccessDenied"]) {
            assert!(!is_retryable(&refused_with(400, code)), "{code}");
        }
    }

    /// The errors of the service models, without the errors that none of trailseal's requests can return.
    #[test]
    fn every_modeled_code_has_a_class_and_a_remedy() {
        const TRANSIENT: &[&str] = &[
            "ConflictException",
            "DependencyTimeoutException",
            "InternalError",
            "InternalServiceException",
            "KMSInternalException",
            "NotFoundException",
            "PaginationTokenExpiredException",
            "ThrottledException",
            "ThrottlingException",
        ];
        const TERMINAL: &[&str] = &[
            "AlreadyExistsException",
            "AuthorizationError",
            "CloudHsmClusterInvalidConfigurationException",
            "CloudTrailARNInvalidException",
            "CloudTrailAccessNotEnabledException",
            "CloudTrailInvalidClientTokenIdException",
            "CloudWatchLogsDeliveryUnavailableException",
            "CustomKeyStoreInvalidStateException",
            "CustomKeyStoreNotFoundException",
            "DisabledException",
            "EndpointDisabled",
            "InsufficientDependencyServiceAccessPermissionException",
            "InsufficientEncryptionPolicyException",
            "InsufficientS3BucketPolicyException",
            "InsufficientSnsTopicPolicyException",
            "InvalidAliasNameException",
            "InvalidArnException",
            "InvalidCloudWatchLogsLogGroupArnException",
            "InvalidCloudWatchLogsRoleArnException",
            "InvalidEventSelectorsException",
            "InvalidHomeRegionException",
            "InvalidKmsKeyIdException",
            "InvalidMarkerException",
            "InvalidParameter",
            "InvalidParameterCombinationException",
            "InvalidParameterException",
            "InvalidS3BucketNameException",
            "InvalidS3PrefixException",
            "InvalidSecurity",
            "InvalidSnsTopicNameException",
            "InvalidTokenException",
            "InvalidTrailNameException",
            "KMSAccessDenied",
            "KMSDisabled",
            "KMSInvalidState",
            "KMSInvalidStateException",
            "KMSNotFound",
            "KMSOptInRequired",
            "KMSThrottling",
            "KmsException",
            "KmsKeyDisabledException",
            "KmsKeyNotFoundException",
            "LimitExceededException",
            "MalformedPolicyDocumentException",
            "NoManagementAccountSLRExistsException",
            "NoSuchBucket",
            "NotFound",
            "NotOrganizationMasterAccountException",
            "OperationNotPermittedException",
            "OrganizationNotInAllFeaturesModeException",
            "OrganizationsNotInUseException",
            "ParameterValueInvalid",
            "PlatformApplicationDisabled",
            "ResourceNotFoundException",
            "ResourceTypeNotSupportedException",
            "S3BucketDoesNotExistException",
            "TagException",
            "TrailNotFoundException",
            "TrailNotProvidedException",
            "UnsupportedOperationException",
            "ValidationException",
        ];
        for (codes, class) in [(TRANSIENT, Transient), (TERMINAL, Terminal)] {
            for code in codes {
                let failure = refused_with(400, code);
                assert_eq!((failure.class, failure.remedy.is_some()), (class, true), "{code}");
            }
        }
    }
}
