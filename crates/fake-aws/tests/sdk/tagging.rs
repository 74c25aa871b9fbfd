use aws_sdk_resourcegroupstagging::Client;
use aws_sdk_resourcegroupstagging::types::TagFilter;
use fake_aws::{ConsistencyDelays, FakeAws, Key};

use crate::{FRANKFURT, IRELAND, OTHER_ACCOUNT, code, kms, sdk, world};

async fn tagging(aws: &FakeAws) -> Client {
    Client::new(&sdk(aws, IRELAND).await)
}

/// Every key with the tag, on all pages.
async fn tagged_keys(client: &Client) -> Vec<String> {
    let filter = TagFilter::builder().key("managed-by").values("trailseal").build();
    let mut pages = client.get_resources().tag_filters(filter).resource_type_filters("kms:key").into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        found.extend(page.resource_tag_mapping_list().iter().map(|key| key.resource_arn().unwrap().to_owned()));
    }
    found
}

#[tokio::test]
async fn keys_are_found_by_tag_in_their_region_and_account() {
    let mut world = world();
    world.page_size = 2;
    let keys: Vec<String> =
        (0..5).map(|_| world.key(Key::new(IRELAND).tag("a", "b").tag("managed-by", "trailseal"))).collect();
    world.key(Key::new(IRELAND).tag("managed-by", "another"));
    world.key(Key::new(FRANKFURT).tag("managed-by", "trailseal"));
    world.key(Key::new(IRELAND).tag("managed-by", "trailseal").of_account(OTHER_ACCOUNT));
    world.key(Key::new(IRELAND));
    let aws = FakeAws::start(world);
    assert_eq!(tagged_keys(&tagging(&aws).await).await, keys);
    assert_eq!(aws.names(), ["tagging:GetResources"; 3]);
}

#[tokio::test]
async fn the_tag_index_is_eventually_consistent() {
    let mut world = world();
    world.delays = ConsistencyDelays { tag_index_after: 1, ..ConsistencyDelays::default() };
    let aws = FakeAws::start(world);
    let tag = aws_sdk_kms::types::Tag::builder().tag_key("managed-by").tag_value("trailseal").build().unwrap();
    let created = kms(&aws, IRELAND).await.create_key().tags(tag).send().await.unwrap();
    let client = tagging(&aws).await;
    assert!(tagged_keys(&client).await.is_empty());
    assert_eq!(tagged_keys(&client).await, [created.key_metadata.unwrap().arn.unwrap()]);
}

#[tokio::test]
async fn stale_tokens_and_denied_calls_are_errors() {
    let aws = FakeAws::start(world());
    let client = tagging(&aws).await;
    let stale = client.get_resources().pagination_token("stale").send().await;
    assert_eq!(code(stale), "PaginationTokenExpiredException");
    aws.world().denied.insert("tagging:GetResources".into());
    assert_eq!(code(client.get_resources().send().await), "AccessDeniedException");
}
