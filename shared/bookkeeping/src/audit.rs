//! The chains of a page of accounts, followed a bounded number of entries at a time: however long a chain is, one step
//! of an audit is short, and what it found in order is kept before the next step.

use std::collections::VecDeque;

use crate::following::Following;
use crate::{Advance, Chain, Entry, Finding, Key, SumTooLarge, Sums};

/// Entries that one step reads at the most.
const ENTRIES: i64 = 500;
/// Chains that one step follows at the most: the book reads entries, and asks the other book, once for each.
const CHAINS: usize = 20;

/// An entry that an audit compares with everything else that must agree with it.
pub trait Auditable: Entry {
    /// All that must agree with one entry: its posting, the other side, the other service's book.
    type Facts;
    /// What the audit keeps a sum of.
    type Sum: Ord + Clone;

    /// What is wrong with the entry besides its chain.
    fn against(&self, facts: &Self::Facts) -> Option<Finding>;

    /// Adds the entry's posting to the sums.
    ///
    /// # Errors
    /// When a sum does not fit.
    fn count(&self, facts: &Self::Facts, sums: &mut Sums<Self::Sum>) -> Result<(), SumTooLarge>;
}

/// Entries of one chain, oldest first, each with what must agree with it.
pub type Run<E> = Vec<(E, <E as Auditable>::Facts)>;

/// A book that can be audited.
pub trait Book {
    /// Says which account is meant.
    type Key: Key;
    /// An entry of an account.
    type Entry: Auditable;
    /// Why the book cannot be read or written.
    type Error: From<SumTooLarge>;

    /// Reads at most `limit` entries of an account's chain, with sequences above `above` and up to `up_to`.
    fn entries(
        &self,
        key: Self::Key,
        above: i64,
        up_to: i64,
        limit: i64,
    ) -> impl Future<Output = Result<Run<Self::Entry>, Self::Error>> + Send;

    /// Keeps how far chains were followed, together with the sums of what is new in them.
    fn keep(
        &self,
        advances: Vec<Advance<Self::Key>>,
        sums: Sums<<Self::Entry as Auditable>::Sum>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// The chains of a page of accounts that are still to be followed.
#[derive(Debug)]
pub struct Chains<K> {
    is_full: bool,
    left: VecDeque<Following<K>>,
    current: Option<Following<K>>,
    /// The account behind which the next page begins; `None` when this page is the last.
    pub last: Option<K>,
}

/// What one step has followed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// Accounts whose chains were begun.
    pub accounts: i64,
    /// Entries that were read.
    pub entries: i64,
    /// What must not be there.
    pub findings: Vec<Finding>,
    /// Whether all chains of the page are at their ends.
    pub is_last: bool,
}

impl<K: Key> Chains<K> {
    /// Those of a page that ends with the account `last`, unless it is the last page. A full audit begins each at its
    /// first entry.
    #[must_use]
    pub fn new(is_full: bool, last: Option<K>) -> Self {
        Self { is_full, left: VecDeque::new(), current: None, last }
    }

    /// Adds the chain of an account that states this end, unless earlier audits have followed it up to there and this
    /// one is not a full one.
    pub fn add(&mut self, key: K, end: Chain, audited: Option<Chain>) {
        if self.is_full || end != audited.unwrap_or(Chain::START) {
            self.left.push_back(Following::begin(key, end, audited, self.is_full));
        }
    }

    /// Follows the chains as far as one step goes.
    ///
    /// # Errors
    /// When the book cannot be read, progress cannot be kept, or a sum does not fit.
    pub async fn follow<B: Book<Key = K>>(&mut self, book: &B) -> Result<Followed, B::Error> {
        let (mut advances, mut sums) = (Vec::new(), Sums::default());
        let mut followed = Followed::default();
        for _ in 0..CHAINS {
            followed.accounts += i64::from(self.current.is_none() && !self.left.is_empty());
            let Some(mut following) = self.current.take().or_else(|| self.left.pop_front()) else { break };
            let new = following.run(book, &mut followed).await?;
            if let Some(advance) = following.advance() {
                advances.push(advance);
                sums.add_all(&new)?;
            }
            self.current = Some(following).filter(|following| !following.is_at_end);
            if followed.entries >= ENTRIES {
                break;
            }
        }
        if !advances.is_empty() {
            book.keep(advances, sums).await?;
        }
        followed.is_last = self.current.is_none() && self.left.is_empty();
        Ok(followed)
    }
}

impl<K: Key> Following<K> {
    /// Follows the chain over the entries that the step has left: the sums of those that no audit had seen.
    async fn run<B: Book<Key = K>>(
        &mut self,
        book: &B,
        followed: &mut Followed,
    ) -> Result<Sums<<B::Entry as Auditable>::Sum>, B::Error> {
        let end = self.end.sequence;
        let mut sums = Sums::default();
        let run = book.entries(self.key, self.chain.sequence, end, ENTRIES - followed.entries).await?;
        for (entry, facts) in &run {
            followed.entries += 1;
            let mut found = self.go_on(entry);
            found.extend(entry.against(facts));
            let is_new = self.is_new(entry);
            if is_new {
                entry.count(facts, &mut sums)?;
            }
            self.is_sound &= found.is_empty();
            followed.findings.extend(found.into_iter().map(|finding| finding.seen_by_full(!is_new)));
        }
        self.is_at_end = run.is_empty() || self.chain.sequence >= end;
        if self.is_at_end {
            let found = self.end();
            self.is_sound &= found.is_none();
            followed.findings.extend(found);
        }
        Ok(sums)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use types::{Currency, Money, UserId};
    use uuid::Uuid;

    use super::*;
    use crate::chain::tests::{Line, lines};
    use crate::imbalance;

    /// The number of an account.
    type Number = u128;

    impl Key for Number {
        const NOUN: &'static str = "account";

        fn owner(self) -> UserId {
            Uuid::from_u128(self).into()
        }

        fn currency(self) -> Currency {
            "EUR".parse().unwrap()
        }
    }

    /// An account: its entries, each with the other side of its posting, and the end that it states.
    struct Account {
        entries: Vec<(Line, i64)>,
        end: Chain,
    }

    impl Account {
        fn of(amounts: &[i64]) -> Self {
            let entries: Vec<_> =
                lines(amounts).into_iter().map(|line| (line.clone(), -line.amount)).collect();
            let end = entries.last().map_or(Chain::START, |(line, _)| line.chain());
            Self { entries, end }
        }
    }

    #[derive(Default)]
    struct Kept {
        chains: BTreeMap<Number, Chain>,
        sums: Sums<&'static str>,
    }

    /// A book in memory.
    struct Model {
        accounts: Vec<Account>,
        kept: Mutex<Kept>,
    }

    impl Auditable for Line {
        /// The other side of the posting.
        type Facts = i64;
        type Sum = &'static str;

        fn against(&self, opposite: &i64) -> Option<Finding> {
            let money = |minor_units| Money::new("EUR".parse().unwrap(), minor_units);
            let too_much = money(imbalance(money(self.amount), money(*opposite))?);
            Some(Finding::transfer(self.posting, "its sides do not cancel out", Some(too_much)))
        }

        fn count(&self, _: &i64, sums: &mut Sums<&'static str>) -> Result<(), SumTooLarge> {
            sums.post("accounts", "transit", self.amount)
        }
    }

    impl Book for Model {
        type Key = Number;
        type Entry = Line;
        type Error = SumTooLarge;

        async fn entries(
            &self,
            key: Number,
            above: i64,
            up_to: i64,
            limit: i64,
        ) -> Result<Run<Line>, SumTooLarge> {
            let entries = &self.accounts[usize::try_from(key).unwrap()].entries;
            let run = entries.iter().filter(|(line, _)| line.sequence > above && line.sequence <= up_to);
            Ok(run.take(usize::try_from(limit).unwrap()).cloned().collect())
        }

        async fn keep(
            &self,
            advances: Vec<Advance<Number>>,
            sums: Sums<&'static str>,
        ) -> Result<(), SumTooLarge> {
            let mut kept = self.kept.lock().unwrap();
            for Advance { key, from, to } in advances {
                assert_eq!(kept.chains.insert(key, to), from);
            }
            kept.sums.add_all(&sums)
        }
    }

    impl Model {
        fn of(accounts: Vec<Account>) -> Self {
            Self { accounts, kept: Mutex::default() }
        }

        /// Follows all chains to their ends: what each step has followed.
        async fn audit(&self, is_full: bool) -> Vec<Followed> {
            let mut chains = Chains::new(is_full, None);
            for (key, account) in (0..).zip(&self.accounts) {
                let audited = self.kept.lock().unwrap().chains.get(&key).copied();
                chains.add(key, account.end, audited);
            }
            let mut steps = Vec::new();
            while steps.last().is_none_or(|step: &Followed| !step.is_last) {
                steps.push(chains.follow(self).await.unwrap());
            }
            steps
        }

        async fn findings(&self, is_full: bool) -> Vec<Finding> {
            self.audit(is_full).await.into_iter().flat_map(|step| step.findings).collect()
        }

        /// How far the first account's chain is kept.
        fn kept_sequence(&self) -> Option<i64> {
            self.kept.lock().unwrap().chains.get(&0).map(|chain| chain.sequence)
        }
    }

    #[tokio::test]
    async fn a_sound_book_is_counted_once_and_then_only_what_is_new() {
        let mut book = Model::of(vec![Account::of(&[100, -30]), Account::of(&[])]);
        assert_eq!(
            book.audit(false).await,
            [Followed { accounts: 1, entries: 2, findings: vec![], is_last: true }]
        );
        book.accounts[0] = Account::of(&[100, -30, 5]);
        assert_eq!(book.audit(false).await[0].entries, 1);
        // A full audit reads everything again, and counts what is new only.
        book.accounts[0] = Account::of(&[100, -30, 5, -20]);
        assert_eq!(book.audit(true).await[0].entries, 4);
        assert_eq!(book.kept_sequence(), Some(4));
        let kept = book.kept.lock().unwrap();
        assert_eq!((kept.sums.0["accounts"], kept.sums.0["transit"]), ((50, 105), (105, 50)));
    }

    #[tokio::test]
    async fn each_thing_that_is_wrong_is_found_by_every_audit_and_never_kept() {
        type Change = fn(&mut Account);
        let hash = "entry 2 (…2): its hash is not that of its content and the one before";
        // What is found first, what the book has too much, and how far the chain is kept.
        let changes: [(Change, &str, Option<i64>, Option<i64>); 8] = [
            (
                |it| it.entries.retain(|(line, _)| line.sequence != 2),
                "entry 3 (…3): an entry before it is missing",
                Some(-30),
                None,
            ),
            (
                |it| it.entries[1].0.balance_after += 1,
                "entry 2 (…2): its balance is not the sum",
                Some(1),
                None,
            ),
            (|it| it.entries[1].0.hash = [1; 32], hash, None, None),
            (|it| it.entries[1].1 = 31, "its sides do not cancel out", Some(1), None),
            (
                |it| it.entries.truncate(3),
                "behind entry 3: the account counts another number of entries",
                Some(-20),
                Some(3),
            ),
            (
                |it| it.entries.clear(),
                "behind entry 0: the account counts another number of entries",
                Some(55),
                None,
            ),
            (|it| it.end.balance += 7, "behind entry 4: the account has another balance", Some(7), None),
            (|it| it.end.hash = [1; 32], "behind entry 4: the account has another hash", None, None),
        ];
        for (change, what, too_much, kept_sequence) in changes {
            let mut account = Account::of(&[100, -30, 5, -20]);
            change(&mut account);
            let book = Model::of(vec![account, Account::of(&[1])]);
            for is_full in [false, true, false] {
                let found = book.findings(is_full).await;
                let first = found.first().unwrap_or_else(|| panic!("{what} goes unseen"));
                let description = first.description.replace("00000000-0000-0000-0000-00000000000", "…");
                assert_eq!(description, what);
                assert_eq!(first.difference.map(|money| money.minor_units), too_much, "{what}");
                assert!(!first.only_full, "{what}");
            }
            assert_eq!(book.kept_sequence(), kept_sequence, "{what}");
            // The other account is in order. What is counted is what is kept, once.
            let kept = book.kept.lock().unwrap();
            assert_eq!(kept.chains[&1].balance, 1, "{what}");
            let balances: i64 = kept.chains.values().map(|chain| chain.balance).sum();
            assert_eq!(
                (kept.sums.net(&"accounts"), kept.sums.net(&"transit")),
                (balances, -balances),
                "{what}"
            );
        }
    }

    #[tokio::test]
    async fn what_was_changed_after_an_audit_is_found_by_a_full_one() {
        let mut book = Model::of(vec![Account::of(&[100, -30])]);
        assert_eq!(book.findings(false).await, []);
        book.accounts[0] = Account::of(&[100, -40]);
        let found = book.findings(true).await;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].description, "entry 2 is another than was audited");
        assert_eq!(found[0].difference.map(|money| money.minor_units), Some(-10));
        assert!(found[0].only_full);
        assert_eq!(found[0].subject, format!("account {} EUR", Uuid::from_u128(0)));

        // An account that is as the audit left it, and entries that are not: only a full audit looks.
        book.accounts[0] = Account::of(&[100, -30]);
        book.accounts[0].entries.pop();
        let found = book.findings(true).await;
        assert_eq!(found[0].description, "behind entry 1: the account counts another number of entries");
        assert!(found[0].only_full);
    }

    #[tokio::test]
    async fn a_long_chain_takes_several_steps_and_each_keeps_what_it_found_in_order() {
        let mut amounts = vec![1; 1_200];
        let mut book = Model::of(vec![Account::of(&amounts)]);
        let steps = book.audit(false).await;
        let entries: Vec<_> = steps.iter().map(|step| (step.accounts, step.entries, step.is_last)).collect();
        assert_eq!(entries, [(1, 500, false), (0, 500, false), (0, 200, true)]);
        assert_eq!(book.kept_sequence(), Some(1_200));

        // Of what is new, the part before the step that finds something is kept.
        amounts.extend([1; 1_000]);
        book.accounts[0] = Account::of(&amounts);
        book.accounts[0].entries[1_999].1 = 0;
        assert_eq!(book.findings(false).await.len(), 1);
        assert_eq!(book.kept_sequence(), Some(1_700));
        assert_eq!(book.kept.lock().unwrap().sums.0["accounts"], (0, 1_700));
    }

    #[tokio::test]
    async fn a_step_follows_a_bounded_number_of_chains() {
        let book = Model::of((0..45).map(|_| Account::of(&[1])).collect());
        let accounts: Vec<i64> = book.audit(false).await.iter().map(|step| step.accounts).collect();
        assert_eq!(accounts, [20, 20, 5]);
    }
}
