//! Responses from AWS that are empty, incomplete, malformed or unexpected.

use std::time::Duration;

use fake_aws::{Fault, Key, KeyState, Trail, World};
use serde_json::{Value, json};

use crate::support::{
    AUDIT, Scenario, account, add_sealing_key, count_calls, event, sealed_account, sealing_policy, step, writes,
};

fn raw(body: &Value) -> Fault {
    Fault::Raw { status: 200, body: body.to_string() }
}

#[test]
fn an_empty_response_does_not_continue_the_run() {
    for (operation, body) in [("ListTags", "{}"), ("GetTrail", "{}"), ("DescribeKey", "{}"), ("GetTrail", "<html>")] {
        let mut scenario = Scenario::enforce(account());
        scenario.aws.before(move |call, _| {
            (call.operation == operation).then(|| Fault::Raw { status: 200, body: body.to_owned() })
        });
        let invocation = scenario
            .function
            .invoke_within(event("update-trail-by-name").to_string().as_bytes(), Duration::from_secs(5));
        match invocation.outcome {
            Ok(answer) => assert_eq!(answer["summary"], json!({ "failed": 1 }), "{operation} {body}: {answer:#}"),
            Err(error) => assert_eq!(error.error_type, "Transient", "{operation} {body}"),
        }
        assert_eq!(scenario.audit().kms_key_id, None);
        assert!(scenario.aws.world().keys.is_empty());
    }
}

/// The complete response of AWS to a call about the trail `audit` and this key.
fn complete(operation: &str, key: &str) -> Value {
    match operation {
        "GetTrail" => json!({ "Trail": {
            "Name": "audit", "S3BucketName": "audit-logs", "IncludeGlobalServiceEvents": true, "IsMultiRegionTrail": true,
            "HomeRegion": "eu-west-1", "TrailARN": AUDIT, "LogFileValidationEnabled": true, "HasCustomEventSelectors": false,
            "HasInsightSelectors": false, "IsOrganizationTrail": false } }),
        "UpdateTrail" => json!({
            "Name": "audit", "S3BucketName": "audit-logs", "IncludeGlobalServiceEvents": true, "IsMultiRegionTrail": true,
            "TrailARN": AUDIT, "LogFileValidationEnabled": true, "IsOrganizationTrail": false, "KmsKeyId": key }),
        "GetTrailStatus" => json!({ "IsLogging": true, "StartLoggingTime": 1_780_000_000 }),
        "ListTags" => json!({ "ResourceTagList": [{
            "ResourceId": AUDIT, "TagsList": [{ "Key": "team", "Value": "security" }] }] }),
        "DescribeKey" => json!({ "KeyMetadata": {
            "KeyId": key, "Arn": key, "CreationDate": 1_780_000_000, "KeyManager": "CUSTOMER", "KeySpec": "SYMMETRIC_DEFAULT",
            "KeyUsage": "ENCRYPT_DECRYPT", "KeyState": "Enabled", "Origin": "AWS_KMS", "MultiRegion": false } }),
        "ListResourceTags" => json!({
            "Tags": [{ "TagKey": "managed-by", "TagValue": "trailseal" }], "Truncated": false }),
        "ListAliases" => json!({
            "Aliases": [{ "AliasName": "alias/other", "AliasArn": "arn:aws:kms:eu-central-1:123456789012:alias/other" }],
            "Truncated": false }),
        "ListGrants" => json!({ "Grants": [], "Truncated": false }),
        "GetResources" => {
            json!({ "ResourceTagMappingList": [{ "ResourceARN": key, "Tags": [] }], "PaginationToken": "" })
        }
        other => panic!("{other}"),
    }
}

/// The response without this field.
fn without(operation: &str, key: &str, field: &str) -> Value {
    let mut response = complete(operation, key);
    let (parent, name) = field.rsplit_once('/').unwrap();
    match response.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.remove(name).unwrap()),
        Value::Array(entries) => drop(entries.remove(name.parse().unwrap())),
        other => panic!("{other}"),
    }
    response
}

/// The answer if every call of an operation gets this response, and the writes.
fn answer_with(world: &World, operation: &'static str, response: Fault) -> (Value, Vec<String>) {
    let mut scenario = Scenario::enforce(world.clone());
    scenario.aws.before(move |call, _| (call.operation == operation).then(|| response.clone()));
    let answer = scenario.invoke_event("update-trail-by-name");
    (answer, writes(&scenario.aws.calls()))
}

/// The answer to this response: the trail failed with a message that names the call and the field, and nothing was written.
fn assert_unreadable(world: &World, operation: &'static str, response: Fault, field: &str) {
    let (answer, writes) = answer_with(world, operation, response);
    assert_eq!(answer["summary"], json!({ "failed": 1 }), "{operation} without {field}: {answer:#}");
    let error = &answer["trails"][0]["error"];
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(&format!("{operation} returned no ")) && message.contains(field), "{message}");
    assert_eq!((&error["class"], writes), (&json!("terminal"), vec!["sns:Publish".to_owned()]), "{operation} {field}");
}

#[test]
fn a_response_without_a_field_is_unreadable() {
    let mut aliased = account();
    let key = add_sealing_key(&mut aliased, "eu-central-1");
    for (operation, fields) in [
        (
            "GetTrail",
            &[
                "/Trail",
                "/Trail/TrailARN",
                "/Trail/S3BucketName",
                "/Trail/IsMultiRegionTrail",
                "/Trail/LogFileValidationEnabled",
                "/Trail/IsOrganizationTrail",
            ][..],
        ),
        ("GetTrailStatus", &["/IsLogging"]),
        ("ListTags", &["/ResourceTagList", "/ResourceTagList/0/TagsList", "/ResourceTagList/0/TagsList/0/Key"]),
        (
            "DescribeKey",
            &[
                "/KeyMetadata",
                "/KeyMetadata/Arn",
                "/KeyMetadata/KeyManager",
                "/KeyMetadata/KeySpec",
                "/KeyMetadata/KeyUsage",
                "/KeyMetadata/KeyState",
                "/KeyMetadata/Origin",
                "/KeyMetadata/MultiRegion",
            ],
        ),
    ] {
        let (answer, _) = answer_with(&aliased, operation, raw(&complete(operation, &key)));
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{operation}: {answer:#}");
        for field in fields {
            let name = field.rsplit('/').next().unwrap();
            assert_unreadable(&aliased, operation, raw(&without(operation, &key, field)), &format!("`{name}`"));
        }
    }
    for field in ["/ResourceTagList/0", "/ResourceTagList/0/ResourceId"] {
        assert_unreadable(&aliased, "ListTags", raw(&without("ListTags", &key, field)), "tags of this trail");
    }
}

#[test]
fn an_unreadable_search_creates_and_adopts_no_key() {
    let mut unaliased = account();
    let key =
        unaliased.key(Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal").created(1));
    for (operation, field) in [
        ("GetResources", "/ResourceTagMappingList"),
        ("GetResources", "/ResourceTagMappingList/0/ResourceARN"),
        ("ListAliases", "/Aliases"),
        ("ListAliases", "/Aliases/0/AliasName"),
        ("ListGrants", "/Grants"),
    ] {
        let name = field.rsplit('/').next().unwrap();
        assert_unreadable(&unaliased, operation, raw(&without(operation, &key, field)), &format!("`{name}`"));
    }
    for operation in ["ListAliases", "ListGrants"] {
        let mut truncated = complete(operation, &key);
        truncated["Truncated"] = json!(true);
        assert_unreadable(&unaliased, operation, raw(&truncated), "`NextMarker`");
    }
}

#[test]
fn a_key_whose_tags_are_unreadable_is_not_restored() {
    let (mut world, key) = sealed_account();
    world.keys.get_mut(&key).unwrap().state = KeyState::Disabled;
    for field in ["/Tags", "/Tags/0/TagKey"] {
        let name = field.rsplit('/').next().unwrap();
        let response = raw(&without("ListResourceTags", &key, field));
        assert_unreadable(&world, "ListResourceTags", response, &format!("`{name}`"));
    }
    let truncated = json!({ "Tags": [], "Truncated": true });
    assert_unreadable(&world, "ListResourceTags", raw(&truncated), "`NextMarker`");
}

#[test]
fn an_unreadable_bucket_response_prevents_sealing() {
    let mut world = account();
    add_sealing_key(&mut world, "eu-central-1");
    let body = |body: &str| Fault::Raw { status: 200, body: body.to_owned() };
    let destination = "<ReplicationConfiguration><Rule><Status>Enabled</Status></Rule></ReplicationConfiguration>";
    for (operation, response, field) in [
        ("HeadBucket", body(""), "`x-amz-bucket-region`"),
        ("GetBucketPolicy", body(""), "`Policy`"),
        ("GetBucketReplication", body(""), "`ReplicationConfiguration`"),
        ("GetBucketReplication", body("<ReplicationConfiguration/>"), "`Rule`"),
        ("GetBucketReplication", body(destination), "`Destination`"),
    ] {
        assert_unreadable(&world, operation, response, field);
    }
}

#[test]
fn a_key_policy_that_is_not_returned_is_unreadable() {
    let (world, _) = sealed_account();
    let (answer, writes) = answer_with(&world, "GetKeyPolicy", raw(&json!({ "PolicyName": "default" })));
    assert_eq!((answer["summary"].clone(), writes.is_empty()), (json!({ "compliant": 1 }), true), "{answer:#}");
    let warning = &answer["trails"][0]["warnings"][0];
    assert_eq!(warning["id"], "key-unreadable");
    assert!(warning["detail"].as_str().unwrap().contains("kms:GetKeyPolicy returned no `Policy`"), "{warning:#}");
}

#[test]
fn an_update_with_an_incomplete_response_is_read_back() {
    for field in ["/TrailARN", "/KmsKeyId", "/S3BucketName"] {
        let mut world = account();
        let key = add_sealing_key(&mut world, "eu-central-1");
        let response = raw(&without("UpdateTrail", &key, field));
        let mut scenario = Scenario::enforce(world.clone());
        let lost = response.clone();
        scenario.aws.after(move |call, _| (call.operation == "UpdateTrail").then(|| lost.clone()));
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{field}: {answer:#}");
        assert!(step(&answer, "update-trail")["detail"].as_str().unwrap().contains("read back"), "{answer:#}");
        assert_eq!(count_calls(&scenario, "UpdateTrail"), 1);
        // Without an effect, the same response is no success.
        let (answer, _) = answer_with(&world, "UpdateTrail", response);
        assert_eq!(answer["summary"], json!({ "failed": 1 }), "{field}: {answer:#}");
    }
}

#[test]
fn an_update_that_returns_another_key_is_a_failure() {
    let mut world = account();
    let key = add_sealing_key(&mut world, "eu-central-1");
    let other = world.key(Key::new("eu-central-1"));
    let mut scenario = Scenario::enforce(world);
    let response = raw(&complete("UpdateTrail", &other));
    scenario.aws.after(move |call, _| (call.operation == "UpdateTrail").then(|| response.clone()));
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }), "{answer:#}");
    let message = format!("CloudTrail accepted key `{key}` for trail `{AUDIT}`, but returned key `{other}`");
    assert_eq!(step(&answer, "update-trail")["detail"], json!(message));
    assert_eq!(answer["trails"][0]["error"]["message"], json!(message));
    assert_eq!(count_calls(&scenario, "UpdateTrail"), 1);
}

#[test]
fn an_incomplete_list_of_trails_hides_no_trail() {
    let entry = |field: &str| {
        let mut entry = json!({ "TrailARN": AUDIT, "Name": "audit", "HomeRegion": "eu-west-1" });
        match field {
            "HomeRegion" => entry["HomeRegion"] = json!("Ireland"),
            field => drop(entry.as_object_mut().unwrap().remove(field)),
        }
        entry
    };
    for (field, expected) in [("TrailARN", "returned no `TrailARN`"), ("HomeRegion", "malformed `HomeRegion`")] {
        let mut scenario = Scenario::enforce(sealed_account().0);
        let list = raw(&json!({ "Trails": [entry(field)] }));
        scenario.aws.before(move |call, _| (call.operation == "ListTrails").then(|| list.clone()));
        let answer = scenario.invoke(&json!({ "sweep": {} }));
        assert_eq!(answer["summary"], json!({ "failed": 1 }), "{answer:#}");
        assert!(answer["trails"][0]["error"]["message"].as_str().unwrap().contains(expected), "{answer:#}");
    }
    // An incomplete entry of the second list is read by its ARN.
    let mut scenario = Scenario::enforce(sealed_account().0);
    let list = raw(&json!({ "trailList": [{ "Name": "audit", "TrailARN": AUDIT, "HomeRegion": "eu-west-1" }] }));
    scenario.aws.before(move |call, _| (call.operation == "DescribeTrails").then(|| list.clone()));
    let answer = scenario.invoke(&json!({ "sweep": {} }));
    assert_eq!((&answer["summary"], count_calls(&scenario, "GetTrail") > 0), (&json!({ "compliant": 1 }), true));
}

#[test]
fn an_alert_without_a_message_id_is_not_sent() {
    let mut scenario = Scenario::enforce(account());
    let body = "<PublishResponse><PublishResult/></PublishResponse>".to_owned();
    scenario
        .aws
        .after(move |call, _| (call.operation == "Publish").then(|| Fault::Raw { status: 200, body: body.clone() }));
    assert_eq!(scenario.invoke_event("update-trail-by-name")["alerts"], json!({ "sent": 0, "failed": 1 }));
}

#[test]
fn an_unknown_key_state_changes_no_trail() {
    let mut world = account();
    let key = add_sealing_key(&mut world, "eu-central-1");
    let unknown = move |call: &fake_aws::Call, _: &mut World| {
        let metadata = json!({ "KeyMetadata": {
            "KeyId": key, "Arn": key, "KeyManager": "CUSTOMER", "KeySpec": "SYMMETRIC_DEFAULT",
            "KeyUsage": "ENCRYPT_DECRYPT", "Origin": "AWS_KMS", "MultiRegion": false, "KeyState": "Rotating" } });
        (call.operation == "DescribeKey").then(|| Fault::Raw { status: 200, body: metadata.to_string() })
    };
    let mut encrypted = world.clone();
    let own = encrypted.alias_target("eu-central-1", "alias/trailseal").unwrap().to_owned();
    encrypted.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&own));
    let mut scenario = Scenario::enforce(encrypted);
    scenario.aws.before(unknown.clone());
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "compliant": 1 }));
    assert_eq!(answer["trails"][0]["warnings"][0]["id"], "key-unreadable");

    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(unknown);
    assert_eq!(scenario.invoke_event("update-trail-by-name")["summary"], json!({ "failed": 1 }));
    assert_eq!(scenario.audit().kms_key_id, None);
}
