//! Wallets, their book, holds and the audit.

use anyhow::Context as _;
use auth::Person;
use bookkeeping::Advance;
use events::participant::{Step, apply};
use events::{Direction, HoldSpec};
use time::OffsetDateTime;
use types::{
    Clock as _, Currency, Money, OrderId, PostingId, Role, SessionId, SystemClock, TransferId, UserId,
};
use uuid::Uuid;

use super::people::{app, call};
use crate::app::App;
use crate::app::wallets::{ActOnWallet, GrantCredit, ListWalletEntries, SendCredit};
use crate::domain::audit::{Sums, WALLETS};
use crate::domain::ledger::Kind;
use crate::domain::limits::Limits;
use crate::domain::spending::Act;
use crate::domain::wallet::WalletKey;
use crate::storage::{Participant, Store};

/// Some credit.
pub(in crate::doctor) fn euros(minor_units: i64) -> anyhow::Result<Money> {
    Ok(Money::new("EUR".parse::<Currency>().ok().context("a currency")?, minor_units))
}

pub(super) async fn all(store: &Store, ann: UserId, ben: UserId) -> anyhow::Result<()> {
    let app = app(store, 1)?;
    credit(&app, ann, ben).await?;
    let held = holds(store, ann).await?;
    audit(store, WalletKey::of(ann, euros(1)?), held).await?;
    // Behind what was audited.
    app.grant_credit(&call("GrantCredit"), GrantCredit { to: ann, amount: euros(5)? }).await?;
    app.get_trial_balance().await?;
    app.get_hold(held).await?;
    Ok(())
}

async fn credit(app: &App, ann: UserId, ben: UserId) -> anyhow::Result<()> {
    let grant = call("GrantCredit");
    for _ in 0..2 {
        app.grant_credit(&grant, GrantCredit { to: ann, amount: euros(100)? }).await?;
    }
    let sender =
        Person { user_id: ann, role: Role::Customer, session_id: SessionId::from_uuid(Uuid::new_v4()) };
    app.send_credit(&call("SendCredit"), sender, SendCredit { to: ben, amount: euros(10)? }).await?;
    // A refusal is kept, and given again.
    let (too_much, refused) = (call("SendCredit"), euros(1_000_000)?);
    for _ in 0..2 {
        let sent = app.send_credit(&too_much, sender, SendCredit { to: ben, amount: refused }).await;
        anyhow::ensure!(sent.is_err(), "more was sent than there is");
    }
    let wallet = WalletKey::of(ann, euros(1)?);
    app.get_wallet(sender, wallet).await?;
    let now = Some(SystemClock.now());
    for (kind, time) in [(None, None), (Some(Kind::Send), now)] {
        let page = ListWalletEntries { wallet, kind, start: time, end: time, below: Some(5), size: 5 };
        app.list_wallet_entries(sender, page).await?;
    }
    app.get_trial_balance().await?;
    acts(app, wallet).await
}

/// All that an admin does to a wallet.
async fn acts(app: &App, wallet: WalletKey) -> anyhow::Result<()> {
    let limits = Limits { payment: Some(1_000_000), day: Some(1_000_000) };
    for act in [Act::Freeze, Act::Unfreeze, Act::SetLimits(limits), Act::SetLimits(Limits::NONE)] {
        let wish = ActOnWallet { wallet, act, justification: "doctor".to_owned() };
        app.act_on_wallet(&call("ActOnWallet"), &wish).await?;
    }
    // As when the user is deactivated.
    let mut tx = app.store.begin("doctor").await?;
    tx.wallet_claim_all(wallet.owner).await?;
    tx.commit_now().await?;
    Ok(())
}

/// A hold that is posted, and one that stays.
async fn holds(store: &Store, owner: UserId) -> anyhow::Result<TransferId> {
    let now = SystemClock.now();
    let spec = |transfer_id| {
        anyhow::Ok(HoldSpec {
            transfer_id,
            owner,
            direction: Direction::Debit,
            amount: euros(3)?,
            expires_at: now,
            order_id: OrderId::from_uuid(Uuid::now_v7()),
        })
    };
    let ids: [TransferId; 3] = std::array::from_fn(|_| TransferId::from_uuid(Uuid::now_v7()));
    for id in ids {
        step(store, &Step::Reserve(spec(id)?), now).await?;
    }
    step(store, &Step::Confirm(ids[0]), now).await?;
    let later = now + time::Duration::hours(1);
    let due = store.hold_list_due(later, None, 1).await?;
    store.hold_list_due(later, due.first(), 1).await?;
    store.now().await?;
    Ok(ids[0])
}

async fn step(store: &Store, step: &Step, now: OffsetDateTime) -> anyhow::Result<()> {
    let mut tx = store.begin("doctor").await?;
    let mut participant = Participant::read(&mut tx, &[step], now).await?;
    apply(&mut participant, step).await?;
    participant.write()?;
    tx.commit_now().await?;
    Ok(())
}

async fn audit(store: &Store, key: WalletKey, transfer: TransferId) -> anyhow::Result<()> {
    let wallet = store.wallet_fetch(key).await?.context("a wallet")?;
    store.wallet_page(None, 5).await?;
    store.wallet_page(Some(key), 5).await?;
    store.wallet_ends(&[key]).await?;
    store.audit_checkpoints(None, None).await?;
    store.audit_checkpoints(None, Some(key)).await?;
    store.audit_checkpoints(Some(key), None).await?;
    store.audit_checkpoints(Some(key), Some(key)).await?;
    store.wallet_entry_run(key, 0, wallet.sequence, 5).await?;
    let posting = PostingId::from_uuid(transfer.uuid());
    store.posting_sides(&[posting]).await?;
    store.posting_side_page(None, 5).await?;
    store.posting_side_page(Some(posting), 5).await?;
    store.posting_list(&[posting]).await?;
    store.hold_states(&[transfer]).await?;
    store.hold_page(None, 5).await?;
    store.hold_page(Some(transfer), 5).await?;
    store.audit_sums().await?;
    store.wallet_list_of(key.owner).await?;
    store.audit_checkpoints_of(key.owner).await?;
    store.snapshot().await?.spending_recount(key.owner).await?;
    let mut sums = Sums::default();
    sums.add((key.currency, WALLETS.to_owned()), 1, 1)?;
    let to = wallet.chain();
    for from in [None, Some(to)] {
        let mut tx = store.begin("doctor").await?;
        let is_kept = tx.audit_advance(&[Advance { key, from, to }], &sums).await?;
        anyhow::ensure!(is_kept, "another audit is on its way");
        tx.commit_now().await?;
    }
    Ok(())
}
