//! `trailseal key-policy`: its options.

use std::str::FromStr;

use clap::error::{Error, ErrorKind};
use clap::{ArgGroup, Args, CommandFactory as _};
use trailseal_core::config::{LogReaders, items};
use trailseal_core::ids::{AccountId, Malformed, shorten};

use crate::Cli;
use crate::central_key::CentralKey;

const EXAMPLE: &str = "\
Example:
  trailseal key-policy --account 111122223333 --organization o-abcdefghij > policy.json
  aws kms create-key --region eu-central-1 --policy file://policy.json \\
      --description \"Encrypts the CloudTrail logs of all accounts\" \\
      --tags TagKey=purpose,TagValue=cloudtrail-logs
  aws kms enable-key-rotation --region eu-central-1 --key-id KEY_ID

To change the policy later:
  aws kms put-key-policy --region eu-central-1 --key-id KEY_ID --policy file://policy.json

Do not tag the key managed-by=trailseal. That tag marks the keys that trailseal creates and manages.";

/// Print the policy of one KMS key for the trails of many accounts
///
/// Create the key in one of the accounts, in the Region of the trails' bucket. Then set the parameter KeyArns
/// (TRAILSEAL_KEY_ARNS) of each account's trailseal to the key's ARN. The command works offline: it neither reads from AWS nor
/// changes anything there.
///
/// Specify --organization, --accounts, or both.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE, max_term_width = 100)]
#[command(group(ArgGroup::new("trail_owners").required(true).multiple(true)))]
#[group(skip)]
pub(crate) struct Options {
    // The options are texts here, so that every wrong value is reported at once.
    /// Account that owns the key; its trails can also use the key
    #[arg(long, value_name = "ID")]
    account: String,

    /// Organization (o-...) whose accounts' trails can use the key
    #[arg(long, value_name = "ID", group = "trail_owners", env = "TRAILSEAL_ORGANIZATION_ID", hide_env_values = true)]
    organization: Option<String>,

    /// Other accounts whose trails can use the key, comma-separated
    ///
    /// Accounts outside the organization or, without --organization, all accounts. Include the management account if trailseal in
    /// the key's account sets OrgTrailOwner.
    #[arg(long, value_name = "IDS", group = "trail_owners")]
    accounts: Option<String>,

    /// Who may decrypt the logs, comma-separated, as in LogReaders (TRAILSEAL_LOG_READERS)
    ///
    /// ARNs of roles or users, account IDs, organization IDs, or `account` for every principal in the key's account. Principals of
    /// other accounts also need kms:Decrypt in an IAM policy of their own account.
    #[arg(long, value_name = "LIST", default_value = "", hide_default_value = true)]
    readers: String,

    /// Name of trailseal in each account
    ///
    /// The name of the stack (at most 43 characters) or, for a StackSet, its parameter Name (at most 40). The policy allows the
    /// function of that name to describe the key.
    #[arg(long, default_value = "trailseal")]
    name: String,

    /// AWS partition
    #[arg(long, default_value = "aws")]
    partition: String,
}

impl Options {
    /// The key policy as JSON.
    ///
    /// # Errors
    ///
    /// Every value that is wrong, with what its option accepts, or why there is no such policy.
    pub(crate) fn policy(&self) -> Result<String, Error> {
        let mut problems = Problems::default();
        let account = problems.parse("--account <ID>", &self.account);
        let organization = self.organization.as_ref().map(|id| problems.parse("--organization <ID>", id));
        let accounts: Vec<Option<AccountId>> =
            self.accounts.iter().flat_map(|ids| items(ids)).map(|id| problems.parse("--accounts <IDS>", id)).collect();
        let readers: Option<LogReaders> = problems.parse("--readers <LIST>", &self.readers);
        let name = problems.parse("--name <NAME>", &self.name);
        let partition = problems.parse("--partition <PARTITION>", &self.partition);
        let (Some(account), Some(readers), Some(stack), Some(partition), true) =
            (account, readers, name, partition, problems.0.is_empty())
        else {
            return Err(error(&problems.0.join("\nerror: ")));
        };
        let (organization, accounts) = (organization.flatten(), accounts.into_iter().flatten().collect());
        let key = CentralKey { partition, account, organization, accounts, readers, stack };
        key.policy().map_err(|none| error(&none.to_string()))
    }
}

/// What is wrong with the values of the options.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn parse<T: FromStr<Err = Malformed>>(&mut self, option: &str, value: &str) -> Option<T> {
        value.parse().map_err(|malformed: Malformed| self.add(option, value, malformed.expected())).ok()
    }

    fn add(&mut self, option: &str, value: &str, expected: &str) {
        self.0.push(format!("invalid value '{}' for '{option}': expected {expected}", shorten(value, 160)));
    }
}

fn error(message: &str) -> Error {
    let mut cli = Cli::command();
    cli.build();
    let command = cli.get_subcommands_mut().find(|command| command.get_name() == "key-policy");
    match command {
        Some(command) => command.error(ErrorKind::ValueValidation, message),
        None => Error::raw(ErrorKind::ValueValidation, message),
    }
}
