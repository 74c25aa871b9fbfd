use aws_sdk_resourcegroupstagging::Client;
use aws_sdk_resourcegroupstagging::types::TagFilter;
use fake_aws::{FakeAws, Key, Settle};

use crate::{FRANKFURT, IRELAND, OTHER_ACCOUNT, code, kms, sdk, world};

async fn tagging(aws: &FakeAws) -> Client {
    Client::new(&sdk(aws, IRELAND).await)
}

/// Every key with the tag, over all pages.
async fn ours(client: &Client) -> Vec<String> {
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
async fn keys_are_found_by_their_tags_in_their_region_and_account() {
    let mut world = world();
    world.page_size = 2;
    let keys: Vec<String> =
        (0..5).map(|_| world.key(Key::new(IRELAND).tag("a", "b").tag("managed-by", "trailseal"))).collect();
    world.key(Key::new(IRELAND).tag("managed-by", "somebody"));
    world.key(Key::new(FRANKFURT).tag("managed-by", "trailseal"));
    world.key(Key::new(IRELAND).tag("managed-by", "trailseal").of_account(OTHER_ACCOUNT));
    world.key(Key::new(IRELAND));
    let aws = FakeAws::start(world);
    assert_eq!(ours(&tagging(&aws).await).await, keys);
    assert_eq!(aws.names(), ["tagging:GetResources"; 3]);
}

#[tokio::test]
async fn the_index_runs_behind() {
    let mut world = world();
    world.settle = Settle { tag_index_after: 1, ..Settle::default() };
    let aws = FakeAws::start(world);
    let tag = aws_sdk_kms::types::Tag::builder().tag_key("managed-by").tag_value("trailseal").build().unwrap();
    let created = kms(&aws, IRELAND).await.create_key().tags(tag).send().await.unwrap();
    let client = tagging(&aws).await;
    assert!(ours(&client).await.is_empty());
    assert_eq!(ours(&client).await, [created.key_metadata.unwrap().arn.unwrap()]);
}

#[tokio::test]
async fn a_token_may_be_stale_and_looking_may_be_denied() {
    let aws = FakeAws::start(world());
    let client = tagging(&aws).await;
    let stale = client.get_resources().pagination_token("stale").send().await;
    assert_eq!(code(stale), "PaginationTokenExpiredException");
    aws.world().denied.insert("tagging:GetResources".into());
    assert_eq!(code(client.get_resources().send().await), "AccessDeniedException");
}
