//! A small stateful AWS on 127.0.0.1 for tests, benchmarks and fault injection.
//!
//! It knows the parts of CloudTrail, KMS, S3, SNS, STS and the Resource Groups Tagging API that matter
//! to a trail's encryption, with the rules that general emulators lack: `UpdateTrail` validates the
//! key, its Region, its state and its policy; `PutKeyPolicy` validates principals and runs the lockout
//! check; trails have home Regions; new resources are eventually consistent. With the caller's IAM
//! policies, it authorizes every call by them and by the policies of keys and buckets, see
//! [`World::caller_policies`] and [`FakeAws::authorizations`].
//!
//! ```
//! use fake_aws::{FakeAws, Trail, World};
//!
//! let world = World::new("123456789012")
//!     .bucket("logs-bucket", "eu-central-1")
//!     .trail(Trail::new("audit", "eu-west-1", "logs-bucket"));
//! let aws = FakeAws::start(world);
//! // point the SDK to aws.url(), by `AWS_ENDPOINT_URL` or `endpoint_url`
//! assert!(aws.calls().is_empty());
//! ```
//!
//! It is independent: it uses none of the code under test.

mod authorization;
mod call;
mod cloudtrail;
mod glob;
mod handle;
mod kms;
pub mod lambda;
mod limits;
mod names;
pub mod policy;
mod request;
mod response;
mod s3;
mod server;
mod sns;
mod sts;
mod tagging;
mod tls;
mod world;

pub use authorization::{Authorization, Decision, IdentityPolicy, ResourcePolicy, Statement};
pub use call::{Call, Fault, rounds};
pub use handle::FakeAws;
pub use world::{AliasEntry, Bucket, ConsistencyDelays, Key, KeyManager, KeyState, Published, Topic, Trail, World};
