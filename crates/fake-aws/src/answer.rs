//! Answers and refusals, before and after they are put into a protocol.

use serde_json::{Value, json};

/// What an operation of a JSON protocol comes to.
pub(crate) type Outcome = Result<Value, Refusal>;

/// An error as AWS names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Refusal {
    /// A refusal with the status that nearly all have. (KMS and CloudTrail answer 400 to access
    /// denied as well, though CloudTrail's page on common errors says 403.)
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Refusal {
        Refusal::with_status(400, code, message)
    }

    pub(crate) fn with_status(status: u16, code: &str, message: impl Into<String>) -> Refusal {
        Refusal { status, code: code.to_owned(), message: message.into() }
    }
}

/// Which of AWS's protocols a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// AWS JSON 1.1: CloudTrail, KMS, tagging.
    Json,
    /// REST with XML: S3.
    Rest {
        /// An answer to HEAD has no body.
        head: bool,
    },
    /// Form in, XML out: SNS.
    Query,
}

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
    /// The error's code, if it is one; for the record.
    pub(crate) error: Option<String>,
}

impl Reply {
    pub(crate) fn ok(content_type: &str, body: String) -> Reply {
        Reply { status: 200, headers: vec![("content-type", content_type.to_owned())], body, error: None }
    }

    pub(crate) fn json(body: &Value) -> Reply {
        Reply::ok("application/x-amz-json-1.1", body.to_string())
    }

    /// The refusal in the words of a protocol.
    pub(crate) fn refusal(refusal: &Refusal, protocol: Protocol) -> Reply {
        let Refusal { status, code, message } = refusal;
        let (content_type, body) = match protocol {
            Protocol::Json => ("application/x-amz-json-1.1", json!({"__type": code, "message": message}).to_string()),
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
        Reply {
            status: *status,
            headers: vec![("content-type", content_type.to_owned())],
            body,
            error: Some(code.clone()),
        }
    }
}

/// Text for XML.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A page of `all` that begins at `token`, and the next page's token.
pub(crate) fn page<T>(all: Vec<T>, token: Option<&str>, size: usize) -> Option<(Vec<T>, Option<String>)> {
    let start = match token {
        None | Some("") => 0,
        Some(token) => token.strip_prefix("page-")?.parse::<usize>().ok()?,
    };
    let size = size.max(1);
    let next = (start + size < all.len()).then(|| format!("page-{}", start + size));
    Some((all.into_iter().skip(start).take(size).collect(), next))
}
