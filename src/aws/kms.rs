//! KMS: keys, their policies, tags, aliases and grants.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use aws_sdk_kms::primitives::{DateTime, DateTimeFormat as Format};
use aws_sdk_kms::types::{KeyManagerType, KeySpec, KeyState as SdkKeyState, KeyUsageType, MultiRegionKeyType, Tag};
use trailseal_core::config::OWNER_TAG;
use trailseal_core::failure::Failure;
use trailseal_core::iam::Document;
use trailseal_core::ids::{KeyAlias, KeyArn, Region};
use trailseal_core::observation::{Expiry, KeyManager, KeyMetadata, KeyState, KeyTags, ParsedPolicy, Reading};
use trailseal_core::plan::NewKey;

use super::errors::reading;
use super::operation::{Operation, RetryRule};
use super::{Reader, Writer, non_empty};

/// How long after its creation a key may be unknown to parts of AWS. KMS documents seconds, and minutes in some cases:
/// <https://docs.aws.amazon.com/kms/latest/developerguide/accessing-kms.html>.
const PROPAGATION_TIME: Duration = Duration::from_secs(180);

/// KMS may not know a key yet that was just created, or not that it is enabled.
const NEW_KEY: RetryRule = RetryRule::WhilePropagating(&["NotFoundException DisabledException"]);
/// Rotation is also enabled on a key whose deletion was just canceled.
const ENABLED_KEY: RetryRule =
    RetryRule::WhilePropagating(&["NotFoundException DisabledException KMSInvalidStateException"]);
/// KMS may report a key as pending deletion after the deletion was canceled.
const DELETION_CANCELED: RetryRule = RetryRule::WhilePropagating(&["KMSInvalidStateException"]);
/// KMS may not know a role yet that was just created, and refuses a policy that names it ("invalid principals"):
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency>.
const NEW_PRINCIPAL: RetryRule = RetryRule::OnlyIfRefused("MalformedPolicyDocumentException");
/// For a write that KMS must not get twice, and that names no principal.
const ONLY_IF_THROTTLED: RetryRule = RetryRule::OnlyIfRefused("");

/// Reads of keys.
pub(crate) trait KeyReads {
    /// `DescribeKey` of a key's ARN, ID or alias in that Region.
    async fn key_metadata(&self, key: &str, region: &Region) -> Result<Reading<KeyMetadata>, Failure>;
    /// `GetKeyPolicy`.
    async fn key_policy(&self, key: &KeyArn) -> Result<Reading<ParsedPolicy>, Failure>;
    /// The tags of a key that matter here, by `ListResourceTags`.
    async fn key_tags(&self, key: &KeyArn, exempt_tag: &str) -> Result<KeyTags, Failure>;
    /// Whether a key rotates automatically, by `GetKeyRotationStatus`.
    async fn key_rotation(&self, key: &KeyArn) -> Result<bool, Failure>;
    /// The names of a key's aliases (`alias/…`), by `ListAliases`.
    async fn key_aliases(&self, key: &KeyArn) -> Result<Vec<String>, Failure>;
    /// Whether a key has any grant, by `ListGrants`.
    async fn key_has_grants(&self, key: &KeyArn) -> Result<bool, Failure>;
}

/// Writes to keys.
pub(crate) trait KeyWrites {
    /// `CreateKey`. Not retried after an unknown outcome, nor if `unchanged`, which is awaited before every attempt, reports
    /// that a refused attempt may have created a key.
    async fn create_key(
        &self,
        region: &Region,
        key: &NewKey,
        unchanged: impl AsyncFn() -> Result<bool, Failure>,
    ) -> Result<KeyArn, Failure>;
    /// `EnableKeyRotation`.
    async fn enable_rotation(&self, key: &KeyArn) -> Result<(), Failure>;
    /// `CreateAlias` for a new key.
    async fn create_alias(&self, alias: &KeyAlias, key: &KeyArn) -> Result<AliasCreation, Failure>;
    /// `CancelKeyDeletion`. The key is disabled afterwards. Not retried after an unknown outcome: KMS would refuse a
    /// second request.
    async fn cancel_key_deletion(&self, key: &KeyArn) -> Result<(), Failure>;
    /// `EnableKey`.
    async fn enable_key(&self, key: &KeyArn) -> Result<(), Failure>;
    /// `PutKeyPolicy`, with the lockout safety check. Not retried after an unknown outcome, and with `certainly_rejected`
    /// not if KMS rejects the policy. Before every attempt, `unchanged` reports whether the policy is still as it was read.
    /// If not, nothing is sent: `None`.
    async fn put_key_policy(
        &self,
        key: &KeyArn,
        policy: &Document,
        certainly_rejected: bool,
        unchanged: impl AsyncFn() -> Result<bool, Failure>,
    ) -> Result<Option<()>, Failure>;
}

/// The result of `CreateAlias`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AliasCreation {
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
        let send = || self.0.aws.kms(region).describe_key().key_id(key).send();
        let output = self.0.call(&operation, send).await;
        let metadata = output.and_then(|output| {
            metadata(operation.require(output.key_metadata, "KeyMetadata")?, self.0.aws.now(), &operation)
        });
        reading(metadata, "NotFoundException")
    }

    async fn key_policy(&self, key: &KeyArn) -> Result<Reading<ParsedPolicy>, Failure> {
        let operation = on_key("kms:GetKeyPolicy", key, "read the policy of");
        let kms = self.0.aws.kms(key.region());
        let send = || kms.get_key_policy().key_id(key.as_str()).policy_name("default").send();
        match reading(self.0.call(&operation, send).await, "NotFoundException")? {
            Reading::Known(output) => Ok(match operation.require(output.policy, "Policy") {
                Ok(policy) => Reading::Known(Document::parse(&policy)),
                Err(failure) => Reading::Denied(failure),
            }),
            Reading::Absent => Ok(Reading::Absent),
            Reading::Denied(failure) => Ok(Reading::Denied(failure)),
        }
    }

    async fn key_tags(&self, key: &KeyArn, exempt_tag: &str) -> Result<KeyTags, Failure> {
        let operation = on_key("kms:ListResourceTags", key, "read the tags of");
        let kms = self.0.aws.kms(key.region());
        let page = |token| kms.list_resource_tags().key_id(key.as_str()).set_marker(token).send();
        let mut tags = KeyTags::default();
        let list = self.0.list(&operation, page, |page| {
            let marker = marker(page.truncated, page.next_marker, &operation)?;
            Ok((operation.require(page.tags, "Tags")?, marker))
        });
        for tag in list.await? {
            // The SDK returns an empty key for a missing one.
            operation.require(non_empty(Some(tag.tag_key.clone())), "TagKey")?;
            tags.managed_by_trailseal |= (tag.tag_key.as_str(), tag.tag_value.as_str()) == OWNER_TAG;
            if tag.tag_key == exempt_tag {
                tags.exempt = Some(tag.tag_value);
            }
        }
        Ok(tags)
    }

    async fn key_rotation(&self, key: &KeyArn) -> Result<bool, Failure> {
        let operation = on_key("kms:GetKeyRotationStatus", key, "read the rotation of");
        let send = || self.0.aws.kms(key.region()).get_key_rotation_status().key_id(key.as_str()).send();
        self.0.call(&operation, send).await.map(|output| output.key_rotation_enabled)
    }

    async fn key_aliases(&self, key: &KeyArn) -> Result<Vec<String>, Failure> {
        let operation = on_key("kms:ListAliases", key, "list the aliases of");
        let kms = self.0.aws.kms(key.region());
        let page = |token| kms.list_aliases().key_id(key.as_str()).set_marker(token).send();
        let aliases = self.0.list(&operation, page, |page| {
            let marker = marker(page.truncated, page.next_marker, &operation)?;
            Ok((operation.require(page.aliases, "Aliases")?, marker))
        });
        aliases.await?.into_iter().map(|alias| operation.require(alias.alias_name, "AliasName")).collect()
    }

    async fn key_has_grants(&self, key: &KeyArn) -> Result<bool, Failure> {
        let operation = on_key("kms:ListGrants", key, "list the grants of");
        let kms = self.0.aws.kms(key.region());
        let page = |token| kms.list_grants().key_id(key.as_str()).set_marker(token).send();
        // One grant is enough. An empty page may be followed by others.
        let grants = self.0.list(&operation, page, |page| {
            let marker = marker(page.truncated, page.next_marker, &operation)?;
            let grants = operation.require(page.grants, "Grants")?;
            let next = marker.filter(|_| grants.is_empty());
            Ok((grants, next))
        });
        Ok(!grants.await?.is_empty())
    }
}

impl KeyWrites for Writer<'_> {
    async fn create_key(
        &self,
        region: &Region,
        key: &NewKey,
        unchanged: impl AsyncFn() -> Result<bool, Failure>,
    ) -> Result<KeyArn, Failure> {
        let operation =
            Operation::new("kms:CreateKey", region, format!("create a key in `{region}`")).with_retry(NEW_PRINCIPAL);
        let tags = key.tags.iter().map(|(name, value)| Tag::builder().tag_key(name).tag_value(value).build());
        let tags = tags.collect::<Result<Vec<_>, _>>();
        let tags = tags.map_err(|error| operation.malformed_request(&error.to_string()))?;
        let kms = self.0.aws.kms(region);
        let call = kms.create_key().key_spec(KeySpec::SymmetricDefault).key_usage(KeyUsageType::EncryptDecrypt);
        let call = call.multi_region(false).description(key.description).policy(key.policy.text()).set_tags(Some(tags));
        let output = self.0.call_while(&operation, unchanged, || call.clone().send()).await?;
        let output = output.ok_or_else(|| operation.not_sent(self.0.deadline))?;
        let arn = operation.parse(output.key_metadata.and_then(|metadata| metadata.arn), "Arn");
        // KMS may have created the key.
        arn.map_err(|failure| Failure { outcome_unknown: true, ..failure })
    }

    async fn enable_rotation(&self, key: &KeyArn) -> Result<(), Failure> {
        let operation = on_key("kms:EnableKeyRotation", key, "enable rotation of").with_retry(ENABLED_KEY);
        let send = || self.0.aws.kms(key.region()).enable_key_rotation().key_id(key.as_str()).send();
        self.0.call(&operation, send).await.map(drop)
    }

    async fn create_alias(&self, alias: &KeyAlias, key: &KeyArn) -> Result<AliasCreation, Failure> {
        let operation = on_key("kms:CreateAlias", key, &format!("create `{alias}` for")).with_retry(NEW_KEY);
        let kms = self.0.aws.kms(key.region());
        let send = || kms.create_alias().alias_name(alias.as_str()).target_key_id(key.as_str()).send();
        match self.0.call(&operation, send).await {
            Ok(_) => Ok(AliasCreation::Created),
            Err(failure) if failure.is("AlreadyExistsException") => Ok(AliasCreation::AlreadyExists),
            Err(failure) => Err(failure),
        }
    }

    async fn cancel_key_deletion(&self, key: &KeyArn) -> Result<(), Failure> {
        let operation = on_key("kms:CancelKeyDeletion", key, "cancel the deletion of");
        let operation = operation.with_retry(ONLY_IF_THROTTLED);
        let attempts = AtomicUsize::new(0);
        let send = || {
            attempts.fetch_add(1, Ordering::Relaxed);
            self.0.aws.kms(key.region()).cancel_key_deletion().key_id(key.as_str()).send()
        };
        self.0.call(&operation, send).await.map(drop).map_err(|failure| {
            // An earlier attempt may have canceled it, whatever error it returned.
            let is_resent = attempts.load(Ordering::Relaxed) > 1 && failure.is("KMSInvalidStateException");
            Failure { outcome_unknown: failure.outcome_unknown || is_resent, ..failure }
        })
    }

    async fn enable_key(&self, key: &KeyArn) -> Result<(), Failure> {
        let operation = on_key("kms:EnableKey", key, "enable").with_retry(DELETION_CANCELED);
        let send = || self.0.aws.kms(key.region()).enable_key().key_id(key.as_str()).send();
        self.0.call(&operation, send).await.map(drop)
    }

    async fn put_key_policy(
        &self,
        key: &KeyArn,
        policy: &Document,
        certainly_rejected: bool,
        unchanged: impl AsyncFn() -> Result<bool, Failure>,
    ) -> Result<Option<()>, Failure> {
        let retry = if certainly_rejected { ONLY_IF_THROTTLED } else { NEW_PRINCIPAL };
        let operation = on_key("kms:PutKeyPolicy", key, "extend the policy of").with_retry(retry);
        let kms = self.0.aws.kms(key.region());
        let send = || kms.put_key_policy().key_id(key.as_str()).policy_name("default").policy(policy.text()).send();
        Ok(self.0.call_while(&operation, unchanged, send).await?.map(drop))
    }
}

/// When imported key material expires.
fn expiry(valid_to: DateTime, now: SystemTime) -> Option<Expiry> {
    let seconds_left = valid_to.secs().checked_sub(DateTime::from(now).secs())?;
    Some(Expiry { at: valid_to.fmt(Format::DateTime).ok()?, days_left: seconds_left.checked_div_euclid(86_400)? })
}

/// The marker of the next page, which KMS returns if the list is truncated.
fn marker(truncated: bool, marker: Option<String>, operation: &Operation) -> Result<Option<String>, Failure> {
    match truncated {
        true => operation.require(non_empty(marker), "NextMarker").map(Some),
        false => Ok(None),
    }
}

fn metadata(
    key: aws_sdk_kms::types::KeyMetadata,
    now: SystemTime,
    operation: &Operation,
) -> Result<KeyMetadata, Failure> {
    Ok(KeyMetadata {
        arn: operation.parse(key.arn, "Arn")?,
        manager: match operation.require(key.key_manager, "KeyManager")? {
            KeyManagerType::Aws => KeyManager::Aws,
            KeyManagerType::Customer => KeyManager::Customer,
            other => return Err(operation.malformed_response(&format!("the key manager `{other}` is unknown"))),
        },
        spec: Some(operation.require(key.key_spec, "KeySpec")?.as_str().to_owned()),
        usage: Some(operation.require(key.key_usage, "KeyUsage")?.as_str().to_owned()),
        origin: Some(operation.require(key.origin, "Origin")?.as_str().to_owned()),
        key_store: key.custom_key_store_id,
        expiry: key.valid_to.and_then(|valid_to| expiry(valid_to, now)),
        multi_region: operation.require(key.multi_region, "MultiRegion")?,
        replica: key
            .multi_region_configuration
            .is_some_and(|it| it.multi_region_key_type == Some(MultiRegionKeyType::Replica)),
        state: match operation.require(key.key_state, "KeyState")? {
            SdkKeyState::Enabled | SdkKeyState::Updating => KeyState::Usable,
            SdkKeyState::Disabled => KeyState::Disabled,
            SdkKeyState::PendingDeletion | SdkKeyState::PendingReplicaDeletion => KeyState::PendingDeletion,
            state @ (SdkKeyState::Creating | SdkKeyState::PendingImport | SdkKeyState::Unavailable) => {
                KeyState::Unavailable(state.as_str().to_owned())
            }
            other => KeyState::Unknown(other.as_str().to_owned()),
        },
        created: key.creation_date.map(|created| created.secs()),
        recent: key.creation_date > now.checked_sub(PROPAGATION_TIME).map(DateTime::from),
    })
}
