//! Results and errors, before and after they are encoded in a protocol.

use serde_json::{Value, json};

/// The result of an operation of a JSON protocol.
pub(crate) type Outcome = Result<Value, ApiError>;

/// An error that AWS returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
}

impl ApiError {
    /// An error with status 400, which most have. KMS and CloudTrail also return 400 for access denied,
    /// although CloudTrail's page on common errors says 403.
    pub(crate) fn new(code: &str, message: impl Into<String>) -> ApiError {
        ApiError::with_status(400, code, message)
    }

    pub(crate) fn with_status(status: u16, code: &str, message: impl Into<String>) -> ApiError {
        ApiError { status, code: code.to_owned(), message: message.into() }
    }
}

/// The errors whose text CloudTrail and the authorization layer send as `Message`, as recorded on AWS; others have `message`.
/// Source: <https://github.com/hashicorp/terraform-provider-aws/issues/1820>.
const CAPITALIZED: [&str; 4] = [
    "AccessDeniedException",
    "InsufficientS3BucketPolicyException",
    "InvalidCloudWatchLogsLogGroupArnException",
    "InvalidCloudWatchLogsRoleArnException",
];

/// The protocol of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// AWS JSON 1.1: CloudTrail, KMS, tagging.
    Json,
    /// REST with XML: S3.
    Rest {
        /// A response to HEAD has no body.
        head: bool,
    },
    /// Form in, XML out: SNS.
    Query,
}

/// An HTTP response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
    /// The error code, if it is an error; for the record.
    pub(crate) error: Option<String>,
}

impl Response {
    pub(crate) fn ok(content_type: &str, body: String) -> Response {
        Response { status: 200, headers: vec![("content-type", content_type.to_owned())], body, error: None }
    }

    pub(crate) fn json(body: &Value) -> Response {
        Response::ok("application/x-amz-json-1.1", body.to_string())
    }

    /// An error in a protocol's encoding.
    pub(crate) fn error(error: &ApiError, protocol: Protocol) -> Response {
        let ApiError { status, code, message } = error;
        let (content_type, body) = match protocol {
            Protocol::Json => {
                let field = if CAPITALIZED.contains(&code.as_str()) { "Message" } else { "message" };
                ("application/x-amz-json-1.1", json!({"__type": code, field: message}).to_string())
            }
            Protocol::Rest { head: true } => ("application/xml", String::new()),
            Protocol::Rest { head: false } => (
                "application/xml",
                format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>{}</Message><RequestId>fake</RequestId></Error>",
                    escaped(code),
                    escaped(message)
                ),
            ),
            Protocol::Query => (
                "text/xml",
                format!(
                    "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>Sender</Type><Code>{}</Code><Message>{}</Message></Error><RequestId>fake</RequestId></ErrorResponse>",
                    escaped(code),
                    escaped(message)
                ),
            ),
        };
        Response {
            status: *status,
            headers: vec![("content-type", content_type.to_owned())],
            body,
            error: Some(code.clone()),
        }
    }
}

/// Text with XML's special characters escaped.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The page of `all` that starts at `token`, and the next page's token.
pub(crate) fn page<T>(all: Vec<T>, token: Option<&str>, size: usize) -> Option<(Vec<T>, Option<String>)> {
    let start = match token {
        None | Some("") => 0,
        Some(token) => token.strip_prefix("page-")?.parse::<usize>().ok()?,
    };
    let size = size.max(1);
    let next = (start + size < all.len()).then(|| format!("page-{}", start + size));
    Some((all.into_iter().skip(start).take(size).collect(), next))
}
