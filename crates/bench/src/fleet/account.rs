//! The accounts: what trails they have, and what keys.

use fake_aws::{Bucket, Trail, World};

use crate::scene::{REGION, REGIONS, bucket_policy, sealing_key};

/// So many accounts are a block; one block is like the next.
pub const BLOCK: usize = 20;

/// The organization's management account, which owns the trail that every account sees.
const MANAGEMENT: &str = "100000000000";

/// What an account has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No trail of its own.
    Member,
    /// One multi-Region trail.
    One,
    /// A single-Region trail in each of five Regions, each with a bucket there.
    Regional,
    /// Two multi-Region trails, one of which lost its key in the night, and the event got lost, too.
    Neglected,
}

/// One of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Which, from 0.
    pub number: usize,
}

/// When the account is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Day {
    /// trailseal has been there for long.
    Ordinary,
    /// trailseal was deployed a moment ago, and no trail of the organization's is encrypted.
    RollOut,
}

impl Account {
    /// Its id.
    pub fn id(self) -> String {
        format!("{:012}", 200_000_000_000 + self.number)
    }

    /// Its place in its block, which says what it has and what happens there.
    pub fn seat(self) -> usize {
        self.number % BLOCK
    }

    /// What it has.
    pub fn kind(self) -> Kind {
        match self.seat() {
            0..=4 => Kind::One,
            5 => Kind::Regional,
            6 => Kind::Neglected,
            _ => Kind::Member,
        }
    }

    /// The ARN of a trail of its own in the function's Region.
    pub fn trail(self, name: &str) -> String {
        format!("arn:aws:cloudtrail:{REGION}:{}:trail/{name}", self.id())
    }

    /// Its state before anything happens.
    pub fn world(self, day: Day) -> World {
        let id = self.id();
        let mut world = World::new(&id).topic("alerts", REGION);
        world.rate_limits = true;
        let organizations = Trail::new("organization", REGION, "organization-logs").multi_region();
        let organizations = organizations.organization(MANAGEMENT);
        world.add_trail(match day {
            Day::Ordinary => organizations
                .encrypted_with(&format!("arn:aws:kms:{REGION}:{MANAGEMENT}:key/00000000-0000-4000-8000-000000000001")),
            Day::RollOut => organizations,
        });
        let regions = match self.kind() {
            Kind::Member => vec![],
            Kind::One | Kind::Neglected => vec![REGION],
            Kind::Regional => regional(),
        };
        for region in regions {
            let bucket = format!("logs-{id}-{region}");
            world.add_bucket(Bucket::new(&bucket, region).policy(&bucket_policy(&id, &bucket)));
            let key = (day == Day::Ordinary).then(|| sealing_key(&mut world, region));
            let mut trail = Trail::new("audit", region, &bucket);
            trail.kms_key_id = key;
            trail.multi_region = self.kind() != Kind::Regional;
            world.add_trail(trail);
            if self.kind() == Kind::Neglected {
                world.add_trail(Trail::new("forgotten", region, &bucket).multi_region());
            }
        }
        world
    }
}

/// Five Regions, the function's among them.
fn regional() -> Vec<&'static str> {
    [&[REGION], &REGIONS[..4]].concat()
}

/// What is wrong with the account's own trails: all of them are to be sealed, with a key that works, and to log.
pub fn trouble(world: &World) -> Option<String> {
    let own = world.trails.iter().filter(|(_, trail)| trail.owner == world.account);
    own.into_iter().find_map(|(arn, trail)| {
        let unsealed = trail.kms_key_id.is_none().then(|| "is not sealed".to_owned());
        let stopped = (!trail.logging).then(|| "does not log".to_owned());
        let why = unsealed.or(stopped).or_else(|| world.check_delivery(arn).err())?;
        Some(format!("trail `{arn}`: {why}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_mixed_alike() {
        let kinds = |block: usize| (0..BLOCK).map(move |seat| Account { number: block * BLOCK + seat }.kind());
        assert!(kinds(0).eq(kinds(49)));
        let count = |kind| kinds(0).filter(|other| *other == kind).count();
        assert_eq!([Kind::Member, Kind::One, Kind::Regional, Kind::Neglected].map(count), [13, 5, 1, 1]);
    }

    #[test]
    fn accounts_differ_in_their_ids_and_are_the_same_each_time() {
        let ids: std::collections::BTreeSet<String> = (0..1000).map(|number| Account { number }.id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 12));
        assert_eq!(Account { number: 5 }.world(Day::Ordinary), Account { number: 5 }.world(Day::Ordinary));
    }

    #[test]
    fn trouble_is_seen_where_a_trail_is_not_sealed() {
        for seat in 0..BLOCK {
            let account = Account { number: seat };
            let expected = account.kind() == Kind::Neglected;
            assert_eq!(trouble(&account.world(Day::Ordinary)).is_some(), expected, "{account:?}");
            let expected = account.kind() != Kind::Member;
            assert_eq!(trouble(&account.world(Day::RollOut)).is_some(), expected, "{account:?}");
        }
    }
}
