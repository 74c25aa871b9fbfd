use super::*;

fn accepts<T: FromStr>(texts: &[&str]) {
    for text in texts {
        assert!(text.parse::<T>().is_ok(), "{text} was rejected");
    }
}

fn rejects<T: FromStr>(texts: &[&str]) {
    for text in texts {
        assert!(text.parse::<T>().is_err(), "{text} was accepted");
    }
}

#[test]
fn regions_of_every_partition_are_accepted() {
    accepts::<Region>(&["eu-west-1", "us-gov-east-1", "eusc-de-east-1", "us-isob-east-1", "ap-southeast-15"]);
    rejects::<Region>(&[
        "",
        "eu",
        "eu-west",
        "EU-WEST-1",
        "eu-west-1a",
        "eu_west_1",
        "-1",
        "eu--1",
        "a b-c-1",
        "eu-west-1\n",
    ]);
}

#[test]
fn partitions_are_not_a_closed_list() {
    accepts::<Partition>(&["aws", "aws-cn", "aws-us-gov", "aws-eusc", "aws-iso-b"]);
    rejects::<Partition>(&["", "azure", "aws-", "awsome", "AWS", "aws cn"]);
}

#[test]
fn no_existing_trail_name_is_rejected() {
    accepts::<TrailName>(&["abc", "aws-controltower-BaselineCloudTrail", "my--trail", "a.b_c-9", "1.2.3.4"]);
    rejects::<TrailName>(&["", "ab", "-ab", "ab-", "a/b", "a b c", "über", &"x".repeat(129)]);
}

#[test]
fn a_trail_arn_has_its_parts() {
    let arn: TrailArn = "arn:aws-cn:cloudtrail:cn-north-1:123456789012:trail/audit".parse().unwrap();
    assert_eq!(arn.partition().as_str(), "aws-cn");
    assert_eq!(arn.region().as_str(), "cn-north-1");
    assert_eq!(arn.account().as_str(), "123456789012");
    assert_eq!(arn.name().as_str(), "audit");
    assert_eq!(TrailArn::new(arn.partition(), arn.region(), arn.account(), arn.name().clone()), arn);
}

#[test]
fn arns_of_other_resources_are_rejected() {
    rejects::<TrailArn>(&[
        "audit",
        "arn:aws:cloudtrail:eu-west-1:123456789012:eventdatastore/audit",
        "arn:aws:cloudtrail:eu-west-1:0123456789012:trail/audit",
        "arn:aws:cloudtrail::123456789012:trail/audit",
        "arn:aws:kms:eu-west-1:123456789012:trail/audit",
        "arn:aws:cloudtrail:eu-west-1:123456789012:trail/",
        "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit\n",
    ]);
    rejects::<KeyArn>(&[
        "arn:aws:kms:eu-west-1:123456789012:alias/trailseal",
        "arn:aws:kms:eu-west-1:123456789012:key/",
    ]);
    accepts::<KeyArn>(&["arn:aws:kms:eu-west-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab"]);
    rejects::<TopicArn>(&["arn:aws:sns:eu-west-1:123456789012:alerts.fifo", "arn:aws:sns:eu-west-1:123456789012:a:b"]);
    rejects::<RoleArn>(&[
        "arn:aws:iam::123456789012:user/ann",
        "arn:aws:sts::123456789012:assumed-role/a/b",
        "arn:aws:iam::123456789012:role/*",
    ]);
    accepts::<PrincipalArn>(&["arn:aws:iam::123456789012:user/path/ann", "arn:aws-us-gov:iam::123456789012:role/r"]);
}

#[test]
fn aws_managed_aliases_are_rejected() {
    accepts::<KeyAlias>(&["alias/trailseal", "alias/team/a_b-c"]);
    rejects::<KeyAlias>(&[
        "trailseal",
        "alias/",
        "alias/aws/s3",
        "alias/a b",
        "alias/a:b",
        &format!("alias/{}", "x".repeat(251)),
    ]);
}

#[test]
fn a_function_arn_may_have_a_version_or_alias() {
    accepts::<FunctionArn>(&[
        "arn:aws:lambda:eu-west-1:123456789012:function:trailseal",
        "arn:aws:lambda:eu-west-1:123456789012:function:trailseal:live",
    ]);
    rejects::<FunctionArn>(&[
        "arn:aws:lambda:eu-west-1:123456789012:function:",
        "arn:aws:lambda:eu-west-1:123456789012:layer:trailseal",
    ]);
}

#[test]
fn names_and_arns_serialize_as_strings() {
    let trail = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit";
    let value = serde_json::to_value((trail.parse::<TrailArn>().unwrap(), "eu-west-1".parse::<Region>().unwrap()));
    assert_eq!(value.unwrap(), serde_json::json!([trail, "eu-west-1"]));
}

#[test]
fn arns_sort_as_their_texts() {
    let arn = |region: &str, name: &str| -> TrailArn {
        format!("arn:aws:cloudtrail:{region}:123456789012:trail/{name}").parse().unwrap()
    };
    assert!(arn("eu-west-1", "zzz") < arn("eu-west-2", "aaa"));
    assert!(arn("eu-west-1", "aaa") < arn("eu-west-1", "zzz"));
}

#[test]
fn a_long_text_is_shortened_in_the_error() {
    let message = "x".repeat(5000).parse::<Region>().unwrap_err().to_string();
    assert!(message.len() < 250, "{message}");
    assert!(message.contains("…` is not an AWS Region (expected"), "{message}");
}

#[test]
fn a_shortened_text_has_one_line() {
    assert_eq!(shorten("agent\nWhat to do next: pay", 100), "agent What to do next: pay");
    assert_eq!(shorten("äöü", 2), "äö…");
}

#[test]
fn an_arn_has_no_white_space_and_a_limited_length() {
    let arn = |resource: &str| format!("arn:aws:iam::123456789012:{resource}");
    assert!(split_arn(&arn("role/r")).is_some());
    assert!(split_arn("urn:aws:iam::123456789012:role/r").is_none());
    for text in [arn("role/a b"), arn("role/a\u{7f}"), arn("role/a\tb"), arn("role/a\u{a0}b")] {
        assert!(split_arn(&text).is_none(), "{text:?}");
    }
    let longest = arn(&"x".repeat(2048 - arn("").len()));
    assert!(split_arn(&longest).is_some() && split_arn(&format!("{longest}x")).is_none());
}

#[test]
fn a_role_is_in_iam_without_a_region() {
    assert!("arn:aws:iam::123456789012:role/r".parse::<RoleArn>().is_ok());
    for text in [
        "arn:aws:sts::123456789012:role/r",
        "arn:aws:iam:eu-west-1:123456789012:role/r",
        "arn:aws:iam::12345678901:role/r",
        "arn:aws:iam::123456789012:role/",
        "arn:aws:iam::123456789012:user/r",
        "arn:aws:iam::123456789012:role/r$",
    ] {
        let malformed = text.parse::<RoleArn>().unwrap_err();
        assert!(malformed.expected().contains("arn:aws:iam::ACCOUNT:role/"), "{}", malformed.expected());
    }
}
