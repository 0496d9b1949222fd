//! `user.v1.AuditService`: the audit of the wallets' book.

use api::user::v1::audit_service_server::AuditService;
use api::user::v1::hold::State as WireState;
use api::user::v1::{
    AuditBookRequest, AuditBookResponse, AuditFinding, AuditLine, GetPostingsRequest, GetPostingsResponse,
    TransferPosting as PostingMessage,
};
use api::violations::Violations;
use bookkeeping::Finding;
use events::HoldState;
use futures_util::stream;
use runtime::rpc::{self, Messages, check};
use tonic::{Request, Response, Status};
use types::{Money, TransferId};

use crate::audit::{Audits, Page, TransferPosting};
use crate::domain::audit::Sums;
use crate::error::Error;

const TRANSFERS_MAX: usize = 500;

/// The audit of the wallets' book.
#[derive(Debug, Clone)]
pub(super) struct Audit(pub(super) Audits);

#[tonic::async_trait]
impl AuditService for Audit {
    type AuditBookStream = Messages<AuditBookResponse>;

    async fn get_postings(
        &self,
        request: Request<GetPostingsRequest>,
    ) -> Result<Response<GetPostingsResponse>, Status> {
        let (mark, postings) = self.0.postings(&check(&request, transfer_ids)?).await?;
        Ok(Response::new(GetPostingsResponse {
            postings: postings.into_iter().map(posting).collect(),
            epoch: mark.epoch.to_string(),
            position: mark.position,
        }))
    }

    async fn audit_book(
        &self,
        request: Request<AuditBookRequest>,
    ) -> Result<Response<Self::AuditBookStream>, Status> {
        let owner = check(&request, |v, request| v.optional_id("user_id", &request.user_id))?;
        let audit = match owner {
            Some(owner) => self.0.start_of(owner),
            None => self.0.start(request.get_ref().full),
        };
        let pages = stream::try_unfold(audit, |mut audit| async move {
            let page = audit.next_page().await?;
            Ok::<_, Error>(page.map(|page| (message(page), audit)))
        });
        Ok(rpc::stream(pages))
    }
}

fn transfer_ids(v: &mut Violations, request: &GetPostingsRequest) -> Option<Vec<TransferId>> {
    let ids = &request.transfer_ids;
    if ids.len() > TRANSFERS_MAX {
        v.add("transfer_ids", "TOO_MANY", format!("must be at most {TRANSFERS_MAX}"));
        return None;
    }
    let ids = ids.iter().enumerate().map(|(at, id)| v.id(&format!("transfer_ids[{at}]"), id));
    let ids: Vec<Option<TransferId>> = ids.collect();
    ids.into_iter().collect()
}

fn posting(posting: TransferPosting) -> PostingMessage {
    let TransferPosting { transfer_id, hold, entry, order_id } = posting;
    PostingMessage {
        transfer_id: transfer_id.to_string(),
        user_id: entry.map(|(key, _)| key.owner.to_string()).unwrap_or_default(),
        amount: entry.map(|(key, amount)| Money::new(key.currency, amount).into()),
        order_id: order_id.map(|id| id.to_string()).unwrap_or_default(),
        hold_state: match hold {
            None => WireState::Unspecified,
            Some(HoldState::Held) => WireState::Held,
            Some(HoldState::Posted) => WireState::Posted,
            Some(HoldState::Cancelled) => WireState::Cancelled,
        }
        .into(),
    }
}

fn message(page: Page) -> AuditBookResponse {
    AuditBookResponse {
        wallets_count: page.wallets,
        entries_count: page.entries,
        findings: page.findings.into_iter().map(finding).collect(),
        lines: page.sums.map(lines).unwrap_or_default(),
    }
}

fn finding(finding: Finding) -> AuditFinding {
    AuditFinding {
        subject: finding.subject,
        description: finding.description,
        difference: finding.difference.map(Into::into),
        only_full: finding.only_full,
    }
}

fn lines(sums: Sums) -> Vec<AuditLine> {
    let line = |((currency, account), (debit, credit)): ((types::Currency, String), (i64, i64))| AuditLine {
        account,
        currency_code: currency.to_string(),
        debit_minor_units: debit,
        credit_minor_units: credit,
    };
    sums.0.into_iter().map(line).collect()
}
