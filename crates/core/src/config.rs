//! The configuration: texts from the environment, parsed into values in one step that reports every
//! invalid setting at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::ids::{AccountId, KeyAlias, KeyArn, Malformed, OrganizationId, PrincipalArn, Region, RoleArn, TopicArn};

/// The tag of every key that trailseal creates: `managed-by` = `trailseal`.
pub const OWNER_TAG: (&str, &str) = ("managed-by", "trailseal");

/// A setting. Text for people names both: `LogReaders` (`TRAILSEAL_LOG_READERS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The stack parameter. `None`: the template sets the variable itself.
    parameter: Option<&'static str>,
    /// The environment variable.
    variable: &'static str,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { parameter, variable } = self;
        match parameter {
            Some(parameter) => write!(f, "`{parameter}` (`{variable}`)"),
            None => write!(f, "`{variable}`"),
        }
    }
}

pub(crate) const MODE: Setting = Setting { parameter: Some("Mode"), variable: "TRAILSEAL_MODE" };
pub(crate) const KEY_ALIAS: Setting = Setting { parameter: Some("KeyAlias"), variable: "TRAILSEAL_KEY_ALIAS" };
pub(crate) const KEY_ARNS: Setting = Setting { parameter: Some("KeyArns"), variable: "TRAILSEAL_KEY_ARNS" };
pub(crate) const KEY_TAGS: Setting = Setting { parameter: Some("KeyTags"), variable: "TRAILSEAL_KEY_TAGS" };
pub(crate) const LOG_READERS: Setting = Setting { parameter: Some("LogReaders"), variable: "TRAILSEAL_LOG_READERS" };
pub(crate) const READERS_LOCKED_OUT: Setting =
    Setting { parameter: Some("ReadersLockedOut"), variable: "TRAILSEAL_READERS_LOCKED_OUT" };
pub(crate) const EXEMPT_TAG: Setting = Setting { parameter: Some("ExemptTag"), variable: "TRAILSEAL_EXEMPT_TAG" };
pub(crate) const RESTART_LOGGING: Setting =
    Setting { parameter: Some("RestartLogging"), variable: "TRAILSEAL_RESTART_LOGGING" };
pub(crate) const ORG_TRAIL_OWNER: Setting =
    Setting { parameter: Some("OrgTrailOwner"), variable: "TRAILSEAL_ORG_TRAIL_OWNER" };
pub(crate) const ORGANIZATION_ID: Setting =
    Setting { parameter: Some("OrganizationId"), variable: "TRAILSEAL_ORGANIZATION_ID" };
pub(crate) const ALERT_FORMAT: Setting = Setting { parameter: Some("AlertFormat"), variable: "TRAILSEAL_ALERT_FORMAT" };
const ROLE_ARN: Setting = Setting { parameter: None, variable: "TRAILSEAL_ROLE_ARN" };
const ALERT_TOPIC_ARN: Setting = Setting { parameter: None, variable: "TRAILSEAL_ALERT_TOPIC_ARN" };

/// Whether trailseal changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Reports what it would change.
    DryRun,
    /// Makes the changes.
    Enforce,
}

impl Mode {
    /// As in `TRAILSEAL_MODE` and in the answer.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DryRun => "dry-run",
            Self::Enforce => "enforce",
        }
    }
}

/// What happens to a trail whose external readers would lose access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadersLockedOut {
    /// The trail is encrypted anyway; the dry run named the readers.
    Proceed,
    /// The trail is not changed, and its outcome is `failed`.
    Hold,
}

/// The format of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertFormat {
    /// For email.
    Text,
    /// For Amazon Q Developer in chat applications.
    Chatbot,
}

/// Who may decrypt the logs. Sorted and without duplicates, so that a configuration always gives the
/// same policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogReaders {
    /// Roles and users.
    pub principals: BTreeSet<PrincipalArn>,
    /// Whole accounts.
    pub accounts: BTreeSet<AccountId>,
    /// Whole organizations.
    pub organizations: BTreeSet<OrganizationId>,
    /// Every principal of this account that may read the bucket.
    pub own_account: bool,
}

/// A comma-separated list.
impl FromStr for LogReaders {
    type Err = Malformed;

    fn from_str(list: &str) -> Result<Self, Malformed> {
        let expected = "comma-separated role or user ARNs, 12-digit account IDs, organization IDs (`o-…`) or `account`";
        parse_items(list, ("a list of log readers", expected), |readers: &mut Self, item| {
            readers.own_account |= item == "account";
            item == "account"
                || item.parse().map(|principal| readers.principals.insert(principal)).is_ok()
                || item.parse().map(|account| readers.accounts.insert(account)).is_ok()
                || item.parse().map(|organization| readers.organizations.insert(organization)).is_ok()
        })
    }
}

/// The items of a comma-separated list, without surrounding spaces and empty items.
pub fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Collects the items of a list. Those for which `add` returns false are invalid; the error names them.
fn parse_items<T: Default>(
    list: &str,
    (what, expected): (&'static str, &'static str),
    add: impl Fn(&mut T, &str) -> bool,
) -> Result<T, Malformed> {
    let mut parsed = T::default();
    let invalid: Vec<&str> = items(list).filter(|item| !add(&mut parsed, item)).collect();
    if invalid.is_empty() { Ok(parsed) } else { Err(Malformed::new(what, expected, &invalid.join(", "))) }
}

/// The validated configuration. The README describes every setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `TRAILSEAL_MODE`.
    pub mode: Mode,
    /// `TRAILSEAL_KEY_ALIAS`.
    pub key_alias: KeyAlias,
    /// `TRAILSEAL_KEY_ARNS`, by Region.
    pub supplied_keys: BTreeMap<Region, KeyArn>,
    /// `TRAILSEAL_KEY_TAGS`.
    pub key_tags: BTreeMap<String, String>,
    /// `TRAILSEAL_LOG_READERS`.
    pub log_readers: LogReaders,
    /// `TRAILSEAL_READERS_LOCKED_OUT`.
    pub readers_locked_out: ReadersLockedOut,
    /// `TRAILSEAL_EXEMPT_TAG`.
    pub exempt_tag: String,
    /// `TRAILSEAL_RESTART_LOGGING`.
    pub restart_logging: bool,
    /// `TRAILSEAL_ORG_TRAIL_OWNER`.
    pub org_trail_owner: Option<AccountId>,
    /// `TRAILSEAL_ORGANIZATION_ID`.
    pub organization_id: Option<OrganizationId>,
    /// `TRAILSEAL_ROLE_ARN`; always present in [`Mode::Enforce`].
    pub role_arn: Option<RoleArn>,
    /// `TRAILSEAL_ALERT_TOPIC_ARN`.
    pub alert_topic: Option<TopicArn>,
    /// `TRAILSEAL_ALERT_FORMAT`.
    pub alert_format: AlertFormat,
}

/// Every invalid setting, its value and the accepted form.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid configuration: {}", .0.join("; "))]
pub struct InvalidConfig(Vec<String>);

impl Config {
    /// Reads every variable through `lookup`, which returns `None` for one that is not set. An empty
    /// value counts as not set, because a template cannot omit a variable.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`] lists every invalid setting.
    pub fn parse(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidConfig> {
        let mut settings = Settings { lookup, problems: Vec::new() };
        let modes = [("dry-run", Mode::DryRun), ("enforce", Mode::Enforce)];
        let locked_out = [("proceed", ReadersLockedOut::Proceed), ("hold", ReadersLockedOut::Hold)];
        let restart = [("false", false), ("true", true)];
        let formats = [("text", AlertFormat::Text), ("chatbot", AlertFormat::Chatbot)];
        let exempt_tag = settings.value(EXEMPT_TAG, exempt_tag);
        let config = Self {
            mode: settings.choice(MODE, modes),
            key_alias: settings.value(KEY_ALIAS, str::parse).unwrap_or_default(),
            supplied_keys: settings.value(KEY_ARNS, supplied_keys).unwrap_or_default(),
            key_tags: settings.value(KEY_TAGS, key_tags).unwrap_or_default(),
            log_readers: settings.value(LOG_READERS, str::parse).unwrap_or_default(),
            readers_locked_out: settings.choice(READERS_LOCKED_OUT, locked_out),
            exempt_tag: exempt_tag.unwrap_or_else(|| "trailseal:exempt".into()),
            restart_logging: settings.choice(RESTART_LOGGING, restart),
            org_trail_owner: settings.value(ORG_TRAIL_OWNER, str::parse),
            organization_id: settings.value(ORGANIZATION_ID, str::parse),
            role_arn: settings.value(ROLE_ARN, str::parse),
            alert_topic: settings.value(ALERT_TOPIC_ARN, str::parse),
            alert_format: settings.choice(ALERT_FORMAT, formats),
        };
        if config.mode == Mode::Enforce && settings.text(ROLE_ARN.variable).is_none() {
            // KMS's lockout check: a new key's policy must allow its creator to change the policy.
            settings.problems.push(format!(
                "{ROLE_ARN} is not set (expected the ARN of the function's role, required in `enforce` mode)"
            ));
        }
        if settings.problems.is_empty() { Ok(config) } else { Err(InvalidConfig(settings.problems)) }
    }
}

/// The settings as texts, and the problems so far. An invalid value yields the default, so that the
/// other settings are still checked.
struct Settings<F> {
    lookup: F,
    problems: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Settings<F> {
    fn text(&self, variable: &str) -> Option<String> {
        (self.lookup)(variable).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn value<T>(&mut self, setting: Setting, parse: impl FnOnce(&str) -> Result<T, Malformed>) -> Option<T> {
        let parsed = parse(&self.text(setting.variable)?);
        parsed.map_err(|malformed| self.problems.push(format!("{setting}: {malformed}"))).ok()
    }

    /// One of two words. The first is the default.
    fn choice<T: Copy>(&mut self, setting: Setting, choices: [(&str, T); 2]) -> T {
        let [(first, default), (second, other)] = choices;
        let parse = |text: &str| match text {
            text if text == first => Ok(default),
            text if text == second => Ok(other),
            text => Err(Malformed::new("a valid value", format!("`{first}` or `{second}`"), text)),
        };
        self.value(setting, parse).unwrap_or(default)
    }
}

fn supplied_keys(list: &str) -> Result<BTreeMap<Region, KeyArn>, Malformed> {
    let expected = "comma-separated `arn:aws:kms:REGION:ACCOUNT:key/ID`, at most one key per Region";
    parse_items(list, ("a list of KMS key ARNs", expected), |keys: &mut BTreeMap<Region, KeyArn>, item| {
        let Ok(key) = item.parse::<KeyArn>() else { return false };
        *keys.entry(key.region().clone()).or_insert_with(|| key.clone()) == key
    })
}

/// Limits: <https://docs.aws.amazon.com/kms/latest/developerguide/tagging-keys.html>. KMS accepts 50
/// tags; one is trailseal's own.
fn key_tags(list: &str) -> Result<BTreeMap<String, String>, Malformed> {
    let what = "a list of tags";
    let expected = "at most 49 comma-separated `Key=Value` with unique keys: a key of 1 to 128 and a value of up to \
         256 letters, digits, spaces or `_.:/=+-@`, the key neither `managed-by` nor `aws:…`";
    let tags = parse_items(list, (what, expected), |tags: &mut BTreeMap<String, String>, item| {
        let (key, value) = item.split_once('=').map_or(("", ""), |(key, value)| (key.trim(), value.trim()));
        let allowed = |text: &str| text.chars().all(|c| c.is_alphanumeric() || " _.:/=+-@".contains(c));
        let reserved = key.to_ascii_lowercase().starts_with("aws:") || key == OWNER_TAG.0;
        let fits = (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256;
        let valid = fits && !reserved && allowed(key) && allowed(value);
        valid && tags.insert(key.to_owned(), value.to_owned()).is_none()
    })?;
    let count = tags.len();
    if count <= 49 { Ok(tags) } else { Err(Malformed::new(what, expected, &format!("{count} tags"))) }
}

fn exempt_tag(key: &str) -> Result<String, Malformed> {
    let valid = key.chars().count() <= 128;
    valid.then(|| key.to_owned()).ok_or_else(|| Malformed::new("a tag key", "up to 128 characters", key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(variables: &[(&str, &str)]) -> Result<Config, String> {
        let lookup =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Config::parse(lookup).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_a_dry_run() {
        let config = parse(&[]).unwrap();
        assert_eq!(config.mode, Mode::DryRun);
        assert_eq!(config.key_alias.as_str(), "alias/trailseal");
        assert_eq!(config.exempt_tag, "trailseal:exempt");
        assert_eq!(config.readers_locked_out, ReadersLockedOut::Proceed);
        assert!(!config.restart_logging && config.alert_topic.is_none() && config.supplied_keys.is_empty());
    }

    #[test]
    fn an_empty_value_counts_as_not_set() {
        let empty = [
            ("TRAILSEAL_MODE", ""),
            ("TRAILSEAL_KEY_ALIAS", ""),
            ("TRAILSEAL_KEY_ARNS", " "),
            ("TRAILSEAL_ALERT_TOPIC_ARN", ""),
        ];
        assert_eq!(parse(&empty), parse(&[]));
    }

    #[test]
    fn the_error_lists_every_invalid_setting() {
        let message = parse(&[
            ("TRAILSEAL_MODE", "Enforce"),
            ("TRAILSEAL_KEY_ALIAS", "alias/aws/s3"),
            ("TRAILSEAL_KEY_ARNS", "arn:aws:kms:eu-west-1:123456789012:alias/x"),
            ("TRAILSEAL_KEY_TAGS", "managed-by=me"),
            ("TRAILSEAL_LOG_READERS", "everybody,account,everyone"),
            ("TRAILSEAL_READERS_LOCKED_OUT", "maybe"),
            ("TRAILSEAL_EXEMPT_TAG", &"x".repeat(129)),
            ("TRAILSEAL_RESTART_LOGGING", "yes"),
            ("TRAILSEAL_ORG_TRAIL_OWNER", "12"),
            ("TRAILSEAL_ORGANIZATION_ID", "r-abcd"),
            ("TRAILSEAL_ROLE_ARN", "role"),
            ("TRAILSEAL_ALERT_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:a.fifo"),
            ("TRAILSEAL_ALERT_FORMAT", "html"),
        ])
        .unwrap_err();
        for problem in [
            "`Mode` (`TRAILSEAL_MODE`): `Enforce` is not a valid value (expected `dry-run` or `enforce`)",
            "`KeyAlias` (`TRAILSEAL_KEY_ALIAS`): `alias/aws/s3` is not the alias of a customer managed key (expected",
            "`KeyArns` (`TRAILSEAL_KEY_ARNS`): `arn:aws:kms",
            "`KeyTags` (`TRAILSEAL_KEY_TAGS`): `managed-by=me`",
            "`LogReaders` (`TRAILSEAL_LOG_READERS`): `everybody, everyone` is not a list of log readers",
            "`ReadersLockedOut` (`TRAILSEAL_READERS_LOCKED_OUT`): `maybe` is not a valid value (expected `proceed` or `hold`)",
            "`ExemptTag` (`TRAILSEAL_EXEMPT_TAG`): `xxx",
            "`RestartLogging` (`TRAILSEAL_RESTART_LOGGING`): `yes` is not a valid value (expected `false` or `true`)",
            "`OrgTrailOwner` (`TRAILSEAL_ORG_TRAIL_OWNER`): `12` is not an AWS account ID (expected 12 digits)",
            "`OrganizationId` (`TRAILSEAL_ORGANIZATION_ID`): `r-abcd` is not an organization ID (expected",
            "`TRAILSEAL_ROLE_ARN`: `role` is not an IAM role ARN (expected `arn:aws:iam::ACCOUNT:role/NAME`)",
            "`TRAILSEAL_ALERT_TOPIC_ARN`: `arn:aws:sns",
            "`AlertFormat` (`TRAILSEAL_ALERT_FORMAT`): `html` is not a valid value (expected `text` or `chatbot`)",
        ] {
            assert!(message.contains(problem), "{problem}\nis not in\n{message}");
        }
    }

    #[test]
    fn enforce_requires_the_role() {
        let message = parse(&[("TRAILSEAL_MODE", "enforce")]).unwrap_err();
        assert!(message.contains("`TRAILSEAL_ROLE_ARN` is not set"), "{message}");
        assert!(
            parse(&[("TRAILSEAL_MODE", "enforce"), ("TRAILSEAL_ROLE_ARN", "arn:aws:iam::123456789012:role/r")]).is_ok()
        );
    }

    #[test]
    fn key_arns_are_at_most_one_per_region() {
        let (one, two) = ("arn:aws:kms:eu-west-1:123456789012:key/1", "arn:aws:kms:eu-west-1:999999999999:key/2");
        assert!(
            parse(&[("TRAILSEAL_KEY_ARNS", &format!("{one},{two}"))])
                .unwrap_err()
                .contains("at most one key per Region")
        );
        assert_eq!(parse(&[("TRAILSEAL_KEY_ARNS", &format!("{one}, {one},"))]).unwrap().supplied_keys.len(), 1);
    }

    #[test]
    fn log_readers_are_grouped_by_kind() {
        let readers = parse(&[(
            "TRAILSEAL_LOG_READERS",
            "account, 210987654321,o-abcdefghij, arn:aws:iam::210987654321:role/siem,210987654321",
        )])
        .unwrap()
        .log_readers;
        assert!(readers.own_account);
        assert_eq!((readers.accounts.len(), readers.organizations.len(), readers.principals.len()), (1, 1, 1));
    }

    #[test]
    fn tags_are_unique_and_their_values_may_contain_equals() {
        let config = parse(&[("TRAILSEAL_KEY_TAGS", "team=audit=eu, cost-centre=42")]).unwrap();
        assert_eq!(config.key_tags.get("team").map(String::as_str), Some("audit=eu"));
        assert!(parse(&[("TRAILSEAL_KEY_TAGS", "a=1,a=2")]).is_err());
        assert!(parse(&[("TRAILSEAL_KEY_TAGS", "novalue")]).is_err());
        let tags = |count: u8| (0..count).map(|n| format!("tag{n}=x")).collect::<Vec<_>>().join(",");
        assert!(parse(&[("TRAILSEAL_KEY_TAGS", &tags(49))]).is_ok());
        assert!(parse(&[("TRAILSEAL_KEY_TAGS", &tags(50))]).unwrap_err().contains("`50 tags`"));
    }
}
