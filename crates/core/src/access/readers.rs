//! Which readers of a trail's log files cannot decrypt them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::access::cloudtrail_bucket::over_tls;
use crate::access::decrypt::{DecryptBarrier, Key};
use crate::access::log_files::{Example, LogFiles, Presence, resources};
use crate::access::principal_set::{
    PrincipalKind, PrincipalSet, external_principals, own_principals, singled_out_principals,
};
use crate::iam::parts::{Applies, Matches, Statements};
use crate::iam::{Caller, Context, Document, Statement, StatementId};
use crate::ids::{AccountId, KeyArn, Partition, shorten};

/// Principals that a bucket policy allows to read and a key policy does not allow to decrypt with the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedOutReader {
    /// The principals as the bucket policy names them: an ARN or a pattern of ARNs, an account's ID, an organization
    /// or a part of it, a service, a canonical user, `*`.
    pub reader: String,
    /// As `LogReaders` names them. `None`: it cannot name them.
    pub log_reader: Option<String>,
    /// The statement of the bucket policy that allows them to read.
    pub statement: StatementId,
    /// Whether it certainly does.
    pub reads_certainly: bool,
    /// Why they cannot decrypt.
    pub barrier: DecryptBarrier,
    /// Whether they are certainly locked out; otherwise possibly, or only some of them.
    pub certain: bool,
}

/// Every principal outside `account` that a bucket policy may allow to read these log files, and that a key policy
/// does not allow to decrypt them with the key, through S3. Sorted by name, each once. If the key policy is unknown (`None`),
/// nothing is certain.
///
/// Principals of the account itself are never listed, because their IAM policies, which trailseal does not read, decide.
/// Grants of the key do not show in its policy.
pub fn locked_out_readers(
    bucket_policy: &Document,
    files: &LogFiles<'_>,
    key_policy: Option<&Document>,
    key: &KeyArn,
    account: &AccountId,
) -> Vec<LockedOutReader> {
    let key = Key::new(key_policy, key, account);
    // CloudTrail's own Allow names the organization.
    let named: Vec<&str> = bucket_policy.statements().iter().filter(|it| it.is_allow()).flat_map(resources).collect();
    let organization = files.organization_among(&named);
    let mut denies = Denies::new(bucket_policy);
    let exempt: Vec<PrincipalSet> =
        bucket_policy.statements().iter().flat_map(exempt_principals).filter(|one| !one.is_of(account)).collect();
    let mut found: BTreeMap<String, LockedOutReader> = BTreeMap::new();
    let mut barriers: BTreeMap<String, Option<DecryptBarrier>> = BTreeMap::new();
    for (id, statement) in bucket_policy.identified() {
        let readers = external_principals(statement, account);
        if readers.is_empty() {
            continue;
        }
        let resolve = |denies: &mut Denies, context: &Context| {
            let named: Vec<Cow<'_, str>> = resources(statement).map(|it| context.expand(it)).collect();
            let named: Vec<&str> = named.iter().map(AsRef::as_ref).collect();
            let examples = files.examples(&organization, &named);
            StatementReads::new(denies, id.clone(), Statements::one(bucket_policy, statement), &examples, context)
        };
        let of_any_account = resolve(&mut denies, &Context::new());
        let mut of_accounts: BTreeMap<String, StatementReads> = BTreeMap::new();
        let binds_account = bucket_policy.has_variables()
            && resources(statement).any(|it| it.to_ascii_lowercase().contains(OWN_ACCOUNT));
        // A Deny can exempt individual members.
        let is_everyone = |set: &PrincipalSet| set.has_many() || set.kind == PrincipalKind::Everyone;
        let sets: Vec<&PrincipalSet> = readers.iter().filter(|set| is_everyone(set)).collect();
        let members =
            exempt.iter().filter_map(|one| Some(one.within(sets.iter().find(|set| set.may_single_out(one))?)));
        let members: Vec<PrincipalSet> = members.collect();
        for principals in readers.into_iter().chain(members) {
            let account = principals.example_account();
            if binds_account && of_accounts.len() < MAX_ACCOUNTS && !of_accounts.contains_key(account) {
                let of_account = Context::new().with("aws:PrincipalAccount", account);
                of_accounts.insert(account.to_owned(), resolve(&mut denies, &of_account));
            }
            let reads = of_accounts.get(account).unwrap_or(&of_any_account);
            let reads_certainly = match reads.reads(&mut denies, key.arn.partition(), &principals) {
                Applies::No => continue,
                reads => reads == Applies::Certainly,
            };
            let barrier = barriers.entry(format!("{principals:?}")).or_insert_with(|| key.decrypt_barrier(&principals));
            let Some(barrier) = barrier.clone() else { continue };
            let reader = reads.locked_out(principals, reads_certainly, barrier);
            let known = found.entry(reader.reader.clone()).or_insert_with(|| reader.clone());
            if reader.certain && !known.certain {
                *known = reader;
            }
        }
    }
    found.into_values().collect()
}

/// The principals of the account itself that a bucket policy names and may allow to read these log files, by name. Their
/// own IAM policies must allow them to decrypt.
pub fn account_readers(bucket_policy: &Document, files: &LogFiles<'_>, account: &AccountId) -> Vec<String> {
    let mut denies = Denies::new(bucket_policy);
    let mut readers = BTreeSet::new();
    for (id, statement) in bucket_policy.identified() {
        let named = own_principals(statement, account);
        if named.is_empty() {
            continue;
        }
        let resources: Vec<&str> = resources(statement).collect();
        let examples = files.examples(&files.organization_among(&resources), &resources);
        let statement = Statements::one(bucket_policy, statement);
        let reads = StatementReads::new(&mut denies, id, statement, &examples, &Context::new());
        let partition = files.trail.partition();
        let named = named.into_iter().filter(|one| reads.reads(&mut denies, partition, one) != Applies::No);
        readers.extend(named.map(|one| one.name));
    }
    readers.into_iter().collect()
}

/// The principals that a statement singles out. AWS requires that `NotPrincipal` also names the account of a role or user,
/// which exempts no other principal of it.
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html>.
fn exempt_principals(statement: &Statement) -> Vec<PrincipalSet> {
    let mut exempt = singled_out_principals(statement);
    let is_one = |set: &PrincipalSet| matches!(set.kind, PrincipalKind::One(_));
    let of_one: BTreeSet<String> =
        exempt.iter().filter(|set| is_one(set)).map(|set| set.example_account().to_owned()).collect();
    exempt.retain(|set| is_one(set) || !of_one.contains(set.example_account()));
    exempt
}

/// The actions that read an object, or one of its versions.
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>.
const READS: [&str; 2] = ["s3:GetObject", "s3:GetObjectVersion"];

/// The statements that may deny reading: every Deny, and every malformed statement.
struct Denies {
    statements: Statements,
    actions: [Matches; 2],
    objects: BTreeMap<String, Matches>,
    principals: BTreeMap<String, Matches>,
    /// Whether the policy has unsupported elements, which make every decision unknown.
    any_unknown: bool,
}

impl Denies {
    fn new(bucket_policy: &Document) -> Self {
        let statements = Statements::select(bucket_policy, |statement| !statement.is_allow());
        let actions = READS.map(|action| statements.match_action(action));
        let any_unknown = !bucket_policy.unsupported().is_empty();
        Self { statements, actions, objects: BTreeMap::new(), principals: BTreeMap::new(), any_unknown }
    }

    /// The same principals can be readers by many statements.
    fn match_principals(&mut self, principals: &PrincipalSet, caller: &Caller, context: &Context) -> Matches {
        let matches = self.principals.entry(format!("{principals:?}"));
        matches.or_insert_with(|| self.statements.match_caller(caller, context)).clone()
    }

    fn match_object(&mut self, object: &str) -> Matches {
        let matches = self.objects.get(object).cloned();
        matches.unwrap_or_else(|| {
            let matches = self.statements.match_resource(object, &Context::new());
            self.objects.insert(object.to_owned(), matches.clone());
            matches
        })
    }
}

/// The folder of the reader's own account, in a `Resource` in lower case, up to a default value.
const OWN_ACCOUNT: &str = "${aws:principalaccount";

/// The most accounts whose own folders are evaluated for one statement.
const MAX_ACCOUNTS: usize = 20;

/// The most examples that are evaluated for one statement.
const MAX_EXAMPLES: usize = 40;

/// What one statement of a bucket policy allows to read.
struct StatementReads {
    id: StatementId,
    statement: Statements,
    /// How the statement, and then every Deny, matches each read of an example. Examples that the policy does not tell
    /// apart are one. The last part is whether the trail may have no such files.
    reads: BTreeSet<(Matches, Matches, bool)>,
    /// Whether it names more accounts or Regions than are evaluated.
    is_partial: bool,
}

impl StatementReads {
    fn new(
        denies: &mut Denies,
        id: StatementId,
        statement: Statements,
        examples: &[Example],
        context: &Context,
    ) -> Self {
        let actions = READS.map(|action| statement.match_action(action));
        let mut reads = BTreeSet::new();
        for example in examples.iter().take(MAX_EXAMPLES) {
            let (allowed, denied) =
                (statement.match_resource(&example.object, context), denies.match_object(&example.object));
            let optional = example.presence == Presence::Possible;
            let read = |(allow, deny)| (allowed.and(allow), denied.and(deny), optional);
            reads.extend(actions.iter().zip(&denies.actions).map(read));
        }
        let id = StatementId { sid: id.sid.as_deref().map(|sid| shorten(sid, 80)), ..id };
        Self { id, statement, reads, is_partial: examples.len() > MAX_EXAMPLES }
    }

    /// The principals, which the statement may allow to read and which may be unable to decrypt.
    fn locked_out(&self, principals: PrincipalSet, reads_certainly: bool, barrier: DecryptBarrier) -> LockedOutReader {
        let certain = principals.kind != PrincipalKind::Unknown && barrier.is_certain() && reads_certainly;
        let (statement, log_reader) = (self.id.clone(), principals.log_reader());
        LockedOutReader { reader: principals.name, log_reader, statement, reads_certainly, barrier, certain }
    }

    /// Whether the statement allows the principals to read an example, and no Deny denies it.
    fn reads(&self, denies: &mut Denies, partition: &Partition, principals: &PrincipalSet) -> Applies {
        let caller = principals.example(partition);
        let context = read_context(principals, &caller);
        let denied = denies.match_principals(principals, &caller, &context);
        let allows = self.statement.match_caller(&caller, &principals.selected_context(context));
        let decide = |(allow, deny, optional): &(Matches, Matches, bool)| match denied.applies_with(deny) {
            _ if denies.any_unknown => Applies::Possibly,
            Applies::Certainly => Applies::No,
            Applies::No if !optional => allows.applies_with(allow),
            _ => allows.applies_with(allow).min(Applies::Possibly),
        };
        let reads = self.reads.iter().map(decide).max().unwrap_or(Applies::No);
        if self.is_partial { reads.max(Applies::Possibly) } else { reads }
    }
}

/// Whether a key policy, if it is known, certainly allows no principal of another account anything.
pub fn excludes_other_accounts(key_policy: Option<&Document>, account: &AccountId) -> bool {
    let is_service = |set: &PrincipalSet| matches!(set.kind, PrincipalKind::Service(_));
    key_policy.is_some_and(|policy| {
        policy.unsupported().is_empty()
            && policy.statements().iter().flat_map(|it| external_principals(it, account)).all(|set| is_service(&set))
    })
}

/// What is known about a request to read an object.
///
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>.
fn read_context(principals: &PrincipalSet, caller: &Caller) -> Context {
    over_tls(principals.common_context(caller))
        // CloudTrail's objects have no tags, and the other keys are those of lists.
        .without_any("s3:ExistingObjectTag/")
        .without("s3:prefix")
        .without("s3:delimiter")
        .without("s3:max-keys")
}
