//! What the binary does if somebody else than Lambda starts it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::str::FromStr;

use lexopt::{Arg, Parser};
use trailseal_core::config::{LogReaders, items};
use trailseal_core::ids::{AccountId, Malformed, Partition, shorten};
use trailseal_core::key_policy::central::{CentralKey, NoPolicy};

const USAGE: &str = "\
trailseal keeps CloudTrail logs encrypted. Started by AWS Lambda, it is the function that does.

usage: trailseal key-policy --account ID [OPTION]...
       trailseal --help | --version

`trailseal key-policy` prints the policy of one KMS key for the trails of many accounts.
`trailseal key-policy --help` says more.
";

const KEY_POLICY_USAGE: &str = "\
Prints the policy of one KMS key for the trails of many accounts, to be created in one of them,
in the Region of the trails' bucket, and named to each account's trailseal by the parameter
KeyArns (TRAILSEAL_KEY_ARNS). Nothing is read from AWS, and nothing is changed there.

usage: trailseal key-policy --account ID [--organization ID] [--accounts IDS]
                            [--readers LIST] [--name NAME] [--partition PARTITION]

  --account ID           the account that the key is in; its trails use the key, too
  --organization ID      the organization (o-...) whose accounts' trails use the key
  --accounts IDS         further accounts whose trails use the key, comma-separated: those
                         outside the organization, or all of them instead of it; and the
                         management account, where the key's account has OrgTrailOwner
  --readers LIST         who may decrypt the logs, comma-separated, as in LogReaders
                         (TRAILSEAL_LOG_READERS): ARNs of roles or users, account ids,
                         organization ids, or `account`: everybody in the key's account.
                         Who is outside the key's account needs its own account's IAM, too
  --name NAME            what trailseal is called in each account: the stack's name or, of a
                         StackSet, its parameter Name. Its function may see the key's state
                         [default: trailseal]
  --partition PARTITION  the AWS partition [default: aws]
  -h, --help             prints this

--organization, --accounts or both are needed.

example:
  trailseal key-policy --account 111122223333 --organization o-abcdefghij > policy.json
  aws kms create-key --region eu-central-1 --policy file://policy.json \\
      --description \"Encrypts the CloudTrail logs of all accounts\" \\
      --tags TagKey=purpose,TagValue=cloudtrail-logs
  aws kms enable-key-rotation --region eu-central-1 --key-id KEY_ID

and to change the policy of the key later:
  aws kms put-key-policy --region eu-central-1 --key-id KEY_ID --policy file://policy.json

Do not tag the key managed-by=trailseal: that marks the keys that trailseal makes and looks after.
";

/// Does what the arguments ask for. What is wrong with them is told, and is exit code 2.
pub(crate) fn run() -> ExitCode {
    match asked(Parser::from_env()) {
        Ok(text) => print(&text),
        Err(problem) => {
            complain(&problem);
            ExitCode::from(2)
        }
    }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: cannot write to standard output: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

fn complain(problem: &str) {
    // Where standard error is closed, nobody can be told.
    let _ = std::io::stderr().lock().write_all(problem.as_bytes());
}

/// What is to be printed, or what is wrong, each line by line.
fn asked(mut arguments: Parser) -> Result<String, String> {
    let wrong = |problem: &str| format!("error: {problem}\nhint: `trailseal --help` says what it takes\n");
    match arguments.next() {
        Ok(Some(Arg::Short('h') | Arg::Long("help"))) => Ok(USAGE.to_owned()),
        Ok(Some(Arg::Short('V') | Arg::Long("version"))) => Ok(format!("trailseal {}\n", env!("CARGO_PKG_VERSION"))),
        Ok(Some(Arg::Value(command))) if command == "key-policy" => key_policy(arguments),
        Ok(Some(other)) => Err(wrong(&unknown("trailseal", &other, "`key-policy`, `--help` or `--version`"))),
        Ok(None) => Err(wrong(
            "nothing to do: Lambda did not start this, and `trailseal` takes `key-policy`, `--help` or `--version`",
        )),
        Err(error) => Err(wrong(&error.to_string())),
    }
}

fn unknown(command: &str, argument: &Arg<'_>, takes: &str) -> String {
    let argument = match argument {
        Arg::Short(letter) => format!("-{letter}"),
        Arg::Long(name) => format!("--{name}"),
        Arg::Value(value) => value.to_string_lossy().into_owned(),
    };
    format!("`{}`: `{command}` takes {takes}", shorten(&argument, 160))
}

const OPTIONS: [&str; 6] = ["account", "organization", "accounts", "readers", "name", "partition"];

/// The values of the options, and what was wrong with them so far. A wrong value counts as none, so
/// that the rest is still read and reported.
#[derive(Default)]
struct Options {
    texts: Vec<(&'static str, String)>,
    problems: Vec<String>,
}

fn key_policy(mut arguments: Parser) -> Result<String, String> {
    let mut options = Options::default();
    loop {
        match arguments.next() {
            Ok(Some(Arg::Short('h') | Arg::Long("help"))) => return Ok(KEY_POLICY_USAGE.to_owned()),
            Ok(Some(argument)) => {
                let known = OPTIONS.into_iter().find(|option| argument == Arg::Long(option));
                let Some(option) = known else {
                    let takes = OPTIONS.map(|option| format!("`--{option}`")).join(", ");
                    options.problems.push(unknown("trailseal key-policy", &argument, &takes));
                    return Err(options.told());
                };
                let Ok(value) = arguments.value() else {
                    options.problems.push(format!("`--{option}` has no value"));
                    return Err(options.told());
                };
                options.take(option, value.to_string_lossy().into_owned());
            }
            Ok(None) => break,
            Err(error) => {
                options.problems.push(error.to_string());
                return Err(options.told());
            }
        }
    }
    let key = options.key();
    match key.filter(|_| options.problems.is_empty()).map(|key| key.policy()) {
        Some(Ok(policy)) => Ok(policy),
        Some(Err(none)) => {
            options.no_policy(&none);
            Err(options.told())
        }
        None => Err(options.told()),
    }
}

impl Options {
    fn take(&mut self, option: &'static str, value: String) {
        if self.text(option).is_some() {
            self.problems.push(format!("`--{option}` is there twice"));
        } else {
            self.texts.push((option, value));
        }
    }

    fn text(&self, option: &str) -> Option<String> {
        self.texts.iter().find(|(name, _)| *name == option).map(|(_, value)| value.clone())
    }

    fn problem(&mut self, option: &str, value: &str, takes: &str) {
        self.problems.push(format!("`--{option}` = `{}`: takes {takes}", shorten(value, 160)));
    }

    fn optional<T: FromStr<Err = Malformed>>(&mut self, option: &str) -> Option<T> {
        let text = self.text(option)?;
        text.parse().map_err(|malformed: Malformed| self.problem(option, &text, malformed.expected())).ok()
    }

    fn accounts(&mut self) -> BTreeSet<AccountId> {
        let text = self.text("accounts").unwrap_or_default();
        let mut accounts = BTreeSet::new();
        for item in items(&text) {
            match item.parse() {
                Ok(account) => drop(accounts.insert(account)),
                Err(_) => self.problem("accounts", item, "12-digit account ids, comma-separated"),
            }
        }
        accounts
    }

    fn readers(&mut self) -> LogReaders {
        self.optional("readers").unwrap_or_default()
    }

    /// None if it is not known which account the key is in.
    fn key(&mut self) -> Option<CentralKey> {
        let account = self.optional("account");
        if self.text("account").is_none() {
            self.problems
                .push("`--account` is not there: it takes the id of the account that the key is in".to_owned());
        }
        if self.text("organization").is_none() && self.text("accounts").is_none() {
            self.no_policy(&NoPolicy::NobodyElse);
        }
        let (organization, accounts) = (self.optional("organization"), self.accounts());
        let (readers, stack) = (self.readers(), self.optional("name").unwrap_or_default());
        let partition = self.optional("partition").unwrap_or_else(Partition::commercial);
        Some(CentralKey { partition, account: account?, organization, accounts, readers, stack })
    }

    fn no_policy(&mut self, why: &NoPolicy) {
        let more = match why {
            NoPolicy::NobodyElse => "; name others by `--organization` or `--accounts`",
            NoPolicy::TooLong { accounts: 1.., .. } => " (`--organization`)",
            NoPolicy::TooLong { .. } | NoPolicy::Json(_) => "",
        };
        self.problems.push(format!("{why}{more}"));
    }

    fn told(&self) -> String {
        let mut told = String::new();
        for problem in &self.problems {
            // Writing to a text does not fail.
            let _ = writeln!(told, "error: {problem}");
        }
        told + "hint: `trailseal key-policy --help` says what each option means\n"
    }
}
