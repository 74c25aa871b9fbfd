//! What EventBridge hands over: calls of the API, as CloudTrail records them.

use serde_json::{Value, json};

use crate::scene::{ACCOUNT, REGION, TRAIL};

/// The event of a call that somebody made in the console, in the function's Region. `number` makes its ids.
pub fn api_call(account: &str, service: &str, name: &str, number: u64, parameters: &Value, answer: &Value) -> Value {
    json!({
        "version": "0",
        "id": format!("6f87d04b-9f74-4f04-a780-{number:012x}"),
        "detail-type": "AWS API Call via CloudTrail",
        "source": format!("aws.{service}"),
        "account": account,
        "time": "2026-11-20T10:23:00Z",
        "region": REGION,
        "resources": [],
        "detail": {
            "eventVersion": "1.11",
            "userIdentity": {
                "type": "AssumedRole",
                "principalId": "AROAEXAMPLEID:alice",
                "arn": format!("arn:aws:sts::{account}:assumed-role/admin/alice"),
                "accountId": account,
                "accessKeyId": "ASIAIOSFODNN7EXAMPLE",
                "sessionContext": {
                    "sessionIssuer": {
                        "type": "Role",
                        "principalId": "AROAEXAMPLEID",
                        "arn": format!("arn:aws:iam::{account}:role/admin"),
                        "accountId": account,
                        "userName": "admin"
                    },
                    "attributes": { "creationDate": "2026-11-20T10:00:00Z", "mfaAuthenticated": "true" }
                }
            },
            "eventTime": "2026-11-20T10:22:58Z",
            "eventSource": format!("{service}.amazonaws.com"),
            "eventName": name,
            "awsRegion": REGION,
            "sourceIPAddress": "198.51.100.7",
            "userAgent": "AWS Internal",
            "requestParameters": parameters,
            "responseElements": answer,
            "requestID": format!("c9a0bd2c-8e5a-4d5b-8f0a-{number:012x}"),
            "eventID": format!("0d2f1b0e-7c1f-4e7f-9a53-{number:012x}"),
            "readOnly": false,
            "eventType": "AwsApiCall",
            "managementEvent": true,
            "recipientAccountId": account,
            "eventCategory": "Management",
            "sessionCredentialFromConsole": "true"
        }
    })
}

/// Somebody changed the trail in the console, which sends an empty key along.
pub fn update_event() -> Value {
    let arn = format!("arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/{TRAIL}");
    let parameters = json!({ "name": arn, "kmsKeyId": "", "snsTopicName": "" });
    api_call(ACCOUNT, "cloudtrail", "UpdateTrail", 1, &parameters, &settings(&arn, "audit-logs"))
}

/// What CloudTrail answers about a trail without a key.
pub fn settings(arn: &str, bucket: &str) -> Value {
    json!({
        "name": arn.rsplit('/').next(),
        "s3BucketName": bucket,
        "includeGlobalServiceEvents": true,
        "isMultiRegionTrail": true,
        "trailARN": arn,
        "logFileValidationEnabled": true,
        "isOrganizationTrail": false
    })
}
