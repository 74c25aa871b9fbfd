use std::time::Duration;

use aws_sdk_cloudtrail::types::Tag;
use fake_aws::{FakeAws, Fault, Trail};

use crate::{ACCOUNT, FRANKFURT, IRELAND, OTHER_ACCOUNT, cloudtrail, code, world};

const AUDIT: &str = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit";

#[tokio::test]
async fn an_unencrypted_trail_is_read_with_its_home_region() {
    let aws = FakeAws::start(world().bucket("logs", FRANKFURT).trail(Trail::new("audit", IRELAND, "logs")));
    let client = cloudtrail(&aws, IRELAND).await;
    let trail = client.get_trail().name("audit").send().await.unwrap().trail.unwrap();
    assert_eq!(trail.trail_arn(), Some(AUDIT));
    assert_eq!(trail.home_region(), Some(IRELAND));
    assert_eq!(trail.s3_bucket_name(), Some("logs"));
    assert_eq!(trail.kms_key_id(), None);
    assert_eq!(aws.names(), ["cloudtrail:GetTrail"]);
    assert_eq!(aws.calls()[0].region, IRELAND);
    assert_eq!(aws.calls()[0].input["Name"], "audit");
}

#[tokio::test]
async fn a_bare_name_means_a_trail_in_the_requests_region() {
    let aws = FakeAws::start(world().trail(Trail::new("audit", IRELAND, "logs").multi_region()));
    let elsewhere = cloudtrail(&aws, FRANKFURT).await;
    assert_eq!(code(elsewhere.get_trail().name("audit").send().await), "TrailNotFoundException");
    let by_arn = elsewhere.get_trail().name(AUDIT).send().await.unwrap();
    assert_eq!(by_arn.trail.unwrap().home_region(), Some(IRELAND));
}

#[tokio::test]
async fn a_single_region_trail_is_visible_only_at_home() {
    let aws = FakeAws::start(world().trail(Trail::new("audit", IRELAND, "logs")));
    let elsewhere = cloudtrail(&aws, FRANKFURT).await;
    assert_eq!(code(elsewhere.get_trail().name(AUDIT).send().await), "TrailNotFoundException");
}

#[tokio::test]
async fn malformed_arns_and_names_are_errors() {
    let aws = FakeAws::start(world());
    let client = cloudtrail(&aws, IRELAND).await;
    let arn = "arn:aws:cloudtrail:eu-west-1:12:trail/audit";
    assert_eq!(code(client.get_trail().name(arn).send().await), "CloudTrailARNInvalidException");
    assert_eq!(code(client.get_trail().name("a").send().await), "InvalidTrailNameException");
    let other = "arn:aws:cloudtrail:eu-west-1:210987654321:trail/audit";
    assert_eq!(code(client.get_trail().name(other).send().await), "CloudTrailARNInvalidException");
}

#[tokio::test]
async fn writes_fail_outside_the_home_region() {
    let aws =
        FakeAws::start(world().bucket("logs", FRANKFURT).trail(Trail::new("audit", IRELAND, "logs").multi_region()));
    let before = aws.snapshot();
    let elsewhere = cloudtrail(&aws, FRANKFURT).await;
    assert_eq!(code(elsewhere.update_trail().name(AUDIT).send().await), "InvalidHomeRegionException");
    assert_eq!(code(elsewhere.stop_logging().name(AUDIT).send().await), "InvalidHomeRegionException");
    assert_eq!(aws.snapshot(), before);
}

#[tokio::test]
async fn an_organization_trail_is_read_only_in_a_member_account() {
    let trail = Trail::new("org", IRELAND, "logs").multi_region().organization(OTHER_ACCOUNT);
    let aws = FakeAws::start(world().bucket("logs", IRELAND).trail(trail));
    let arn = "arn:aws:cloudtrail:eu-west-1:210987654321:trail/org";
    let client = cloudtrail(&aws, IRELAND).await;
    let trail = client.get_trail().name(arn).send().await.unwrap().trail.unwrap();
    assert_eq!(trail.is_organization_trail(), Some(true));
    assert_eq!(code(client.get_trail().name("org").send().await), "TrailNotFoundException");
    assert_eq!(code(client.update_trail().name(arn).send().await), "NotOrganizationMasterAccountException");
    assert_eq!(code(client.list_tags().resource_id_list(arn).send().await), "CloudTrailARNInvalidException");
    aws.world().delegated_admin = true;
    client.update_trail().name(arn).send().await.unwrap();
}

#[tokio::test]
async fn an_update_changes_only_the_given_settings() {
    let mut trail = Trail::new("audit", IRELAND, "logs").multi_region();
    trail.prefix = Some("p".into());
    let aws = FakeAws::start(world().bucket("logs", FRANKFURT).trail(trail));
    let client = cloudtrail(&aws, IRELAND).await;
    let output = client.update_trail().name("audit").enable_log_file_validation(false).send().await.unwrap();
    assert_eq!(output.trail_arn(), Some(AUDIT));
    assert_eq!(output.s3_key_prefix(), Some("p"));
    assert_eq!(output.log_file_validation_enabled(), Some(false));
    let mut expected = Trail::new("audit", IRELAND, "logs").multi_region();
    expected.owner = ACCOUNT.into();
    expected.prefix = Some("p".into());
    expected.log_file_validation = false;
    assert_eq!(aws.world().trails[AUDIT], expected);
}

#[tokio::test]
async fn the_status_reports_when_logging_started_and_stopped() {
    let aws = FakeAws::start(world().trail(Trail::new("audit", IRELAND, "logs").never_started()));
    let client = cloudtrail(&aws, IRELAND).await;
    let status = client.get_trail_status().name("audit").send().await.unwrap();
    assert_eq!(status.is_logging(), Some(false));
    assert!(status.start_logging_time().is_none() && status.stop_logging_time().is_none());
    client.start_logging().name("audit").send().await.unwrap();
    client.stop_logging().name("audit").send().await.unwrap();
    aws.world().trails.get_mut(AUDIT).unwrap().latest_delivery_error = Some("AccessDenied".into());
    let status = client.get_trail_status().name("audit").send().await.unwrap();
    assert_eq!(status.stop_logging_time().unwrap().secs(), 1_790_000_000);
    assert_eq!(status.latest_delivery_error(), Some("AccessDenied"));
}

#[tokio::test]
async fn new_trails_do_not_log_and_a_region_has_at_most_five() {
    let aws = FakeAws::start(world().bucket("logs", IRELAND));
    let client = cloudtrail(&aws, IRELAND).await;
    let create = |name: String| {
        client
            .create_trail()
            .name(name)
            .s3_bucket_name("logs")
            .tags_list(Tag::builder().key("team").value("audit").build().unwrap())
            .send()
    };
    for n in 1..=5 {
        create(format!("trail-{n}")).await.unwrap();
    }
    assert_eq!(code(create("trail-5".into()).await), "TrailAlreadyExistsException");
    assert_eq!(code(create("trail-6".into()).await), "MaximumNumberOfTrailsExceededException");
    let arn = aws.world().trail_arn(IRELAND, "trail-1");
    let trail = aws.world().trails[&arn].clone();
    assert!(!trail.logging && trail.started_at.is_none());
    let tags = client.list_tags().resource_id_list(&arn).send().await.unwrap();
    assert_eq!(tags.resource_tag_list()[0].tags_list()[0].value(), Some("audit"));
}

#[tokio::test]
async fn trails_of_all_regions_are_listed_in_pages() {
    let mut world = world();
    world.page_size = 2;
    for n in 1..=5 {
        let region = if n % 2 == 0 { FRANKFURT } else { IRELAND };
        world.add_trail(Trail::new(&format!("trail-{n}"), region, "logs"));
    }
    let aws = FakeAws::start(world);
    let client = cloudtrail(&aws, IRELAND).await;
    let mut pages = client.list_trails().into_paginator().send();
    let mut homes = Vec::new();
    while let Some(page) = pages.next().await {
        homes.extend(page.unwrap().trails().iter().map(|t| t.home_region().unwrap().to_owned()));
    }
    assert_eq!(homes.len(), 5);
    assert_eq!(homes.iter().filter(|home| *home == FRANKFURT).count(), 2);
    assert_eq!(aws.calls().len(), 3);
}

#[tokio::test]
async fn shadow_trails_are_described_unless_excluded() {
    let aws = FakeAws::start(
        world()
            .trail(Trail::new("here", FRANKFURT, "logs"))
            .trail(Trail::new("shadow", IRELAND, "logs").multi_region())
            .trail(Trail::new("hidden", IRELAND, "logs")),
    );
    let client = cloudtrail(&aws, FRANKFURT).await;
    let all = client.describe_trails().send().await.unwrap();
    assert_eq!(all.trail_list().len(), 2);
    let home = client.describe_trails().include_shadow_trails(false).send().await.unwrap();
    assert_eq!(home.trail_list().len(), 1);
    let named = client.describe_trails().trail_name_list("here").send().await.unwrap();
    assert_eq!(named.trail_list()[0].name(), Some("here"));
}

#[tokio::test]
async fn operations_can_be_denied_for_one_trail() {
    let mut trail = Trail::new("audit", IRELAND, "logs");
    trail.denied.insert("cloudtrail:UpdateTrail".into());
    let aws = FakeAws::start(world().bucket("logs", IRELAND).trail(trail));
    let client = cloudtrail(&aws, IRELAND).await;
    assert_eq!(code(client.update_trail().name("audit").send().await), "AccessDeniedException");
    client.get_trail().name("audit").send().await.unwrap();
}

#[tokio::test]
async fn writes_are_throttled_if_rate_limits_are_on() {
    let mut world = world().bucket("logs", IRELAND).trail(Trail::new("audit", IRELAND, "logs"));
    world.rate_limits = true;
    let aws = FakeAws::start(world);
    let client = cloudtrail(&aws, IRELAND).await;
    client.update_trail().name("audit").send().await.unwrap();
    assert_eq!(code(client.update_trail().name("audit").send().await), "ThrottlingException");
}

#[tokio::test]
async fn unknown_operations_are_errors_and_recorded() {
    let aws = FakeAws::start(world());
    let client = cloudtrail(&aws, IRELAND).await;
    assert_eq!(code(client.lookup_events().send().await), "UnknownOperationException");
    assert_eq!(aws.names(), ["cloudtrail:LookupEvents"]);
}

#[tokio::test]
async fn injected_errors_are_parsed_as_their_type() {
    let aws = FakeAws::start(world().trail(Trail::new("audit", IRELAND, "logs")));
    aws.before(|_, _| Some(Fault::error(400, "ConflictException", "busy")));
    let client = cloudtrail(&aws, IRELAND).await;
    let error = client.update_trail().name("audit").send().await.unwrap_err().into_service_error();
    assert!(error.is_conflict_exception());
}

#[tokio::test]
async fn rate_limits_reset_with_time_and_with_the_world() {
    let mut world = world().bucket("logs", IRELAND).trail(Trail::new("audit", IRELAND, "logs"));
    world.rate_limits = true;
    let start = world.now;
    let aws = FakeAws::start(world.clone());
    let client = cloudtrail(&aws, IRELAND).await;
    client.update_trail().name("audit").send().await.unwrap();
    aws.advance_clock(Duration::from_secs(3600));
    assert_eq!(aws.world().now, start + 3600);
    client.update_trail().name("audit").send().await.unwrap();
    aws.replace(world);
    assert_eq!((aws.world().now, aws.calls()), (start, vec![]));
    client.update_trail().name("audit").send().await.unwrap();
    assert_eq!(code(client.update_trail().name("audit").send().await), "ThrottlingException");
}

#[tokio::test]
async fn an_error_has_its_text_in_either_spelling() {
    let aws = FakeAws::start(world().trail(Trail::new("audit", IRELAND, "logs")));
    let client = cloudtrail(&aws, IRELAND).await;
    for code in ["InvalidCloudWatchLogsLogGroupArnException", "ConflictException"] {
        aws.clear_hooks();
        aws.before(move |_, _| Some(Fault::error(400, code, "Access denied.")));
        let error = client.update_trail().name("audit").send().await.unwrap_err().into_service_error();
        assert_eq!((error.meta().code(), error.meta().message()), (Some(code), Some("Access denied.")));
    }
}

#[tokio::test]
async fn texts_without_a_value_are_empty() {
    let aws = FakeAws::start(world().bucket("logs", FRANKFURT).trail(Trail::new("audit", IRELAND, "logs")));
    let client = cloudtrail(&aws, IRELAND).await;
    let status = client.get_trail_status().name("audit").send().await.unwrap();
    assert_eq!((status.time_logging_started(), status.latest_delivery_attempt_succeeded()), (Some(""), Some("")));
    let updated = client.update_trail().name("audit").send().await.unwrap();
    assert_eq!(updated.sns_topic_arn(), Some(""));
    assert_eq!(client.get_trail().name("audit").send().await.unwrap().trail.unwrap().sns_topic_arn(), None);
    let updated = client.update_trail().name("audit").sns_topic_name("news").send().await.unwrap();
    assert_eq!(updated.sns_topic_arn(), Some("arn:aws:sns:eu-west-1:123456789012:news"));
}
