use aws_sdk_kms::types::{KeyManagerType, KeyState as SdkState, Tag};
use fake_aws::{ConsistencyDelays, FakeAws, Fault, Key, KeyState};

use crate::{ACCOUNT, FRANKFURT, IRELAND, OTHER_ACCOUNT, code, kms, world};

/// A world with one key, and its ARN.
fn one_key(key: Key) -> (FakeAws, String) {
    let mut world = world();
    let arn = world.key(key);
    world.alias(IRELAND, "alias/trailseal", &arn);
    (FakeAws::start(world), arn)
}

#[tokio::test]
async fn a_key_is_created_with_policy_and_tags_in_one_call() {
    let aws = FakeAws::start(world());
    aws.world().caller_iam_allows_put_key_policy = true;
    let policy = aws.world().cloudtrail_key_policy();
    let client = kms(&aws, IRELAND).await;
    let tag = Tag::builder().tag_key("managed-by").tag_value("trailseal").build().unwrap();
    let created = client.create_key().policy(&policy).tags(tag).description("seals").send().await.unwrap();
    let metadata = created.key_metadata.unwrap();
    assert_eq!(metadata.key_id(), "00000000-0000-4000-8000-000000000001");
    assert_eq!(metadata.key_manager(), Some(&KeyManagerType::Customer));
    assert_eq!(metadata.key_state(), Some(&SdkState::Enabled));
    assert_eq!(metadata.creation_date().unwrap().secs(), 1_790_000_000);
    let arn = metadata.arn().unwrap();
    let tags = client.list_resource_tags().key_id(arn).send().await.unwrap();
    assert_eq!(tags.tags()[0].tag_value(), "trailseal");
    let read = client.get_key_policy().key_id(arn).send().await.unwrap();
    assert_eq!(read.policy(), Some(policy.as_str()));
    // CreateKey is not idempotent.
    client.create_key().send().await.unwrap();
    assert_eq!(aws.world().customer_keys(IRELAND).len(), 2);
}

#[tokio::test]
async fn a_key_is_described_by_id_arn_or_alias() {
    let (aws, arn) = one_key(Key::new(IRELAND).tag("a", "b"));
    let client = kms(&aws, IRELAND).await;
    let id = arn.rsplit('/').next().unwrap();
    for name in [&arn, id, "alias/trailseal", "arn:aws:kms:eu-west-1:123456789012:alias/trailseal"] {
        let described = client.describe_key().key_id(name).send().await.unwrap();
        assert_eq!(described.key_metadata.unwrap().arn(), Some(arn.as_str()));
    }
    for name in ["alias/none", "00000000-0000-4000-8000-00000000ffff", "nonsense"] {
        assert_eq!(code(client.describe_key().key_id(name).send().await), "NotFoundException");
    }
    let elsewhere = kms(&aws, FRANKFURT).await;
    assert_eq!(code(elsewhere.describe_key().key_id(&arn).send().await), "NotFoundException");
}

#[tokio::test]
async fn describing_an_unused_aws_alias_creates_its_key() {
    let aws = FakeAws::start(world());
    let client = kms(&aws, IRELAND).await;
    let described = client.describe_key().key_id("alias/aws/s3").send().await.unwrap();
    assert_eq!(described.key_metadata.unwrap().key_manager(), Some(&KeyManagerType::Aws));
    assert_eq!(aws.world().keys.len(), 1);
    assert!(aws.world().customer_keys(IRELAND).is_empty());
}

#[tokio::test]
async fn imported_and_stored_key_material_is_described() {
    let mut world = world();
    let imported = world.key(Key::new(IRELAND).imported_until(1_900_000_000));
    let deleted = world.key(Key::new(IRELAND).imported_until(1_900_000_000).state(KeyState::PendingImport));
    let stored = world.key(Key::new(IRELAND).in_key_store("EXTERNAL_KEY_STORE", "cks-1"));
    let aws = FakeAws::start(world);
    let client = kms(&aws, IRELAND).await;
    for (arn, valid_to, key_store) in
        [(imported, Some(1_900_000_000), None), (deleted, None, None), (stored, None, Some("cks-1"))]
    {
        let key = client.describe_key().key_id(arn).send().await.unwrap().key_metadata.unwrap();
        assert_eq!((key.valid_to().map(|at| at.secs()), key.custom_key_store_id()), (valid_to, key_store));
        assert_eq!(key.expiration_model().is_some(), valid_to.is_some());
    }
}

#[tokio::test]
async fn another_accounts_key_is_described_if_its_policy_allows() {
    let (aws, arn) = one_key(Key::new(IRELAND).of_account(OTHER_ACCOUNT));
    let client = kms(&aws, IRELAND).await;
    assert_eq!(code(client.describe_key().key_id(&arn).send().await), "AccessDeniedException");
    let policy = aws.world().cloudtrail_key_policy();
    aws.world().keys.get_mut(&arn).unwrap().policy = policy;
    client.describe_key().key_id(&arn).send().await.unwrap();
    assert_eq!(code(client.get_key_policy().key_id(&arn).send().await), "AccessDeniedException");
}

#[tokio::test]
async fn a_key_policy_can_allow_an_organization_to_describe() {
    let policy = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"kms:DescribeKey","Resource":"*",
        "Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-abcdefghij"}}}}"#;
    let (aws, arn) = one_key(Key::new(IRELAND).of_account(OTHER_ACCOUNT).policy(policy));
    let client = kms(&aws, IRELAND).await;
    for (organization, allowed) in [(None, false), (Some("o-bbbbbbbbbb"), false), (Some("o-abcdefghij"), true)] {
        aws.world().organizations = organization.map(|id| (ACCOUNT.to_owned(), id.to_owned())).into_iter().collect();
        assert_eq!(client.describe_key().key_id(&arn).send().await.is_ok(), allowed, "{organization:?}");
    }
}

#[tokio::test]
async fn policies_are_read_by_id_or_arn_not_by_alias() {
    let (aws, arn) = one_key(Key::new(IRELAND));
    let client = kms(&aws, IRELAND).await;
    client.get_key_policy().key_id(&arn).send().await.unwrap();
    assert_eq!(code(client.get_key_policy().key_id("alias/trailseal").send().await), "NotFoundException");
}

#[tokio::test]
async fn an_alias_exists_once() {
    let (aws, arn) = one_key(Key::new(IRELAND));
    let client = kms(&aws, IRELAND).await;
    let create = |name: &str| client.create_alias().alias_name(name).target_key_id(&arn).send();
    let error = create("alias/trailseal").await.unwrap_err().into_service_error();
    assert!(error.is_already_exists_exception());
    create("alias/second").await.unwrap();
    assert_eq!(code(create("alias/aws/mine").await), "NotAuthorizedException");
    assert_eq!(code(create("nothing").await), "InvalidAliasNameException");
    let aliases = client.list_aliases().send().await.unwrap();
    assert_eq!(aliases.aliases().len(), 2);
    let of_key = client.list_aliases().key_id(&arn).send().await.unwrap();
    assert_eq!(of_key.aliases()[0].alias_name(), Some("alias/second"));
    client.delete_alias().alias_name("alias/second").send().await.unwrap();
    assert_eq!(aws.world().alias_target(IRELAND, "alias/second"), None);
}

#[tokio::test]
async fn an_alias_target_may_be_disabled_not_pending_deletion() {
    let mut world = world();
    let disabled = world.key(Key::new(IRELAND).state(KeyState::Disabled));
    let deleted = world.key(Key::new(IRELAND).state(KeyState::PendingDeletion));
    let signing = world.key(Key::new(IRELAND).spec("RSA_2048", "SIGN_VERIFY"));
    let aws = FakeAws::start(world);
    let client = kms(&aws, IRELAND).await;
    client.create_alias().alias_name("alias/a").target_key_id(&disabled).send().await.unwrap();
    let error = client.create_alias().alias_name("alias/b").target_key_id(&deleted).send().await;
    assert_eq!(code(error), "KMSInvalidStateException");
    let error = client.update_alias().alias_name("alias/a").target_key_id(&signing).send().await;
    assert_eq!(code(error), "KMSInvalidStateException");
}

#[tokio::test]
async fn key_states_change_as_in_kms() {
    let (aws, arn) = one_key(Key::new(IRELAND));
    let client = kms(&aws, IRELAND).await;
    client.disable_key().key_id(&arn).send().await.unwrap();
    assert_eq!(code(client.enable_key_rotation().key_id(&arn).send().await), "DisabledException");
    client.enable_key().key_id(&arn).send().await.unwrap();
    client.enable_key_rotation().key_id(&arn).send().await.unwrap();
    let rotation = client.get_key_rotation_status().key_id(&arn).send().await.unwrap();
    assert!(rotation.key_rotation_enabled());
    assert_eq!(rotation.rotation_period_in_days(), Some(365));
    assert_eq!(code(client.cancel_key_deletion().key_id(&arn).send().await), "KMSInvalidStateException");
    let scheduled = client.schedule_key_deletion().key_id(&arn).pending_window_in_days(7).send().await.unwrap();
    assert_eq!(scheduled.key_state(), Some(&SdkState::PendingDeletion));
    assert_eq!(code(client.enable_key().key_id(&arn).send().await), "KMSInvalidStateException");
    client.cancel_key_deletion().key_id(&arn).send().await.unwrap();
    let described = client.describe_key().key_id(&arn).send().await.unwrap().key_metadata.unwrap();
    assert_eq!(described.key_state(), Some(&SdkState::Disabled));
    assert!(described.deletion_date().is_none());
}

#[tokio::test]
async fn only_symmetric_customer_keys_rotate() {
    let mut world = world();
    let signing = world.key(Key::new(IRELAND).spec("RSA_2048", "SIGN_VERIFY"));
    let aws_managed = world.key(Key::new(IRELAND).managed_by_aws());
    let aws = FakeAws::start(world);
    let client = kms(&aws, IRELAND).await;
    assert_eq!(code(client.enable_key_rotation().key_id(&signing).send().await), "UnsupportedOperationException");
    assert_eq!(code(client.disable_key().key_id(&aws_managed).send().await), "AccessDeniedException");
}

#[tokio::test]
async fn a_new_key_is_not_visible_for_some_calls() {
    let mut world = world();
    world.delays = ConsistencyDelays { key_visible_after: 2, alias_visible_after: 1, ..ConsistencyDelays::default() };
    let aws = FakeAws::start(world);
    let client = kms(&aws, IRELAND).await;
    let arn = client.create_key().send().await.unwrap().key_metadata.unwrap().arn.unwrap();
    assert_eq!(code(client.describe_key().key_id(&arn).send().await), "NotFoundException");
    assert!(client.list_keys().send().await.unwrap().keys().is_empty());
    assert_eq!(code(client.enable_key_rotation().key_id(&arn).send().await), "NotFoundException");
    client.create_alias().alias_name("alias/new").target_key_id(&arn).send().await.unwrap();
    assert_eq!(code(client.describe_key().key_id("alias/new").send().await), "NotFoundException");
    client.describe_key().key_id("alias/new").send().await.unwrap();
    assert_eq!(client.list_keys().send().await.unwrap().keys().len(), 1);
}

#[tokio::test]
async fn operations_can_be_denied_for_one_key_or_all() {
    let (aws, arn) = one_key(Key::new(IRELAND));
    let client = kms(&aws, IRELAND).await;
    aws.world().keys.get_mut(&arn).unwrap().denied.insert("kms:GetKeyPolicy".into());
    assert_eq!(code(client.get_key_policy().key_id(&arn).send().await), "AccessDeniedException");
    client.describe_key().key_id(&arn).send().await.unwrap();
    aws.world().denied.insert("kms:DescribeKey".into());
    assert_eq!(code(client.describe_key().key_id(&arn).send().await), "AccessDeniedException");
}

#[tokio::test]
async fn every_repair_operation_can_be_denied() {
    let (aws, arn) = one_key(Key::new(IRELAND).state(KeyState::PendingDeletion));
    let policy = aws.world().default_key_policy("123456789012");
    let repairs =
        ["kms:CancelKeyDeletion", "kms:EnableKey", "kms:PutKeyPolicy", "kms:ListResourceTags", "kms:ListAliases"];
    aws.world().keys.get_mut(&arn).unwrap().denied.extend(repairs.map(str::to_owned));
    let client = kms(&aws, IRELAND).await;
    let codes = [
        code(client.cancel_key_deletion().key_id(&arn).send().await),
        code(client.enable_key().key_id(&arn).send().await),
        code(client.put_key_policy().key_id(&arn).policy(policy).send().await),
        code(client.list_resource_tags().key_id(&arn).send().await),
        code(client.list_aliases().key_id(&arn).send().await),
    ];
    assert_eq!(codes, ["AccessDeniedException"; 5]);
    assert_eq!(aws.world().keys[&arn].state, KeyState::PendingDeletion);
}

#[tokio::test]
async fn tags_and_aliases_of_a_key_are_listed_in_pages() {
    let (aws, arn) = one_key(Key::new(IRELAND).tag("a", "1").tag("b", "2").tag("c", "3"));
    aws.world().page_size = 1;
    aws.world().alias(IRELAND, "alias/second", &arn);
    let other = aws.world().key(Key::new(IRELAND));
    aws.world().alias(IRELAND, "alias/other", &other);
    let client = kms(&aws, IRELAND).await;
    let tags = client.list_resource_tags().key_id(&arn).into_paginator().items().send();
    let tags: Vec<_> = tags.collect::<Result<_, _>>().await.unwrap();
    assert_eq!(tags.iter().map(Tag::tag_key).collect::<Vec<_>>(), ["a", "b", "c"]);
    let aliases = client.list_aliases().key_id(&arn).into_paginator().items().send();
    let aliases: Vec<_> = aliases.collect::<Result<_, _>>().await.unwrap();
    let names: Vec<_> = aliases.iter().filter_map(|alias| alias.alias_name()).collect();
    assert_eq!(names, ["alias/second", "alias/trailseal"]);
    assert_eq!(aws.calls().len(), 5);
}

#[tokio::test]
async fn internal_errors_have_kms_codes() {
    let (aws, arn) = one_key(Key::new(IRELAND));
    aws.before(|_, _| Some(Fault::error(500, "KMSInternalException", "try again")));
    let client = kms(&aws, IRELAND).await;
    let error = client.describe_key().key_id(&arn).send().await.unwrap_err().into_service_error();
    assert!(error.is_kms_internal_exception());
}

#[tokio::test]
async fn an_error_names_the_state_of_the_key() {
    for (state, words) in [
        (KeyState::PendingImport, "is pending import."),
        (KeyState::PendingDeletion, "is pending deletion."),
        (KeyState::Disabled, "is disabled."),
    ] {
        let (aws, arn) = one_key(Key::new(IRELAND).state(state));
        let client = kms(&aws, IRELAND).await;
        let error = client.enable_key_rotation().key_id(&arn).send().await.unwrap_err().into_service_error();
        assert_eq!(error.meta().message(), Some(format!("{arn} {words}").as_str()));
    }
}

#[tokio::test]
async fn tags_are_added_and_removed() {
    let (aws, arn) = one_key(Key::new(IRELAND).tag("a", "1"));
    let client = kms(&aws, IRELAND).await;
    let tag = |key: &str| Tag::builder().tag_key(key).tag_value("2").build().unwrap();
    client.tag_resource().key_id(&arn).tags(tag("b")).send().await.unwrap();
    client.untag_resource().key_id(&arn).tag_keys("a").send().await.unwrap();
    let twice = client.tag_resource().key_id(&arn).tags(tag("c")).tags(tag("c")).send().await;
    assert_eq!(code(twice), "TagException");
    assert_eq!(code(client.tag_resource().key_id(&arn).tags(tag("aws:c")).send().await), "TagException");
    assert_eq!(
        code(client.tag_resource().key_id(&arn).tags(tag(&"c".repeat(129))).send().await),
        "ValidationException"
    );
    let tags = client.list_resource_tags().key_id(&arn).send().await.unwrap();
    assert_eq!(tags.tags().len(), 1);
    assert_eq!(tags.tags()[0].tag_key(), "b");
}
