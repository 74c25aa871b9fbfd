//! The table: what AWS's error codes mean, and what to do about them.

use trailseal_core::failure::Class;

use Kind::{Denied, Later, Retried, Terminal, Throttled};

/// What an error code means for the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The request exceeded a rate and had no effect. It is retried.
    Throttled,
    /// A retry soon can succeed.
    Retried,
    /// The same request fails again if it is resent soon. A later run can succeed.
    Later,
    /// AWS denies access. A principal must allow the call first.
    Denied,
    /// A principal must change something else first.
    Terminal,
}

impl Kind {
    pub(super) fn class(self) -> Class {
        match self {
            Throttled | Retried | Later => Class::Transient,
            Denied | Terminal => Class::Terminal,
        }
    }
}

/// A row of the table.
#[derive(Debug)]
pub(super) struct Row {
    /// A call such as `kms:CreateKey`, a service such as `kms`, or `*`.
    pub(super) scope: &'static str,
    /// Error codes, separated by spaces.
    pub(super) codes: &'static str,
    pub(super) kind: Kind,
    /// What to do. `{action}` is the IAM action, `{call}` the call, and `{region}` the Region of the endpoint.
    pub(super) remedy: &'static str,
}

/// The row of a code that a call returned. The first that applies counts.
pub(super) fn row(call: &str, code: &str) -> Option<&'static Row> {
    // S3 returns a 403 without a code to HEAD requests, and so do proxies and VPC endpoints.
    let code = if code == "HTTP 403" { "AccessDenied" } else { code };
    let service = call.split(':').next().unwrap_or_default();
    TABLE.iter().find(|row| [call, service, "*"].contains(&row.scope) && row.codes.split(' ').any(|it| it == code))
}

/// Every row.
#[cfg(test)]
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    TABLE.iter()
}

impl Row {
    const fn of(scope: &'static str, codes: &'static str, kind: Kind, remedy: &'static str) -> Self {
        Self { scope, codes, kind, remedy }
    }
}

/// No row applies, and the HTTP status does not show an error of AWS.
pub(super) const UNLISTED: &str = "look up the error code in the API reference of `{call}`, and fix what the message names; if it persists, report it with the request ID to AWS Support";
pub(super) const RETRIED: &str = "no action needed; retried automatically; investigate if it persists";
const RETRIED_LATER: &str = "no action needed; the next run tries again; investigate if it persists";
/// The request itself is at fault.
const REQUEST_REFUSED: &str = "check that AWS supports `{call}` in `{region}`, and update trailseal: AWS does not accept the request that this version sends";
const FIX_ORGANIZATION: &str = "restore CloudTrail's access to the organization, and allow the role that runs trailseal `iam:GetRole` and `organizations:ListAWSServiceAccessForOrganization`";
const CHECK_CREDENTIALS: &str =
    "check that `{region}` is enabled for this account and that the role that runs trailseal exists";
const CHECK_SIGNATURE: &str = "check that no proxy between trailseal and AWS changes requests, and that trailseal gets the credentials of its role";

/// Sources: the errors of CloudTrail's UpdateTrail
/// (<https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_UpdateTrail.html>) and ListTags, of KMS's CreateKey
/// (<https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html>), PutKeyPolicy, CreateAlias and
/// EnableKeyRotation, of the tag index's GetResources
/// (<https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html>), of S3
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>), of SNS's Publish
/// (<https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>), and the common errors
/// (<https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html>). `codes.json` lists them, and a test requires a
/// row for each.
#[rustfmt::skip]
static TABLE: &[Row] = &[
    // CloudTrail
    Row::of("cloudtrail", "ConflictException", Retried,
     "no action needed; another principal is changing the trail, and the call is retried automatically; investigate if it persists"),
    // Right after CreateTrail, or after the trail was deleted: the next read shows which.
    Row::of("cloudtrail:ListTags", "ResourceNotFoundException", Retried,
     "no action needed; CloudTrail does not find the tags of a trail that it returned before, and the call is retried automatically; if it persists, check that the trail exists"),
    Row::of("cloudtrail", "InvalidTokenException", Later, RETRIED_LATER),
    Row::of("cloudtrail", "TrailNotFoundException", Terminal,
     "check that the trail exists, and find out which other principal is changing it"),
    Row::of("cloudtrail", "InvalidTrailNameException CloudTrailARNInvalidException", Terminal,
     "check the trail's name or ARN; only the account that owns a trail can change it"),
    Row::of("cloudtrail", "InvalidHomeRegionException", Terminal,
     "name the trail's home Region in the request: CloudTrail changes a trail only there, and the trail cannot be changed in `{region}`"),
    Row::of("cloudtrail", "NotOrganizationMasterAccountException", Terminal,
     "change the trail from the account that owns it: the organization's management account, or its delegated administrator for CloudTrail"),
    Row::of("cloudtrail", "OperationNotPermittedException", Terminal,
     "make the call from the account that owns the trail; if this account owns it, check which service or organization manages the trail"),
    Row::of("cloudtrail", "UnsupportedOperationException", Terminal,
     "check that CloudTrail supports `{call}` for this kind of trail in `{region}`"),
    Row::of("cloudtrail", "InsufficientEncryptionPolicyException", Terminal,
     "allow CloudTrail to use the key (`kms:GenerateDataKey*`, `kms:DescribeKey`) in the key policy, and to write in the bucket policy; CloudTrail does not report which of the two denies access"),
    Row::of("cloudtrail", "KmsKeyNotFoundException", Terminal,
     "check that the key exists in the bucket's Region; if the trail notifies an encrypted SNS topic, also check that topic's key"),
    Row::of("cloudtrail", "KmsException KmsKeyDisabledException", Terminal, "check the key's state: it must be enabled"),
    Row::of("cloudtrail", "InvalidKmsKeyIdException", Terminal, "check the key's ARN"),
    Row::of("cloudtrail", "InsufficientS3BucketPolicyException S3BucketDoesNotExistException InvalidS3BucketNameException \
      InvalidS3PrefixException", Terminal,
     "fix the trail's bucket first: it must exist and allow CloudTrail to write; until then this trail delivers no logs"),
    Row::of("cloudtrail", "InsufficientSnsTopicPolicyException InvalidSnsTopicNameException \
      CloudTrailInvalidClientTokenIdException", Terminal,
     "fix the SNS topic that the trail notifies, or remove it from the trail"),
    Row::of("cloudtrail", "InvalidCloudWatchLogsLogGroupArnException InvalidCloudWatchLogsRoleArnException", Terminal,
     "fix the trail's delivery to CloudWatch Logs, or remove it from the trail: the log group must exist, and the trail's role must trust `cloudtrail.amazonaws.com` and allow `logs:CreateLogStream` and `logs:PutLogEvents` for it"),
    Row::of("cloudtrail", "CloudWatchLogsDeliveryUnavailableException", Terminal,
     "remove the CloudWatch Logs log group from the trail: CloudTrail cannot deliver to CloudWatch Logs in `{region}`"),
    Row::of("cloudtrail", "InvalidEventSelectorsException", Terminal,
     "fix the trail's event selectors: CloudTrail validates them with each update (`aws cloudtrail get-event-selectors` shows them)"),
    Row::of("cloudtrail", "InvalidParameterCombinationException InvalidParameterException", Terminal,
     "fix the trail's other settings: CloudTrail validates all of them with each update, for example that a multi-Region trail includes global service events"),
    Row::of("cloudtrail", "NoManagementAccountSLRExistsException", Terminal,
     "create CloudTrail's service-linked role in the organization's management account: `aws iam create-service-linked-role --aws-service-name cloudtrail.amazonaws.com`"),
    Row::of("cloudtrail", "OrganizationsNotInUseException OrganizationNotInAllFeaturesModeException CloudTrailAccessNotEnabledException \
      InsufficientDependencyServiceAccessPermissionException", Terminal, FIX_ORGANIZATION),
    // Of requests that name no trail, or of other resources than trails.
    Row::of("cloudtrail", "TrailNotProvidedException ResourceTypeNotSupportedException EventDataStoreARNInvalidException \
      EventDataStoreNotFoundException InactiveEventDataStoreException ChannelARNInvalidException", Terminal, REQUEST_REFUSED),

    // KMS
    Row::of("kms", "KMSInternalException DependencyTimeoutException KeyUnavailableException", Retried, RETRIED),
    Row::of("kms", "NotFoundException", Later,
     "no action needed; a key that was just created is found later; if it persists, check that the key exists in `{region}`"),
    Row::of("kms", "InvalidMarkerException", Later, RETRIED_LATER),
    Row::of("kms:CreateAlias", "AlreadyExistsException", Later,
     "no action needed; another run created the alias, and the next run reads its key"),
    Row::of("kms:CreateAlias", "InvalidAliasNameException", Terminal,
     "check the stack parameter `KeyAlias` (`TRAILSEAL_KEY_ALIAS`)"),
    Row::of("kms:CreateAlias", "LimitExceededException", Terminal,
     "request a higher quota for KMS aliases in `{region}`, or delete unused aliases"),
    Row::of("kms:CreateKey", "LimitExceededException", Terminal,
     "for the key policy, name fewer log readers so that it fits the 32 KB that KMS accepts; otherwise request a higher quota for KMS keys in `{region}`, or remove unused keys"),
    Row::of("kms:PutKeyPolicy", "LimitExceededException", Terminal,
     "shorten the key policy to the 32 KB that KMS accepts"),
    Row::of("kms", "LimitExceededException", Terminal,
     "request a higher quota for what the message names in `{region}`, or remove unused keys"),
    Row::of("kms", "MalformedPolicyDocumentException", Terminal,
     "check that every role and account that the message names exists, and that `TRAILSEAL_ROLE_ARN` is the function's own role; KMS validates the whole policy, so first fix any statement that names a deleted principal (`AROA…`, `AIDA…`) or lacks an action or resource"),
    Row::of("kms:EnableKeyRotation", "DisabledException", Terminal, "enable the key: KMS rotates only enabled keys"),
    Row::of("kms:EnableKeyRotation", "UnsupportedOperationException", Terminal,
     "rotate this key by hand, or supply another: KMS rotates only symmetric keys with key material that KMS generated"),
    Row::of("kms", "KMSInvalidStateException", Terminal,
     "check the key's state, and find out which other principal is changing it: only its owner can fix a key that is unavailable or pending import"),
    Row::of("kms", "InvalidArnException", Terminal, "check the key's ARN and that the key is in this account"),
    Row::of("kms:CreateKey", "TagException ValidationException", Terminal,
     "check the stack parameters `KeyTags` (`TRAILSEAL_KEY_TAGS`), whose keys have at most 128 and values at most 256 characters, and `LogReaders` (`TRAILSEAL_LOG_READERS`)"),
    Row::of("kms", "TagException", Terminal, "check the stack parameter `KeyTags` (`TRAILSEAL_KEY_TAGS`)"),
    Row::of("kms", "UnsupportedOperationException", Terminal,
     "check that KMS supports `{call}` for this kind of key in `{region}`"),
    // Of keys in custom key stores, which trailseal does not create, and of grants by their ID.
    Row::of("kms", "CustomKeyStoreNotFoundException CustomKeyStoreInvalidStateException CloudHsmClusterInvalidConfigurationException \
      XksKeyInvalidConfigurationException XksKeyAlreadyInUseException XksKeyNotFoundException InvalidGrantIdException", Terminal,
     REQUEST_REFUSED),

    // S3
    Row::of("s3", "OperationAborted", Retried,
     "no action needed; another principal is changing the bucket, and the call is retried automatically; investigate if it persists"),
    // The bucket was deleted and created again elsewhere after its Region was read.
    Row::of("s3", "PermanentRedirect TemporaryRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException", Later,
     "no action needed; the bucket is no longer in `{region}`, and the next run reads its Region again; if it persists, check which Region the bucket is in, and that no proxy between trailseal and S3 changes requests"),
    Row::of("s3", "RequestTimeTooSkewed", Later,
     "no action needed; the next run signs the request again; if it persists, check the clock of the machine that makes the call"),
    Row::of("s3", "InvalidToken", Terminal,
     "enable `{region}` for this account (AWS Account Management, `aws account enable-region`), or give the trail a bucket in an enabled Region: S3 does not accept the account's credentials in a Region that is not enabled"),
    Row::of("s3", "InvalidAccessKeyId", Terminal, CHECK_CREDENTIALS),
    Row::of("s3", "SignatureDoesNotMatch InvalidRequest InvalidSecurity", Terminal, CHECK_SIGNATURE),
    // S3's response to an account that the bucket policy allows but that does not own the bucket.
    Row::of("s3", "MethodNotAllowed", Terminal,
     "ask the bucket's owner: S3 allows this call only to the account that owns the bucket"),
    Row::of("s3", "NoSuchBucket", Terminal, "give the trail an existing bucket; until then it delivers no logs"),
    Row::of("s3", "InvalidBucketName", Terminal, "give the trail an existing bucket: S3 does not accept its name"),
    // These two are results, not errors, of the only call that returns each.
    Row::of("s3:GetBucketPolicy", "NoSuchBucketPolicy", Terminal, "add a bucket policy that allows CloudTrail to write"),
    Row::of("s3:GetBucketReplication", "ReplicationConfigurationNotFoundError", Terminal,
     "no action needed; the bucket has no replication"),
    Row::of("s3", "AllAccessDisabled AccountProblem NotSignedUp", Terminal,
     "contact AWS Support from the account that owns the bucket: AWS restricts S3 for that account or bucket"),
    // A response to HEAD has no code; this one stands for its status.
    Row::of("s3:HeadBucket", "BadRequest", Terminal,
     "check that the role that runs trailseal exists and that no proxy between trailseal and S3 changes requests: S3 returns no message in a response to `{call}`"),

    // SNS. Its error codes lack the suffix of the SDK's types.
    Row::of("sns", "KMSThrottling", Throttled,
     "no action needed; KMS limits the rate at which the topic's key is used, and the call is retried automatically; investigate if it persists"),
    Row::of("sns", "KMSAccessDenied", Terminal,
     "set the stack parameter `TopicKeyArn` to the KMS key that encrypts the topic, and add the statements of the stack's output `TopicKeyStatement` to the policy of that key: the function's role needs `kms:GenerateDataKey*` and `kms:Decrypt`"),
    Row::of("sns", "KMSDisabled", Terminal,
     "enable the KMS key that encrypts the topic (`aws kms enable-key`), or encrypt the topic with another key; until then the topic accepts no alerts"),
    Row::of("sns", "KMSInvalidState", Terminal,
     "check the state of the KMS key that encrypts the topic: cancel its deletion, import its material, or reconnect its key store; or encrypt the topic with another key; until then the topic accepts no alerts"),
    Row::of("sns", "KMSNotFound", Terminal,
     "encrypt the topic with a KMS key that exists in `{region}`: its key was deleted, or is in another Region; until then the topic accepts no alerts"),
    Row::of("sns", "KMSOptInRequired", Terminal,
     "check the account that owns the KMS key that encrypts the topic: it has no access to KMS until its registration with AWS is complete; or encrypt the topic with another key"),
    Row::of("sns", "NotFound", Terminal,
     "check that the topic exists, and that the stack parameter `AlertTopicArn` (`TRAILSEAL_ALERT_TOPIC_ARN`) names it"),
    Row::of("sns", "InvalidParameter ParameterValueInvalid ValidationException", Terminal,
     "check that the stack parameter `AlertTopicArn` (`TRAILSEAL_ALERT_TOPIC_ARN`) names a standard topic in its own Region: a FIFO topic does not accept alerts"),
    Row::of("sns", "InvalidSecurity", Terminal, CHECK_SIGNATURE),
    // Of messages to one device.
    Row::of("sns", "EndpointDisabled PlatformApplicationDisabled", Terminal,
     "check that the stack parameter `AlertTopicArn` (`TRAILSEAL_ALERT_TOPIC_ARN`) names a topic, not a mobile endpoint"),

    // The tag index
    Row::of("tag", "InternalServiceException", Retried, RETRIED),
    Row::of("tag", "PaginationTokenExpiredException", Later, RETRIED_LATER),
    Row::of("tag", "InvalidParameterException", Terminal, REQUEST_REFUSED),

    // Every service
    Row::of("*", "Throttling ThrottlingException ThrottledException RequestThrottled RequestThrottledException \
      TooManyRequestsException RequestLimitExceeded SlowDown Throttled", Throttled,
     "no action needed; AWS limits the rate of this call, and it is retried automatically; investigate if it persists"),
    Row::of("*", "InternalFailure InternalError InternalServerError InternalServerException ServiceUnavailable \
      ServiceUnavailableException RequestTimeout RequestTimeoutException RequestAbortedException ConcurrentModificationException \
      ConflictException",
     Retried, RETRIED),
    Row::of("*", "ExpiredToken ExpiredTokenException TokenRefreshRequired RequestExpired RequestInTheFuture", Later,
     "no action needed; the next run has new credentials; if it persists, check the clock of the machine that makes the call"),
    Row::of("*", "AccessDeniedException AccessDenied AuthorizationError AuthorizationErrorException UnauthorizedOperation Forbidden \
      NotAuthorized NotAuthorizedException", Denied,
     "allow `{action}` for the role that runs trailseal; if its policy already allows it, check for a service control policy, a permissions boundary or a resource policy that denies it"),
    Row::of("*", "UnrecognizedClientException InvalidClientTokenId InvalidClientTokenIdException AuthFailure", Terminal,
     CHECK_CREDENTIALS),
    Row::of("*", "InvalidSignatureException IncompleteSignature IncompleteSignatureException MissingAuthenticationToken \
      MissingAuthenticationTokenException", Terminal, CHECK_SIGNATURE),
    Row::of("*", "OptInRequired SubscriptionRequiredException", Terminal,
     "complete the registration of this account with AWS, or ask AWS Support why the account has no access to the service of `{call}` in `{region}`"),
    Row::of("*", "ValidationException ValidationError SerializationException MalformedHttpRequestException RequestEntityTooLargeException \
      MalformedQueryString InvalidQueryParameter InvalidParameterValue InvalidParameterCombination MissingParameter \
      InvalidAction MissingAction UnknownOperationException UnknownOperation", Terminal, REQUEST_REFUSED),
];
