//! The fleet's part of the page: the model, its month's cost and its rates.

use super::{
    price::{CPU_SHARE, Line, number, total},
    rates::Quota,
    tally::Tally,
};

/// What there is to tell.
pub struct Told<'a> {
    /// The ordinary day of the whole fleet.
    pub ordinary: &'a Tally,
    /// The roll-out of the whole fleet.
    pub roll_out: &'a Tally,
    /// How many accounts' days were played: of the ordinary day, and of the roll-out.
    pub played: [usize; 2],
    /// What a month of ordinary days costs.
    pub bill: &'a [Line],
    /// How long a call is taken to wait on AWS, in milliseconds.
    pub latency: u128,
}

/// The section.
pub fn section(told: &Told<'_>) -> String {
    let Told { ordinary, roll_out, played, .. } = told;
    let accounts = number(ordinary.accounts as f64);
    let rest = if *played == [ordinary.accounts; 2] {
        "All of it was played.".to_owned()
    } else {
        format!(
            "Of it,\n{} accounts' ordinary days and {} accounts' roll-outs were played, as many as the time allowed; the rest is \
             scaled up\nfrom them, which is exact for counts.",
            number(played[0] as f64),
            number(played[1] as f64)
        )
    };
    [
        format!(
            "\n## A fleet\n\nA model: {accounts} accounts of an organization, each with trailseal in enforce mode in one Region, \
             played event by event, each\nin a cold process: events of one account are hours apart. {rest}\n\n"
        ),
        MODEL.to_owned(),
        month(told),
        in_one_account(ordinary, roll_out),
        together(ordinary, roll_out),
    ]
    .concat()
}

const MODEL: &str = "\
The accounts come in blocks of 20, each like the next. Every account also sees the organization's trail, which is another
account's to seal.

| of 20 accounts | have | their ordinary day |
|---|---|---|
| 13 | no trail of their own | |
| 5 | one multi-Region trail | one event that changes nothing; and an incident, in each another: a trail created without a key; the key taken off the trail; the trail stopped, and started again by its owner; the trail's key disabled; that key given another policy |
| 1 | a trail, a bucket and a key in each of 5 Regions | one event that changes nothing |
| 1 | two multi-Region trails in one bucket, one of which lost its key unheard | the sweep mends it; one event that changes nothing |
| all | | one sweep; 10 `PutKeyPolicy` on keys that no trail uses, since the rule passes those of any key; in 2 of 20, one of these delivered twice; what the function changes in its own Region comes back as an event |

That is on the heavy side: something happens to the trails of 6 accounts in 20 every day. On the day of the roll-out every
account is swept for the first time, all trails are unencrypted and there is no key yet. A figure stands only if every answer
was the expected one, CloudTrail throttled no call, and at the end of the day every account's own trails were sealed, with keys
that work, and logged.

";

/// What a month costs.
fn month(told: &Told<'_>) -> String {
    let Told { ordinary, bill, latency, .. } = told;
    let accounts = number(ordinary.accounts as f64);
    let mut text = format!(
        "A month of {accounts} accounts, which is 30 ordinary days, at list prices in us-east-1. Free tiers are left out, as an\n\
         organization shares one of each. Prices marked \\* are as little checked as [there](operations.md#costs-to-the-dollar).\n\n\
         | what | a month | $ |\n|---|---|---|\n"
    );
    for Line { what, amount, dollars } in *bill {
        text += &format!("| {what} | {amount} | {dollars:.2} |\n");
    }
    text += &format!(
        "| **total** | | **{:.2}** |\n\n\
         Left out is what an account has whatever happens: keys, alarms, dashboard. GB-seconds are 0.125 GB × (CPU ÷ {CPU_SHARE} + \
         waiting). The CPU\nincludes the start of the process, which\n\
         [Lambda bills](https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase/). Waiting is measured in \
         one block with\n{latency} ms a call; on AWS a TLS connection is made for each service and Region, too. The log is what the function \
         wrote, 26\nbytes a line, and 900 bytes an invocation for Lambda's own lines, an estimate. Outcomes cost only where\n\
         `OutcomeBusArn` is set.\n\n",
        total(bill)
    );
    text
}

/// The rates that each account has for itself.
fn in_one_account(ordinary: &Tally, roll_out: &Tally) -> String {
    let mut text = String::from(
        "The most calls that one invocation made in any second in one Region, over a network without latency, beside AWS's\n\
         quotas of an account and Region: [CloudTrail's](https://docs.aws.amazon.com/general/latest/gr/ct.html), which are fixed, and\n\
         [KMS's](https://docs.aws.amazon.com/kms/latest/developerguide/requests-per-second.html), which can be raised.\n\n\
         | calls | ordinary day | roll-out | AWS allows |\n|---|---|---|---|\n",
    );
    let mut quotas: Vec<Quota> = ordinary.peaks.0.keys().chain(roll_out.peaks.0.keys()).copied().collect();
    quotas.sort();
    quotas.dedup();
    for quota in quotas {
        let (name, allowed) = quota.told();
        let [day, first] = [ordinary, roll_out].map(|tally| tally.peaks.0.get(&quota).copied().unwrap_or(0));
        text += &format!("| {name} | {day} | {first} | {allowed} |\n");
    }
    text + "\nInvocations of one account that run at once share these, and each keeps only its own calls below. A deployment that\n\
           writes the policies of many keys meets CloudTrail's 10 reads a second, as the events at once above do. What is throttled\n\
           is tried again as long as the invocation lasts; an event that is not done by then fails and is Lambda's to try a minute\n\
           later. With `ReservedConcurrency=1` Lambda hands the events out in turn, and none is throttled.\n"
}

/// The rates that meet, where an organization brings alerts or outcomes together.
fn together(ordinary: &Tally, roll_out: &Tally) -> String {
    let count = |count: usize| number(count as f64);
    format!(
        "\nWhat meets in one account, if all alerts go to one topic and all outcomes to one bus:\n\n\
         | what | in an ordinary day | in the worst second: all first sweeps at once | AWS allows |\n|---|---|---|---|\n\
         | alerts to the topic | {alerts} | {first_alerts} | 300 to 30,000 a second, by Region \\* |\n\
         | e-mails to one address | {alerts} | {first_alerts} | \
         [10 a second; SNS switches off a subscription that gets more](https://repost.aws/knowledge-center/sns-email-subscription-disabled) |\n\
         | outcomes to the bus | {outcomes} | {accounts} | `PutEvents`: 400 to 10,000 a second, by Region \\* |\n\
         | targets that the bus's rules start | {outcomes} | {accounts} | \
         [750 to 18,750 a second, by Region](https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html); more are started later |\n\n\
         \\* not checked against a source here. So an address of its own for each account is safe, and a central topic is for a queue or a\n\
         chat client: to mail its {first_alerts} alerts to one address, the roll-out has to be spread over {mail} s at least. A schedule begins \
         when it is\nmade, so that later sweeps are spread as the roll-out was. The roll-out's {first} invocations are {accounts} sweeps and \
         {echoes} events of\nwhat they changed.\n",
        alerts = count(ordinary.alerts),
        first_alerts = count(roll_out.alerts),
        outcomes = count(ordinary.invoked()),
        accounts = count(roll_out.accounts),
        mail = roll_out.alerts.div_ceil(10),
        first = count(roll_out.invoked()),
        echoes = count(roll_out.invoked() - roll_out.accounts),
    )
}

#[cfg(test)]
mod tests {
    use super::{
        super::{day::What, price::bill, rates::Peaks},
        *,
    };

    #[test]
    fn page_tells_the_model_the_cost_and_the_rates() {
        let mut day = Tally {
            accounts: 1000,
            invocations: [(What::Sweep, 1000), (What::Echo, 250)].into(),
            alerts: 350,
            ..Tally::default()
        };
        day.peaks = Peaks([(Quota::CreateKey, 1)].into());
        let bill = bill(&day, 0.0);
        let told = Told { ordinary: &day, roll_out: &day, played: [1000, 1000], bill: &bill, latency: 25 };
        let page = section(&told);
        for part in [
            "A model: 1,000 accounts",
            "All of it was played.",
            "| Lambda, requests \\* | 37,500 | 0.01 |",
            "| `kms:CreateKey` | 1 | 1 | 5 a second |",
            "| alerts to the topic | 350 | 350 |",
            "spread over 35 s at least",
            "1,250 invocations are 1,000 sweeps and 250 events of",
        ] {
            assert!(page.contains(part), "no `{part}` in {page}");
        }
        let part = section(&Told { played: [40, 1000], ..told });
        assert!(
            part.contains("Of it,\n40 accounts' ordinary days and 1,000 accounts' roll-outs were played"),
            "{part}"
        );
    }
}
