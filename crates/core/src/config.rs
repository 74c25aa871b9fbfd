//! The configuration: texts from the environment, turned into values in one step that reports
//! everything that is wrong at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::ids::{AccountId, KeyAlias, KeyArn, OrganizationId, PrincipalArn, Region, RoleArn, TopicArn, shorten};

/// The tag that says whose key it is: `managed-by` = `trailseal`.
pub const OWNER_TAG: (&str, &str) = ("managed-by", "trailseal");

/// Whether anything may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only say what would be done.
    DryRun,
    /// Do it.
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

/// What to do with a trail whose readers would lose access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadersLockedOut {
    /// Seal it; dry-run has named them.
    Proceed,
    /// Leave it as it is and fail.
    Hold,
}

/// How an alert is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertFormat {
    /// For e-mail.
    Text,
    /// For Amazon Q Developer in chat applications.
    Chatbot,
}

/// Who may decrypt the logs. Sorted and without repetition, so that one configuration always gives
/// one policy.
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

impl LogReaders {
    /// What a list of readers is made of.
    pub const TAKES: &'static str =
        "ARNs of roles or users, 12-digit account ids, organization ids (`o-…`) or `account`, comma-separated";

    /// Reads a list of readers. Beside them: the items that are none.
    #[must_use]
    pub fn read(list: &str) -> (Self, Vec<&str>) {
        let (mut readers, mut wrong) = (Self::default(), Vec::new());
        for item in items(list) {
            if item == "account" {
                readers.own_account = true;
            } else if let Ok(principal) = item.parse() {
                readers.principals.insert(principal);
            } else if let Ok(account) = item.parse() {
                readers.accounts.insert(account);
            } else if let Ok(organization) = item.parse() {
                readers.organizations.insert(organization);
            } else {
                wrong.push(item);
            }
        }
        (readers, wrong)
    }
}

/// The items of a comma-separated list. Spaces around one do not count, and an empty one is none.
pub fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// The validated configuration. Every variable is described in the README.
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
    /// `TRAILSEAL_ROLE_ARN`; always there in [`Mode::Enforce`].
    pub role_arn: Option<RoleArn>,
    /// `TRAILSEAL_ALERT_TOPIC_ARN`.
    pub alert_topic: Option<TopicArn>,
    /// `TRAILSEAL_ALERT_FORMAT`.
    pub alert_format: AlertFormat,
}

/// Everything that is wrong with the configuration, one variable a line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct InvalidConfig(Vec<String>);

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration is not usable: {}", self.0.join("; "))
    }
}

impl Config {
    /// Reads every variable through `lookup`, which gives `None` for one that is not set. An empty
    /// value counts as not set, since a template cannot leave a variable out.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`] names every wrong variable, its value and what it takes.
    pub fn parse(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidConfig> {
        let mut source = Source { lookup, problems: Vec::new() };
        let config = Self {
            mode: source.choice(
                "TRAILSEAL_MODE",
                &[("dry-run", Mode::DryRun), ("enforce", Mode::Enforce)],
                Mode::DryRun,
            ),
            key_alias: source.key_alias(),
            supplied_keys: source.supplied_keys(),
            key_tags: source.key_tags(),
            log_readers: source.log_readers(),
            readers_locked_out: source.choice(
                "TRAILSEAL_READERS_LOCKED_OUT",
                &[("proceed", ReadersLockedOut::Proceed), ("hold", ReadersLockedOut::Hold)],
                ReadersLockedOut::Proceed,
            ),
            exempt_tag: source.exempt_tag(),
            restart_logging: source.choice("TRAILSEAL_RESTART_LOGGING", &[("false", false), ("true", true)], false),
            org_trail_owner: source.optional("TRAILSEAL_ORG_TRAIL_OWNER"),
            role_arn: source.optional("TRAILSEAL_ROLE_ARN"),
            alert_topic: source.optional("TRAILSEAL_ALERT_TOPIC_ARN"),
            alert_format: source.choice(
                "TRAILSEAL_ALERT_FORMAT",
                &[("text", AlertFormat::Text), ("chatbot", AlertFormat::Chatbot)],
                AlertFormat::Text,
            ),
        };
        if config.mode == Mode::Enforce && source.text("TRAILSEAL_ROLE_ARN").is_none() {
            let why = "a new key's policy names it, as KMS's lock-out check wants";
            source.problems.push(format!("`TRAILSEAL_ROLE_ARN` is not set; `TRAILSEAL_MODE` = `enforce` needs the ARN of the function's own role: {why}"));
        }
        if source.problems.is_empty() { Ok(config) } else { Err(InvalidConfig(source.problems)) }
    }
}

/// The texts, and what was wrong with them so far. A wrong value yields the default, so that the
/// rest is still read and reported.
struct Source<F> {
    lookup: F,
    problems: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Source<F> {
    fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn list(&self, name: &str) -> Vec<String> {
        items(&self.text(name).unwrap_or_default()).map(str::to_owned).collect()
    }

    fn problem(&mut self, name: &str, value: &str, takes: &str) {
        self.problems.push(format!("`{name}` = `{}`: takes {takes}", shorten(value, 160)));
    }

    fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)], default: T) -> T {
        let Some(text) = self.text(name) else { return default };
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            return *value;
        }
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
        self.problem(name, &text, &words.join(" or "));
        default
    }

    fn optional<T: FromStr<Err = crate::ids::Malformed>>(&mut self, name: &str) -> Option<T> {
        let text = self.text(name)?;
        text.parse().map_err(|malformed: T::Err| self.problem(name, &text, malformed.expected())).ok()
    }

    fn key_alias(&mut self) -> KeyAlias {
        self.optional("TRAILSEAL_KEY_ALIAS").unwrap_or_else(KeyAlias::of_trailseal)
    }

    fn supplied_keys(&mut self) -> BTreeMap<Region, KeyArn> {
        let name = "TRAILSEAL_KEY_ARNS";
        let mut keys = BTreeMap::new();
        for text in self.list(name) {
            match text.parse::<KeyArn>() {
                Ok(arn) => match keys.get(arn.region()) {
                    Some(other) if *other != arn => self.problem(
                        name,
                        &text,
                        &format!("at most one key a Region, and `{other}` is in `{}` too", arn.region()),
                    ),
                    _ => drop(keys.insert(arn.region().clone(), arn)),
                },
                Err(malformed) => {
                    self.problem(name, &text, &format!("key ARNs, comma-separated: {}", malformed.expected()))
                }
            }
        }
        keys
    }

    /// Limits: <https://docs.aws.amazon.com/kms/latest/developerguide/tagging-keys.html>.
    fn key_tags(&mut self) -> BTreeMap<String, String> {
        let name = "TRAILSEAL_KEY_TAGS";
        let mut tags = BTreeMap::new();
        for text in self.list(name) {
            let (key, value) = text.split_once('=').map_or(("", ""), |(key, value)| (key.trim(), value.trim()));
            let allowed = |text: &str| text.chars().all(|c| c.is_alphanumeric() || " _.:/=+-@".contains(c));
            let reserved = key.to_ascii_lowercase().starts_with("aws:") || key == OWNER_TAG.0;
            let fits = (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256;
            if !fits || reserved || !allowed(key) || !allowed(value) {
                self.problem(name, &text, "`Key=Value,…`: a key of 1 to 128 and a value of up to 256 letters, digits, spaces or `_.:/=+-@`, the key neither `managed-by` nor `aws:…`");
            } else if tags.insert(key.to_owned(), value.to_owned()).is_some() {
                self.problem(name, &text, "each key once");
            }
        }
        // KMS takes 50 tags; one is trailseal's own.
        if tags.len() > 49 {
            self.problem(name, &format!("{} tags", tags.len()), "at most 49 tags");
        }
        tags
    }

    fn log_readers(&mut self) -> LogReaders {
        let name = "TRAILSEAL_LOG_READERS";
        let text = self.text(name).unwrap_or_default();
        let (readers, wrong) = LogReaders::read(&text);
        for item in wrong {
            self.problem(name, item, LogReaders::TAKES);
        }
        readers
    }

    fn exempt_tag(&mut self) -> String {
        let name = "TRAILSEAL_EXEMPT_TAG";
        let tag = self.text(name).unwrap_or_else(|| "trailseal:exempt".into());
        if tag.chars().count() > 128 {
            self.problem(name, &tag, "a tag's key of up to 128 characters");
        }
        tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(variables: &[(&str, &str)]) -> Result<Config, String> {
        let lookup =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Config::parse(lookup).map_err(|problems| problems.to_string())
    }

    #[test]
    fn nothing_set_is_a_dry_run_with_safe_defaults() {
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
    fn every_wrong_variable_is_named_with_its_value_and_what_it_takes() {
        let message = parse(&[
            ("TRAILSEAL_MODE", "Enforce"),
            ("TRAILSEAL_KEY_ALIAS", "alias/aws/s3"),
            ("TRAILSEAL_KEY_ARNS", "arn:aws:kms:eu-west-1:123456789012:alias/x"),
            ("TRAILSEAL_KEY_TAGS", "managed-by=me"),
            ("TRAILSEAL_LOG_READERS", "everybody"),
            ("TRAILSEAL_READERS_LOCKED_OUT", "maybe"),
            ("TRAILSEAL_EXEMPT_TAG", &"x".repeat(129)),
            ("TRAILSEAL_RESTART_LOGGING", "yes"),
            ("TRAILSEAL_ORG_TRAIL_OWNER", "12"),
            ("TRAILSEAL_ROLE_ARN", "role"),
            ("TRAILSEAL_ALERT_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:a.fifo"),
            ("TRAILSEAL_ALERT_FORMAT", "html"),
        ])
        .unwrap_err();
        for wrong in [
            "`TRAILSEAL_MODE` = `Enforce`: takes `dry-run` or `enforce`",
            "`TRAILSEAL_KEY_ALIAS` = `alias/aws/s3`",
            "`TRAILSEAL_KEY_ARNS` = `arn:aws:kms",
            "`TRAILSEAL_KEY_TAGS` = `managed-by=me`",
            "`TRAILSEAL_LOG_READERS` = `everybody`",
            "`TRAILSEAL_READERS_LOCKED_OUT` = `maybe`: takes `proceed` or `hold`",
            "`TRAILSEAL_EXEMPT_TAG` = `xxx",
            "`TRAILSEAL_RESTART_LOGGING` = `yes`: takes `false` or `true`",
            "`TRAILSEAL_ORG_TRAIL_OWNER` = `12`: takes 12 digits",
            "`TRAILSEAL_ROLE_ARN` = `role`: takes `arn:aws:iam::ACCOUNT:role/NAME`",
            "`TRAILSEAL_ALERT_TOPIC_ARN` = `arn:aws:sns",
            "`TRAILSEAL_ALERT_FORMAT` = `html`: takes `text` or `chatbot`",
        ] {
            assert!(message.contains(wrong), "{wrong}\nis not in\n{message}");
        }
    }

    #[test]
    fn enforce_needs_the_role() {
        let message = parse(&[("TRAILSEAL_MODE", "enforce")]).unwrap_err();
        assert!(message.contains("`TRAILSEAL_ROLE_ARN` is not set"), "{message}");
        assert!(
            parse(&[("TRAILSEAL_MODE", "enforce"), ("TRAILSEAL_ROLE_ARN", "arn:aws:iam::123456789012:role/r")]).is_ok()
        );
    }

    #[test]
    fn one_key_a_region_and_the_same_key_twice_is_one() {
        let (one, two) = ("arn:aws:kms:eu-west-1:123456789012:key/1", "arn:aws:kms:eu-west-1:999999999999:key/2");
        assert!(
            parse(&[("TRAILSEAL_KEY_ARNS", &format!("{one},{two}"))]).unwrap_err().contains("at most one key a Region")
        );
        assert_eq!(parse(&[("TRAILSEAL_KEY_ARNS", &format!("{one}, {one},"))]).unwrap().supplied_keys.len(), 1);
    }

    #[test]
    fn readers_are_sorted_into_their_kinds() {
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
    fn a_tags_value_may_hold_an_equals_sign_and_a_key_comes_once() {
        let config = parse(&[("TRAILSEAL_KEY_TAGS", "team=audit=eu, cost-centre=42")]).unwrap();
        assert_eq!(config.key_tags.get("team").map(String::as_str), Some("audit=eu"));
        assert!(parse(&[("TRAILSEAL_KEY_TAGS", "a=1,a=2")]).is_err());
        assert!(parse(&[("TRAILSEAL_KEY_TAGS", "novalue")]).is_err());
    }
}
