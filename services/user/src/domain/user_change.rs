//! The record of who changed a user's role, state, address, password or wallet, and when: without any value that is
//! personal. The changes of a user form a chain of hashes whose end the user states, so that one that was altered, removed
//! or inserted is noticed, wherever that was.

use bookkeeping::{GENESIS, Hash};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use types::{Call, Currency, Role, UserId};
use uuid::Uuid;

/// Separates these hashes from all others, and this layout from any later one.
const DOMAIN: &[u8] = b"tristore.user.user_change.v1";

/// What was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// The role.
    Role {
        /// What it was.
        before: Role,
        /// What it is.
        after: Role,
    },
    Deactivated,
    Reactivated,
    Deleted,
    /// By the user.
    Email,
    /// By the user.
    Password,
    /// By an admin.
    PasswordReset,
    WalletFrozen(Currency),
    WalletUnfrozen(Currency),
    WalletLimits(Currency),
}

impl What {
    /// Its name in the database.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Role { .. } => "ROLE",
            Self::Deactivated => "DEACTIVATED",
            Self::Reactivated => "REACTIVATED",
            Self::Deleted => "DELETED",
            Self::Email => "EMAIL",
            Self::Password => "PASSWORD",
            Self::PasswordReset => "PASSWORD_RESET",
            Self::WalletFrozen(_) => "WALLET_FROZEN",
            Self::WalletUnfrozen(_) => "WALLET_UNFROZEN",
            Self::WalletLimits(_) => "WALLET_LIMITS",
        }
    }

    /// What has this name, given the roles and the currency of which some have some.
    pub(crate) fn from_parts(
        name: &str,
        roles: Option<(Role, Role)>,
        currency: Option<Currency>,
    ) -> Option<Self> {
        let all = [
            roles.map(|(before, after)| Self::Role { before, after }),
            Some(Self::Deactivated),
            Some(Self::Reactivated),
            Some(Self::Deleted),
            Some(Self::Email),
            Some(Self::Password),
            Some(Self::PasswordReset),
            currency.map(Self::WalletFrozen),
            currency.map(Self::WalletUnfrozen),
            currency.map(Self::WalletLimits),
        ];
        all.into_iter().flatten().find(|what| what.as_str() == name)
    }

    /// The roles before and after it.
    pub(crate) const fn roles(self) -> Option<(Role, Role)> {
        match self {
            Self::Role { before, after } => Some((before, after)),
            _ => None,
        }
    }

    /// The currency of the wallet that it is about.
    pub(crate) const fn currency(self) -> Option<Currency> {
        match self {
            Self::WalletFrozen(currency) | Self::WalletUnfrozen(currency) | Self::WalletLimits(currency) => {
                Some(currency)
            }
            _ => None,
        }
    }
}

/// One change of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordedChange {
    pub(crate) user_id: UserId,
    /// The first change of a user has 1, and there are no gaps.
    pub(crate) sequence: i64,
    pub(crate) what: What,
    /// Who did it: the id of a person.
    pub(crate) actor: String,
    pub(crate) request_id: Uuid,
    pub(crate) time: OffsetDateTime,
    pub(crate) hash: Hash,
}

/// The end of a user's chain of changes, as the user states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) count: i64,
    pub(crate) head: Hash,
}

impl Default for Record {
    fn default() -> Self {
        Self { count: 0, head: GENESIS }
    }
}

impl Record {
    /// Adds what a call does.
    pub(crate) fn add(
        &mut self,
        user_id: UserId,
        what: What,
        call: &Call,
        now: OffsetDateTime,
    ) -> RecordedChange {
        let mut change = RecordedChange {
            user_id,
            sequence: self.count + 1,
            what,
            actor: call.key.principal.clone(),
            request_id: call.key.request_id,
            time: now,
            hash: GENESIS,
        };
        change.hash = change.expected_hash(&self.head);
        *self = Self { count: change.sequence, head: change.hash };
        change
    }
}

impl RecordedChange {
    /// The hash that it must have if the change before it has the hash `previous`. It covers every other field, and no two
    /// changes have the same encoding.
    fn expected_hash(&self, previous: &Hash) -> Hash {
        let roles = self.what.roles().map(|(before, after)| [before.as_str(), after.as_str()]);
        let [before, after] = roles.unwrap_or_default();
        let currency = self.what.currency();
        let currency = currency.as_ref().map(Currency::code).unwrap_or_default();
        let millis = self.time.unix_timestamp() * 1000 + i64::from(self.time.millisecond());
        let mut hash = Sha256::new();
        hash.update(DOMAIN);
        hash.update(previous);
        hash.update(self.user_id.uuid().as_bytes());
        hash.update(self.sequence.to_be_bytes());
        for text in [self.what.as_str(), before, after, currency, &self.actor] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        hash.update(self.request_id.as_bytes());
        hash.update(millis.to_be_bytes());
        hash.finalize().into()
    }
}

/// What is wrong with changes of a user, the latest first, in words. Of the last of them the one before is not known,
/// unless it is the first. `end` is what must come first.
pub(crate) fn findings(changes: &[RecordedChange], end: Option<Record>) -> Vec<String> {
    let mut findings = Vec::new();
    if let Some(end) = end {
        let latest = changes.first().map(|change| Record { count: change.sequence, head: change.hash });
        let latest = latest.unwrap_or_default();
        if latest.count != end.count {
            findings
                .push(format!("the latest change is {}, and the user states {}", latest.count, end.count));
        } else if latest.head != end.head {
            findings.push(format!("the hash of change {} is not what the user states", latest.count));
        }
    }
    for (at, change) in changes.iter().enumerate() {
        let sequence = change.sequence;
        let previous = match changes.get(at + 1) {
            Some(before) if before.sequence + 1 == sequence => before.hash,
            Some(_) => {
                findings.push(format!("a change before {sequence} is missing"));
                continue;
            }
            None if sequence == 1 => GENESIS,
            None => continue,
        };
        if change.hash != change.expected_hash(&previous) {
            findings
                .push(format!("the hash of change {sequence} is not that of its content and the one before"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use types::{Fingerprint, RequestKey};

    use super::*;

    fn chain(whats: &[What]) -> (Vec<RecordedChange>, Record) {
        let (user, mut record) = (UserId::from_uuid(Uuid::from_u128(1)), Record::default());
        let key = RequestKey { principal: "ann".to_owned(), method: "m", request_id: Uuid::from_u128(2) };
        let call = Call { key, fingerprint: Fingerprint::new([1; 32], &[]) };
        let at = |number: usize| OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(number as i64);
        let changes = whats.iter().enumerate();
        let mut changes: Vec<_> =
            changes.map(|(number, what)| record.add(user, *what, &call, at(number))).collect();
        changes.reverse();
        (changes, record)
    }

    fn five() -> (Vec<RecordedChange>, Record) {
        let eur = "EUR".parse().unwrap();
        let role = What::Role { before: Role::Customer, after: Role::Merchant };
        chain(&[role, What::Email, What::WalletFrozen(eur), What::Deactivated, What::Deleted])
    }

    #[test]
    fn a_chain_that_was_left_alone_is_found_good_and_so_is_each_page_of_it() {
        let (changes, end) = five();
        assert_eq!(findings(&changes, Some(end)), [""; 0]);
        assert_eq!(findings(&changes[..3], Some(end)), [""; 0]);
        assert_eq!(findings(&changes[2..], None), [""; 0]);
        assert_eq!(findings(&[], Some(Record::default())), [""; 0]);
    }

    #[test]
    fn whatever_is_altered_removed_or_cut_off_is_found() {
        let altered = |alter: fn(&mut RecordedChange)| {
            let (mut changes, end) = five();
            alter(&mut changes[2]);
            findings(&changes, Some(end))
        };
        let of_three = ["the hash of change 3 is not that of its content and the one before"];
        assert_eq!(altered(|change| change.actor = "ben".to_owned()), of_three);
        assert_eq!(altered(|change| change.what = What::WalletUnfrozen("EUR".parse().unwrap())), of_three);
        assert_eq!(altered(|change| change.what = What::WalletFrozen("USD".parse().unwrap())), of_three);
        assert_eq!(altered(|change| change.time += time::Duration::milliseconds(1)), of_three);
        assert_eq!(altered(|change| change.request_id = Uuid::nil()), of_three);
        // With a hash that fits, the next one does not.
        let of_four = ["the hash of change 4 is not that of its content and the one before"];
        let forged = altered(|change| {
            change.actor = "ben".to_owned();
            let (changes, _) = five();
            change.hash = change.expected_hash(&changes[3].hash);
        });
        assert_eq!(forged, of_four);
        let (mut changes, end) = five();
        changes.remove(2);
        assert_eq!(findings(&changes, Some(end)), ["a change before 4 is missing"]);
        let (changes, end) = five();
        assert_eq!(findings(&changes[1..], Some(end)), ["the latest change is 4, and the user states 5"]);
        assert_eq!(findings(&[], Some(end)), ["the latest change is 0, and the user states 5"]);
        let (mut changes, _) = chain(&[What::Email]);
        changes[0].actor = "ben".to_owned();
        changes[0].hash = changes[0].expected_hash(&GENESIS);
        let (_, end) = chain(&[What::Email]);
        assert_eq!(findings(&changes, Some(end)), ["the hash of change 1 is not what the user states"]);
    }

    #[test]
    fn everything_reads_back_from_its_parts() {
        let eur: Currency = "EUR".parse().unwrap();
        for what in [
            What::Role { before: Role::Customer, after: Role::Admin },
            What::Deactivated,
            What::Reactivated,
            What::Deleted,
            What::Email,
            What::Password,
            What::PasswordReset,
            What::WalletFrozen(eur),
            What::WalletUnfrozen(eur),
            What::WalletLimits(eur),
        ] {
            assert_eq!(What::from_parts(what.as_str(), what.roles(), what.currency()), Some(what));
        }
        assert_eq!(What::from_parts("ROLE", None, Some(eur)), None);
    }
}
