//! Credit within user service.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use api::user::v1::{
    FreezeWalletRequest, GetWalletRequest, GrantCreditRequest, ListWalletEntriesRequest, SendCreditRequest,
    SetWalletLimitsRequest, UnfreezeWalletRequest,
};
use testkit::ServiceName::User;
use testkit::client::{Person, eur, request_id};
use tonic::Status;

use super::{Kind, prepared};
use crate::people::{PRICE, send};
use crate::sweep::operation::{Changes, Doing, Measures, Operation, by};
use crate::sweep::stage::Stage;
use crate::sweep::way::{Commit, Way, point};

pub(super) const KINDS: &[Kind] = &[
    // Whatever is old enough is pruned, whoever's it is.
    Kind {
        name: "Grant",
        commits: &[Commit::Transaction(User, "grant_credit")],
        way: Way::of(&["user"], &[]),
        moments: &[point(User, "pruner.pruning", "user"), point(User, "pruner.pruned", "user")],
        prepare: |stage| prepared(async move { Ok(Grant::new(stage)) }),
    },
    Kind {
        name: "Send",
        commits: &[Commit::Transaction(User, "send_credit")],
        way: Way::of(&["user"], &[]),
        moments: &[],
        prepare: |stage| prepared(async move { Ok(Send::new(stage, false)) }),
    },
    Kind {
        name: "SendTooMuch",
        commits: &[Commit::Transaction(User, "send_credit")],
        way: Way::NONE,
        moments: &[],
        prepare: |stage| prepared(async move { Ok(Send::new(stage, true)) }),
    },
    Kind {
        name: "FreezeWallet",
        commits: &[Commit::Transaction(User, "act_on_wallet")],
        way: Way::of(&["user"], &[]),
        moments: &[],
        prepare: |stage| prepared(Act::new(stage, What::Freeze)),
    },
    Kind {
        name: "UnfreezeWallet",
        commits: &[Commit::Transaction(User, "act_on_wallet")],
        way: Way::of(&["user"], &[]),
        moments: &[],
        prepare: |stage| prepared(Act::new(stage, What::Unfreeze)),
    },
    Kind {
        name: "SetWalletLimits",
        commits: &[Commit::Transaction(User, "act_on_wallet")],
        way: Way::of(&["user"], &[]),
        moments: &[],
        prepare: |stage| prepared(Act::new(stage, What::Limit)),
    },
];

pub(super) struct Grant {
    stage: Arc<Stage>,
    request: GrantCreditRequest,
}

impl Grant {
    pub(super) fn new(stage: Arc<Stage>) -> Self {
        let user_id = stage.friend.user_id.clone();
        let request = GrantCreditRequest { request_id: request_id(), user_id, amount: Some(eur(PRICE)) };
        Self { stage, request }
    }
}

impl Operation for Grant {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let admin = &self.stage.system.admin.caller;
            Ok(format!("{:?}", admin.wallets().grant_credit(self.request.clone()).await?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(async {
            let friend = &self.stage.friend;
            let (credit, _) = self.stage.wallet(&friend.user_id).await?;
            Ok(vec![("credit", credit), ("entries", last_entry(friend).await?)])
        })
    }

    fn effect(&self) -> Changes {
        vec![("credit", by(PRICE)), ("entries", by(1)), ("events of user", by(1))]
    }
}

pub(super) struct Send {
    stage: Arc<Stage>,
    too_much: bool,
    request: SendCreditRequest,
}

impl Send {
    pub(super) fn new(stage: Arc<Stage>, too_much: bool) -> Self {
        let request = send(&stage.friend, 7);
        Self { stage, too_much, request }
    }

    fn sender(&self) -> &Person {
        if self.too_much { &self.stage.poor } else { &self.stage.market.buyer }
    }
}

impl Operation for Send {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let sent = self.sender().caller.wallets().send_credit(self.request.clone()).await?;
            Ok(format!("{:?}", sent.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(async {
            let (from, to) = (self.sender(), &self.stage.friend);
            Ok(vec![
                ("credit of the sender", self.stage.wallet(&from.user_id).await?.0),
                ("credit of the receiver", self.stage.wallet(&to.user_id).await?.0),
                ("entries of the sender", last_entry(from).await?),
                ("entries of the receiver", last_entry(to).await?),
            ])
        })
    }

    fn effect(&self) -> Changes {
        if self.too_much {
            return Vec::new();
        }
        vec![
            ("credit of the sender", by(-7)),
            ("credit of the receiver", by(7)),
            ("entries of the sender", by(1)),
            ("entries of the receiver", by(1)),
            ("events of user", by(1)),
        ]
    }

    fn refusal(&self) -> Option<&'static str> {
        self.too_much.then_some("INSUFFICIENT_CREDIT")
    }
}

/// What an admin does to a wallet.
#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    Freeze,
    Unfreeze,
    Limit,
}

/// An admin's act on the wallet of somebody who has just signed up.
pub(super) struct Act {
    stage: Arc<Stage>,
    what: What,
    whose: Person,
    request_id: String,
}

impl Act {
    async fn new(stage: Arc<Stage>, what: What) -> Result<Self> {
        let whose = stage.system.api.sign_up("Watched").await?;
        let act = Self { stage, what, whose, request_id: request_id() };
        if what == What::Unfreeze {
            act.freeze(request_id()).await?;
        }
        Ok(act)
    }

    async fn freeze(&self, request_id: String) -> Result<String, Status> {
        let request = FreezeWalletRequest {
            request_id,
            user_id: self.whose.user_id.clone(),
            currency_code: "EUR".to_owned(),
            justification: "seen".to_owned(),
        };
        let admin = &self.stage.system.admin.caller;
        Ok(format!("{:?}", admin.wallets().freeze_wallet(request).await?.into_inner()))
    }
}

impl Operation for Act {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let (request_id, user_id) = (self.request_id.clone(), self.whose.user_id.clone());
            let (currency_code, justification) = ("EUR".to_owned(), "seen".to_owned());
            let mut wallets = self.stage.system.admin.caller.wallets();
            match self.what {
                What::Freeze => self.freeze(request_id).await,
                What::Unfreeze => {
                    let request = UnfreezeWalletRequest { request_id, user_id, currency_code, justification };
                    Ok(format!("{:?}", wallets.unfreeze_wallet(request).await?.into_inner()))
                }
                What::Limit => {
                    let (payment_limit, day_limit) = (Some(eur(PRICE)), None);
                    let request = SetWalletLimitsRequest {
                        request_id,
                        user_id,
                        currency_code,
                        payment_limit,
                        day_limit,
                        justification,
                    };
                    Ok(format!("{:?}", wallets.set_wallet_limits(request).await?.into_inner()))
                }
            }
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(async {
            let user_id = self.whose.user_id.clone();
            let request = GetWalletRequest { user_id, currency_code: "EUR".to_owned() };
            let answer = self.stage.system.admin.caller.wallets().get_wallet(request).await;
            let wallet = answer.context("GetWallet")?.into_inner().wallet.context("a wallet")?;
            let limit = wallet.payment_limit.map_or(0, |money| money.minor_units);
            Ok(vec![("frozen", i64::from(wallet.frozen)), ("limit", limit)])
        })
    }

    fn effect(&self) -> Changes {
        let change = match self.what {
            What::Freeze => ("frozen", by(1)),
            What::Unfreeze => ("frozen", by(-1)),
            What::Limit => ("limit", by(PRICE)),
        };
        vec![change, ("events of user", by(1))]
    }
}

/// The number of the newest entry in somebody's wallet.
async fn last_entry(person: &Person) -> Result<i64> {
    let request = ListWalletEntriesRequest {
        currency_code: "EUR".to_owned(),
        page_size: 1,
        ..ListWalletEntriesRequest::default()
    };
    let answer = person.caller.wallets().list_wallet_entries(request).await.context("ListWalletEntries")?;
    Ok(answer.into_inner().entries.first().map_or(0, |entry| entry.sequence))
}
