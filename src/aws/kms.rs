//! KMS: keys, their policies, tags, aliases and grants.

use std::time::{Duration, SystemTime};

use aws_sdk_kms::operation::list_grants::ListGrantsOutput;
use aws_sdk_kms::types::{KeyManagerType, KeySpec, KeyState as SdkKeyState, KeyUsageType, Tag};
use trailseal_core::config::OWNER_TAG;
use trailseal_core::failure::Failure;
use trailseal_core::iam::Document;
use trailseal_core::ids::{KeyAlias, KeyArn, Region};
use trailseal_core::observation::{KeyManager, KeyMetadata, KeyState, KeyTags, ParsedPolicy, Reading};
use trailseal_core::plan::NewKey;

use super::call::{Operation, RetryRule};
use super::errors::reading;
use super::{Reader, Reply, Writer};

/// How long after its creation a key may be unknown to parts of AWS. KMS documents seconds, and minutes in some cases:
/// <https://docs.aws.amazon.com/kms/latest/developerguide/accessing-kms.html>.
const SETTLING: Duration = Duration::from_secs(180);

/// KMS may not know a key yet that was just created.
const NEW_KEY: RetryRule = RetryRule::WhileSettling(&["NotFoundException"]);
/// KMS may report a key as pending deletion after the deletion was canceled.
const DELETION_CANCELED: RetryRule = RetryRule::WhileSettling(&["KMSInvalidStateException"]);

/// Reads of keys.
pub trait KeyReads: Sync {
    /// `DescribeKey` of a key's ARN, id or alias in that Region.
    fn key_metadata(&self, key: &str, region: &Region) -> impl Reply<Reading<KeyMetadata>>;
    /// `GetKeyPolicy`.
    fn key_policy(&self, key: &KeyArn) -> impl Reply<Reading<ParsedPolicy>>;
    /// The tags of a key that matter here, by `ListResourceTags`.
    fn key_tags(&self, key: &KeyArn, exempt_tag: &str) -> impl Reply<KeyTags>;
    /// The names of a key's aliases (`alias/…`), by `ListAliases`.
    fn key_aliases(&self, key: &KeyArn) -> impl Reply<Vec<String>>;
    /// Whether a key has any grant, by `ListGrants`.
    fn key_has_grants(&self, key: &KeyArn) -> impl Reply<bool>;
}

/// Writes to keys.
pub trait KeyWrites: Sync {
    /// `CreateKey`. Not retried after an unknown outcome.
    fn create_key(&self, region: &Region, key: &NewKey) -> impl Reply<KeyArn>;
    /// `EnableKeyRotation` of a new key.
    fn enable_rotation(&self, key: &KeyArn) -> impl Reply<()>;
    /// `CreateAlias` for a new key.
    fn create_alias(&self, alias: &KeyAlias, key: &KeyArn) -> impl Reply<AliasCreation>;
    /// `CancelKeyDeletion`. The key is disabled afterwards. Not retried after an unknown outcome: KMS would refuse a
    /// second request.
    fn cancel_key_deletion(&self, key: &KeyArn) -> impl Reply<()>;
    /// `EnableKey`.
    fn enable_key(&self, key: &KeyArn) -> impl Reply<()>;
    /// `PutKeyPolicy`, with the lockout safety check. Not retried after an unknown outcome.
    fn put_key_policy(&self, key: &KeyArn, policy: &Document) -> impl Reply<()>;
}

/// The result of `CreateAlias`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AliasCreation {
    /// This call created it.
    Created,
    /// It existed already, perhaps created by an earlier attempt of this call.
    AlreadyExists,
}

fn on_key(name: &'static str, key: &KeyArn, what: &str) -> Operation {
    Operation::new(name, key.region(), format!("{what} key `{key}`"))
}

impl KeyReads for Reader<'_> {
    async fn key_metadata(&self, key: &str, region: &Region) -> Result<Reading<KeyMetadata>, Failure> {
        let operation = Operation::new("kms:DescribeKey", region, format!("read key `{key}` in `{region}`"));
        let call = self.0.aws.kms(region).describe_key().key_id(key);
        let output = self.0.call(&operation, || call.clone().send()).await;
        let metadata = output.and_then(|output| operation.require(output.key_metadata, "key"));
        let metadata = metadata.and_then(|metadata| key_metadata(metadata, &operation));
        reading(metadata, "NotFoundException")
    }

    async fn key_policy(&self, key: &KeyArn) -> Result<Reading<ParsedPolicy>, Failure> {
        let operation = on_key("kms:GetKeyPolicy", key, "read the policy of");
        let call = self.0.aws.kms(key.region()).get_key_policy().key_id(key.as_str()).policy_name("default");
        match self.0.call(&operation, || call.clone().send()).await.map(|output| output.policy) {
            Ok(None) => Ok(Reading::Absent),
            policy => reading(policy.map(|policy| Document::parse(&policy.unwrap_or_default())), "NotFoundException"),
        }
    }

    async fn key_tags(&self, key: &KeyArn, exempt_tag: &str) -> Result<KeyTags, Failure> {
        let operation = on_key("kms:ListResourceTags", key, "read the tags of");
        let call = self.0.aws.kms(key.region()).list_resource_tags().key_id(key.as_str());
        let send = |token| call.clone().set_marker(token).send();
        let mut tags = KeyTags::default();
        for page in self.0.pages(&operation, send, |page| page.next_marker.clone()).await? {
            // A missing list does not mean that the key has no tags.
            for tag in operation.require(page.tags, "tags")? {
                tags.managed_by_trailseal |= (tag.tag_key.as_str(), tag.tag_value.as_str()) == OWNER_TAG;
                if tag.tag_key == exempt_tag {
                    tags.exempt = Some(tag.tag_value);
                }
            }
        }
        Ok(tags)
    }

    async fn key_aliases(&self, key: &KeyArn) -> Result<Vec<String>, Failure> {
        let operation = on_key("kms:ListAliases", key, "list the aliases of");
        let call = self.0.aws.kms(key.region()).list_aliases().key_id(key.as_str());
        let send = |token| call.clone().set_marker(token).send();
        let mut aliases = Vec::new();
        for page in self.0.pages(&operation, send, |page| page.next_marker.clone()).await? {
            let listed = operation.require(page.aliases, "list")?;
            aliases.extend(listed.into_iter().filter_map(|alias| alias.alias_name));
        }
        Ok(aliases)
    }

    async fn key_has_grants(&self, key: &KeyArn) -> Result<bool, Failure> {
        let operation = on_key("kms:ListGrants", key, "list the grants of");
        let call = self.0.aws.kms(key.region()).list_grants().key_id(key.as_str());
        let send = |token| call.clone().set_marker(token).send();
        // One grant is enough. An empty page may be followed by others.
        let next = |page: &ListGrantsOutput| page.next_marker.clone().filter(|_| page.grants().is_empty());
        let mut granted = false;
        for page in self.0.pages(&operation, send, next).await? {
            granted |= !operation.require(page.grants, "list")?.is_empty();
        }
        Ok(granted)
    }
}

impl KeyWrites for Writer<'_> {
    async fn create_key(&self, region: &Region, key: &NewKey) -> Result<KeyArn, Failure> {
        let operation = Operation::new("kms:CreateKey", region, format!("create a key in `{region}`"))
            .with_retry(RetryRule::OnlyIfThrottled);
        let tags = key.tags.iter().map(|(name, value)| Tag::builder().tag_key(name).tag_value(value).build());
        let tags = tags.collect::<Result<Vec<_>, _>>();
        let tags = tags.map_err(|error| operation.malformed_request(&error.to_string()))?;
        let call = self
            .0
            .aws
            .kms(region)
            .create_key()
            .key_spec(KeySpec::SymmetricDefault)
            .key_usage(KeyUsageType::EncryptDecrypt)
            .multi_region(false)
            .description(key.description)
            .policy(key.policy.text())
            .set_tags(Some(tags));
        let output = self.0.call(&operation, || call.clone().send()).await?;
        let arn = output.key_metadata.and_then(|metadata| metadata.arn).unwrap_or_default();
        // KMS may have created the key.
        arn.parse().map_err(|malformed| Failure {
            outcome_unknown: true,
            ..operation.malformed_answer(&format!("the ARN of the new key is malformed: {malformed}"))
        })
    }

    async fn enable_rotation(&self, key: &KeyArn) -> Result<(), Failure> {
        let operation = on_key("kms:EnableKeyRotation", key, "enable rotation of").with_retry(NEW_KEY);
        let call = self.0.aws.kms(key.region()).enable_key_rotation().key_id(key.as_str());
        self.0.call(&operation, || call.clone().send()).await.map(drop)
    }

    async fn create_alias(&self, alias: &KeyAlias, key: &KeyArn) -> Result<AliasCreation, Failure> {
        let operation = on_key("kms:CreateAlias", key, &format!("create `{alias}` for")).with_retry(NEW_KEY);
        let call = self.0.aws.kms(key.region()).create_alias().alias_name(alias.as_str()).target_key_id(key.as_str());
        match self.0.call(&operation, || call.clone().send()).await {
            Ok(_) => Ok(AliasCreation::Created),
            Err(failure) if failure.is("AlreadyExistsException") => Ok(AliasCreation::AlreadyExists),
            Err(failure) => Err(failure),
        }
    }

    async fn cancel_key_deletion(&self, key: &KeyArn) -> Result<(), Failure> {
        let operation = on_key("kms:CancelKeyDeletion", key, "cancel the deletion of");
        let operation = operation.with_retry(RetryRule::OnlyIfThrottled);
        let call = self.0.aws.kms(key.region()).cancel_key_deletion().key_id(key.as_str());
        self.0.call(&operation, || call.clone().send()).await.map(drop)
    }

    async fn enable_key(&self, key: &KeyArn) -> Result<(), Failure> {
        let operation = on_key("kms:EnableKey", key, "enable").with_retry(DELETION_CANCELED);
        let call = self.0.aws.kms(key.region()).enable_key().key_id(key.as_str());
        self.0.call(&operation, || call.clone().send()).await.map(drop)
    }

    async fn put_key_policy(&self, key: &KeyArn, policy: &Document) -> Result<(), Failure> {
        let operation = on_key("kms:PutKeyPolicy", key, "extend the policy of").with_retry(RetryRule::OnlyIfThrottled);
        let call = self.0.aws.kms(key.region()).put_key_policy().key_id(key.as_str());
        let call = call.policy_name("default").policy(policy.text());
        self.0.call(&operation, || call.clone().send()).await.map(drop)
    }
}

fn key_metadata(key: aws_sdk_kms::types::KeyMetadata, operation: &Operation) -> Result<KeyMetadata, Failure> {
    let arn = key.arn.unwrap_or_default();
    let created = key.creation_date.map(|created| created.secs());
    let age = key.creation_date.and_then(|created| SystemTime::try_from(created).ok()).map(|created| created.elapsed());
    Ok(KeyMetadata {
        arn: arn
            .parse()
            .map_err(|malformed| operation.malformed_answer(&format!("its ARN is malformed: {malformed}")))?,
        manager: match key.key_manager {
            Some(KeyManagerType::Aws) => KeyManager::Aws,
            _ => KeyManager::Customer,
        },
        spec: key.key_spec.map(|spec| spec.as_str().to_owned()),
        usage: key.key_usage.map(|usage| usage.as_str().to_owned()),
        origin: key.origin.map(|origin| origin.as_str().to_owned()),
        multi_region: key.multi_region.unwrap_or_default(),
        state: match key.key_state {
            Some(SdkKeyState::Enabled | SdkKeyState::Updating) => KeyState::Usable,
            Some(SdkKeyState::Disabled) => KeyState::Disabled,
            Some(SdkKeyState::PendingDeletion | SdkKeyState::PendingReplicaDeletion) => KeyState::PendingDeletion,
            Some(state @ (SdkKeyState::Creating | SdkKeyState::PendingImport | SdkKeyState::Unavailable)) => {
                KeyState::Unavailable(state.as_str().to_owned())
            }
            Some(other) => KeyState::Unknown(other.as_str().to_owned()),
            None => KeyState::Unknown("not reported".into()),
        },
        created,
        // A creation time in the future is of another clock.
        recent: age.is_some_and(|age| age.map_or(true, |age| age < SETTLING)),
    })
}
