use super::*;

fn accepts<T: FromStr>(texts: &[&str]) {
    for text in texts {
        assert!(text.parse::<T>().is_ok(), "{text} was refused");
    }
}

fn refuses<T: FromStr>(texts: &[&str]) {
    for text in texts {
        assert!(text.parse::<T>().is_err(), "{text} was accepted");
    }
}

#[test]
fn regions_of_every_partition_are_accepted_and_nonsense_is_not() {
    accepts::<Region>(&["eu-west-1", "us-gov-east-1", "eusc-de-east-1", "us-isob-east-1", "ap-southeast-15"]);
    refuses::<Region>(&[
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
    refuses::<Partition>(&["", "azure", "aws-", "awsome", "AWS", "aws cn"]);
}

#[test]
fn trail_names_follow_cloudtrail_but_never_refuse_one_that_may_exist() {
    accepts::<TrailName>(&["abc", "aws-controltower-BaselineCloudTrail", "my--trail", "a.b_c-9", "1.2.3.4"]);
    refuses::<TrailName>(&["", "ab", "-ab", "ab-", "a/b", "a b c", "über", &"x".repeat(129)]);
}

#[test]
fn a_trail_arn_gives_its_parts_back() {
    let arn: TrailArn = "arn:aws-cn:cloudtrail:cn-north-1:123456789012:trail/audit".parse().unwrap();
    assert_eq!(arn.partition().as_str(), "aws-cn");
    assert_eq!(arn.region().as_str(), "cn-north-1");
    assert_eq!(arn.account().as_str(), "123456789012");
    assert_eq!(arn.name().as_str(), "audit");
    assert_eq!(TrailArn::new(arn.partition(), arn.region(), arn.account(), arn.name()), arn);
}

#[test]
fn arns_of_other_things_are_refused() {
    refuses::<TrailArn>(&[
        "audit",
        "arn:aws:cloudtrail:eu-west-1:123456789012:eventdatastore/audit",
        "arn:aws:cloudtrail:eu-west-1:0123456789012:trail/audit",
        "arn:aws:cloudtrail::123456789012:trail/audit",
        "arn:aws:kms:eu-west-1:123456789012:trail/audit",
        "arn:aws:cloudtrail:eu-west-1:123456789012:trail/",
        "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit\n",
    ]);
    refuses::<KeyArn>(&[
        "arn:aws:kms:eu-west-1:123456789012:alias/trailseal",
        "arn:aws:kms:eu-west-1:123456789012:key/",
    ]);
    accepts::<KeyArn>(&["arn:aws:kms:eu-west-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab"]);
    refuses::<TopicArn>(&["arn:aws:sns:eu-west-1:123456789012:alerts.fifo", "arn:aws:sns:eu-west-1:123456789012:a:b"]);
    refuses::<RoleArn>(&[
        "arn:aws:iam::123456789012:user/ann",
        "arn:aws:sts::123456789012:assumed-role/a/b",
        "arn:aws:iam::123456789012:role/*",
    ]);
    accepts::<PrincipalArn>(&["arn:aws:iam::123456789012:user/path/ann", "arn:aws-us-gov:iam::123456789012:role/r"]);
}

#[test]
fn aliases_of_aws_are_refused() {
    accepts::<KeyAlias>(&["alias/trailseal", "alias/team/a_b-c"]);
    refuses::<KeyAlias>(&[
        "trailseal",
        "alias/",
        "alias/aws/s3",
        "alias/a b",
        "alias/a:b",
        &format!("alias/{}", "x".repeat(251)),
    ]);
}

#[test]
fn a_function_arn_may_carry_a_version() {
    let arn: FunctionArn = "arn:aws:lambda:eu-west-1:123456789012:function:seal:live".parse().unwrap();
    assert_eq!(&**arn.name(), "seal");
}

#[test]
fn what_came_from_outside_is_shortened_in_the_message() {
    let message = "x".repeat(5000).parse::<Region>().unwrap_err().to_string();
    assert!(message.len() < 250, "{message}");
    assert!(message.contains("…` is not an AWS Region; expected"), "{message}");
}

#[test]
fn a_text_from_outside_cannot_look_like_a_line_of_ours() {
    assert_eq!(shorten("agent\nWhat to do next: pay", 100), "agent What to do next: pay");
    assert_eq!(shorten("äöü", 2), "äö…");
}
