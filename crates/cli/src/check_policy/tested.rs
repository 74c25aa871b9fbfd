//! A policy under test, and what it is evaluated with: its trails, its key and its bucket, and where its statements are.

use trailseal_core::access::{LogFiles, LogFolder, named_key, named_trails};
use trailseal_core::iam::{Decision, Document, Reason, StatementId, UNRESOLVED};
use trailseal_core::ids::{KeyArn, OrganizationId, TrailArn, shorten};

use super::node::Node;
use super::result::{Found, Help, Location};
use super::rules::{Level, Rule};
use super::source::{FileTrail, Place, Policy, PolicyKind, Unresolved};

/// A policy under test, which can be evaluated.
pub(super) struct TestedPolicy<'a> {
    pub(super) place: &'a Place,
    pub(super) file: &'a str,
    pub(super) policy: &'a Policy,
    pub(super) document: Document,
    /// The key, or an example of one.
    pub(super) key: KeyArn,
    /// At least one.
    pub(super) trails: Vec<TrailArn>,
    /// Whether the trail is an example, because neither an option nor the policy names one.
    pub(super) is_example: bool,
    folder: LogFolder,
}

impl<'a> TestedPolicy<'a> {
    /// Fails with the result if the document is not a policy.
    pub(super) fn new(place: &'a Place, file: &'a str, policy: &'a Policy) -> Result<Self, Found> {
        let document = match Document::parse(&policy.document.json()) {
            Ok(document) => document,
            Err(error) => {
                let place = location(file, policy, None);
                return Err(found(Rule::PolicyMalformed, place, reason(&error.to_string()), None));
            }
        };
        let Place { partition, region, account, .. } = place;
        let folder = LogFolder::named_by(&document);
        let named = || named_key(&document, account, region).filter(|_| policy.kind == PolicyKind::Key);
        let key = policy.key.clone().or_else(named);
        let key = key.unwrap_or_else(|| KeyArn::placeholder(partition, region, account));
        let trails = if place.trails.is_empty() { trails(place, policy, &document) } else { place.trails.clone() };
        let example = format!("arn:{partition}:cloudtrail:{region}:{account}:trail/example").parse();
        let is_example = trails.is_empty();
        let trails = if is_example { example.into_iter().collect() } else { trails };
        Ok(Self { place, file, policy, document, key, trails, is_example, folder })
    }

    /// The organization of a trail's account, if it is known.
    pub(super) fn organization(&self, trail: &TrailArn) -> Option<&'a OrganizationId> {
        self.place.organization.as_ref().filter(|_| *trail.account() == self.place.account)
    }

    /// The log files of a trail in the bucket of the policy.
    pub(super) fn files<'b>(&'b self, trail: &'b TrailArn) -> LogFiles<'b> {
        let bucket = self.policy.bucket.as_deref().or(self.folder.bucket.as_deref()).unwrap_or("example-bucket");
        let own = self.policy.trails.iter().find(|own| own.name == *trail.name()).and_then(|own| own.prefix.as_deref());
        let prefix = own.or(self.folder.prefix.as_deref());
        LogFiles {
            organization: self.folder.organization,
            organization_id: self.organization(trail),
            ..LogFiles::new(bucket, prefix, trail)
        }
    }

    /// A trail of an account that has nothing to do with the policy, which may have any name.
    pub(super) fn foreign_trail(&self) -> Option<TrailArn> {
        let trail = self.trails.first()?;
        let text = self.document.text();
        let accounts = ["999999999999", "888888888888", "777777777777", "666666666666"];
        let account = accounts.into_iter().find(|it| *it != self.place.account.as_str() && !text.contains(it))?;
        let foreign =
            format!("arn:{}:cloudtrail:{}:{account}:trail/{}", trail.partition(), trail.region(), trail.name());
        foreign.parse().ok()
    }

    /// A result about a statement, or about the policy.
    pub(super) fn found(&self, rule: Rule, at: Option<&StatementId>, message: String, help: Option<Help>) -> Found {
        let message = self.shown(message);
        found(rule, location(self.file, self.policy, at), message, help)
    }

    /// A text with the file's expressions instead of their stand-ins.
    pub(super) fn shown(&self, text: String) -> String {
        let shown = |text: String, open: &Unresolved| text.replace(&open.stand_in, &open.shown());
        self.policy.unresolved.iter().fold(text, shown)
    }

    /// A trail in a message.
    pub(super) fn trail_name(&self, trail: &TrailArn) -> String {
        if self.is_example { format!("a trail of account {}", trail.account()) } else { format!("trail `{trail}`") }
    }

    /// The statements that are malformed in every case, so that AWS rejects the policy.
    pub(super) fn malformed(&self) -> impl Iterator<Item = Found> {
        let statements = self.document.statements().iter().enumerate();
        let node = |index| statements_of(self.policy).get(index);
        statements.filter_map(move |(index, statement)| {
            let why = statement.malformed()?;
            let is_open = node(index).is_some_and(|it| {
                let effect = it.get("Effect").and_then(Node::text);
                it.text().or(effect).is_some_and(|text| text.starts_with(UNRESOLVED))
            });
            let at = StatementId { index, sid: statement.sid().map(str::to_owned) };
            let message = format!("{at} is malformed: {}", reason(why));
            (!is_open).then(|| self.found(Rule::PolicyMalformed, Some(&at), message, None))
        })
    }

    /// What would decide: the options and the file's expressions, with their lines.
    pub(super) fn unresolved_help(&self) -> Option<Help> {
        let needs_organization =
            self.place.organization.is_none() && self.document.text().to_ascii_lowercase().contains("aws:sourceorgid");
        if needs_organization {
            return Some(Help::new("the policy depends on the organization: specify --organization"));
        }
        let open = self.policy.unresolved.iter().take(10).map(|it| format!("`{}` (line {})", it.expression, it.line));
        let open: Vec<String> = open.collect();
        (!open.is_empty()).then(|| Help::new(format!("the file does not determine {}", open.join(", "))))
    }
}

/// The trails that the file or the policy names.
fn trails(place: &Place, policy: &Policy, document: &Document) -> Vec<TrailArn> {
    let Place { partition, account, region, .. } = place;
    let named = named_trails(document, account, region);
    if policy.trails.is_empty() {
        return named;
    }
    // A file names the trail, and a policy also its Region.
    let region = named.first().map_or(region, TrailArn::region);
    let own = |FileTrail { name, .. }: &FileTrail| match named.iter().find(|trail| trail.name() == name) {
        Some(trail) => trail.clone(),
        None => TrailArn::new(partition, region, account, name.clone()),
    };
    policy.trails.iter().map(own).collect()
}

fn found(rule: Rule, place: Location, message: String, help: Option<Help>) -> Found {
    Found { rule, level: rule.level(), place, message: shorten(&message, 2000), help }
}

impl Found {
    pub(super) fn with_level(self, level: Level) -> Self {
        Self { level, ..self }
    }
}

/// A reason without the position in the JSON that the parser read, which is not the file.
fn reason(why: &str) -> String {
    shorten(why.split(" at line ").next().unwrap_or_default(), 300)
}

fn statements_of(policy: &Policy) -> &[Node] {
    policy.document.get("Statement").map(Node::elements).unwrap_or_default()
}

fn location(file: &str, policy: &Policy, at: Option<&StatementId>) -> Location {
    let statement = at.and_then(|at| statements_of(policy).get(at.index));
    Location {
        file: file.to_owned(),
        line: statement.unwrap_or(&policy.document).line,
        resource: policy.resource.as_deref().map(|resource| shorten(resource, 300)),
        sid: at.and_then(|at| at.sid.as_deref()).map(|sid| shorten(sid, 80)),
    }
}

/// The statement that decides, or that comes nearest to allowing.
pub(super) fn deciding(decision: &Decision) -> Option<&StatementId> {
    match decision {
        Decision::Allowed(statement) | Decision::Delegated(statement) | Decision::ExplicitDeny(statement) => {
            Some(statement)
        }
        Decision::ImplicitDeny(reasons) => Reason::nearest(reasons).next().and_then(|reason| reason.statement.as_ref()),
        Decision::Unknown(reasons) => reasons.iter().find_map(|reason| reason.statement.as_ref()),
    }
}

/// The decision in words, with the reasons of the nearest statement only.
pub(super) fn because(decision: &Decision) -> String {
    let reasons = match decision {
        Decision::ImplicitDeny(reasons) => Decision::ImplicitDeny(Reason::nearest(reasons).cloned().collect()),
        Decision::Unknown(reasons) => Decision::Unknown(reasons.iter().take(3).cloned().collect()),
        other => other.clone(),
    };
    let text = reasons.to_string();
    shorten(text.strip_prefix("unknown: ").unwrap_or(&text), 700)
}
