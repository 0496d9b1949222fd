//! One chain on the way to its end.

use crate::{Chain, Entry, Finding, Key};

/// How much further a chain was followed than is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance<K> {
    /// Whose chain it is.
    pub key: K,
    /// How far it had been followed; `None` when never.
    pub from: Option<Chain>,
    /// How far it is followed now.
    pub to: Chain,
}

/// A chain that an audit follows.
#[derive(Debug)]
pub(crate) struct Following<K> {
    pub(crate) key: K,
    /// The end that the account states.
    pub(crate) end: Chain,
    /// How far earlier audits found the chain in order.
    audited: Chain,
    /// How far that is kept; `None` when nothing is.
    kept: Option<Chain>,
    /// How far this audit has followed it.
    pub(crate) chain: Chain,
    pub(crate) is_sound: bool,
    pub(crate) is_at_end: bool,
}

impl<K: Key> Following<K> {
    /// Begins where earlier audits stopped, or at the first entry if the audit is a full one.
    pub(crate) fn begin(key: K, end: Chain, audited: Option<Chain>, is_full: bool) -> Self {
        let kept = audited;
        let audited = audited.unwrap_or(Chain::START);
        let chain = if is_full { Chain::START } else { audited };
        Self { key, end, audited, kept, chain, is_sound: true, is_at_end: false }
    }

    /// Whether no earlier audit has seen this entry.
    pub(crate) fn is_new(&self, entry: &impl Entry) -> bool {
        entry.chain().sequence > self.audited.sequence
    }

    /// Goes on to the next entry. After a break, the chain goes on from what the entry itself states.
    pub(crate) fn go_on(&mut self, entry: &impl Entry) -> Vec<Finding> {
        let next = entry.chain();
        let mut found = Vec::new();
        if let Err(why) = self.chain.follow(entry) {
            let too_much = next.balance.saturating_sub(entry.amount()).saturating_sub(self.chain.balance);
            let what = format!("entry {} ({}): {why}", next.sequence, entry.posting_id());
            found.push(Finding::account(self.key, what, too_much));
            self.chain = next;
        }
        if next.sequence == self.audited.sequence && next != self.audited {
            let too_much = next.balance.saturating_sub(self.audited.balance);
            let what = format!("entry {} is another than was audited", next.sequence);
            found.push(Finding::account(self.key, what, too_much));
        }
        found
    }

    /// Compares the end of the chain with the account. If the account is as the last audit left it, only a full audit
    /// comes here.
    pub(crate) fn end(&self) -> Option<Finding> {
        let why = self.chain.end_at(&self.end).err()?;
        let what = format!("behind entry {}: the {} {why}", self.chain.sequence, K::NOUN);
        let too_much = self.end.balance.saturating_sub(self.chain.balance);
        Some(Finding::account(self.key, what, too_much).seen_by_full(self.end == self.audited))
    }

    /// What is to be kept, if there is something new and nothing is wrong up to there.
    pub(crate) fn advance(&mut self) -> Option<Advance<K>> {
        let reached = self.kept.map_or(0, |kept| kept.sequence);
        if !self.is_sound || self.chain.sequence <= reached {
            return None;
        }
        let from = self.kept.replace(self.chain);
        Some(Advance { key: self.key, from, to: self.chain })
    }
}
