//! The key policy that trailseal writes: its statements, which of them another key policy lacks, that policy with them
//! added, and what to report about it.
//!
//! What a policy allows belongs in [`crate::access`], the policy language in [`crate::iam`].

mod coverage;
mod equal;
mod extend;
mod review;
mod templates;

pub use equal::policies_equal;
pub use extend::{Extension, MAX_BYTES};
pub use review::{KeyAdministrator, UnrevokedReader};
pub use templates::{KeyPolicy, KeyPolicyStatement, PolicyInputs};
