//! The event that EventBridge delivers for an API call recorded by CloudTrail.

use serde_json::{Value, json};

use crate::fixture::{ACCOUNT, REGION, TRAIL};

/// An `UpdateTrail` call from the console, which sends an empty key along.
pub fn update_event() -> Value {
    let arn = format!("arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/{TRAIL}");
    json!({
        "version": "0",
        "id": "6f87d04b-9f74-4f04-a780-000000000001",
        "detail-type": "AWS API Call via CloudTrail",
        "source": "aws.cloudtrail",
        "account": ACCOUNT,
        "time": "2026-11-20T10:23:00Z",
        "region": REGION,
        "resources": [],
        "detail": {
            "eventVersion": "1.11",
            "userIdentity": {
                "type": "AssumedRole",
                "principalId": "AROAEXAMPLEID:alice",
                "arn": format!("arn:aws:sts::{ACCOUNT}:assumed-role/admin/alice"),
                "accountId": ACCOUNT,
                "accessKeyId": "ASIAIOSFODNN7EXAMPLE",
                "sessionContext": {
                    "sessionIssuer": {
                        "type": "Role",
                        "principalId": "AROAEXAMPLEID",
                        "arn": format!("arn:aws:iam::{ACCOUNT}:role/admin"),
                        "accountId": ACCOUNT,
                        "userName": "admin"
                    },
                    "attributes": { "creationDate": "2026-11-20T10:00:00Z", "mfaAuthenticated": "true" }
                }
            },
            "eventTime": "2026-11-20T10:22:58Z",
            "eventSource": "cloudtrail.amazonaws.com",
            "eventName": "UpdateTrail",
            "awsRegion": REGION,
            "sourceIPAddress": "198.51.100.7",
            "userAgent": "AWS Internal",
            "requestParameters": { "name": arn, "kmsKeyId": "", "snsTopicName": "" },
            "responseElements": {
                "name": TRAIL,
                "s3BucketName": "audit-logs",
                "includeGlobalServiceEvents": true,
                "isMultiRegionTrail": true,
                "trailARN": arn,
                "logFileValidationEnabled": true,
                "isOrganizationTrail": false
            },
            "requestID": "c9a0bd2c-8e5a-4d5b-8f0a-000000000001",
            "eventID": "0d2f1b0e-7c1f-4e7f-9a53-000000000001",
            "readOnly": false,
            "eventType": "AwsApiCall",
            "managementEvent": true,
            "recipientAccountId": ACCOUNT,
            "eventCategory": "Management",
            "sessionCredentialFromConsole": "true"
        }
    })
}
