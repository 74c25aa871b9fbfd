//! STS: GetCallerIdentity, which needs no permission.
//! Source: <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>.

use crate::World;
use crate::response::{Protocol, Response};
use crate::server::unknown_operation;

pub(crate) fn perform(world: &World, operation: &str) -> Response {
    if operation != "GetCallerIdentity" {
        return Response::error(&unknown_operation(operation), Protocol::Query);
    }
    let (account, caller) = (&world.account, &world.caller_role_arn);
    Response::ok(
        "text/xml",
        format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult><Arn>{caller}</Arn><UserId>AROAEXAMPLE:session</UserId><Account>{account}</Account></GetCallerIdentityResult><ResponseMetadata><RequestId>fake</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
        ),
    )
}
