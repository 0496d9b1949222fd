//! The audit of both books: `order.v1.AuditService` and its conversions. It refuses nothing of its own.

use api::common::v1::Money as MoneyMessage;
use api::order::v1::audit::Verdict;
use api::order::v1::audit_service_server::AuditService;
use api::order::v1::{
    Audit as AuditMessage, AuditFailure, AuditFinding, AuditLine, AuditTransit, GetAuditRequest,
    GetAuditResponse, GetPostingsRequest, GetPostingsResponse, RunAuditRequest, RunAuditResponse,
    TransferPosting,
};
use api::violations::{Violations, timestamp};
use futures_util::stream;
use runtime::rpc::{self, Messages, check};
use tonic::{Request, Response, Status};
use types::TransferId;

use super::transfers::decision;
use crate::audit::{Audits, Step};
use crate::domain::audit_outcome::{Audit as Ended, Drift, Known, Line, Outcome, Transit};
use crate::error::Error;

const TRANSFERS_MAX: usize = 500;

/// The audit of both books.
#[derive(Clone)]
pub(super) struct Audit(pub(super) Audits);

#[tonic::async_trait]
impl AuditService for Audit {
    type RunAuditStream = Messages<RunAuditResponse>;

    async fn run_audit(
        &self,
        request: Request<RunAuditRequest>,
    ) -> Result<Response<Self::RunAuditStream>, Status> {
        let pass = self.0.start(request.get_ref().full).await?;
        let steps = stream::try_unfold(pass, |mut pass| async move {
            let step = pass.step().await?;
            Ok::<_, Error>(step.map(|step| (message(step), pass)))
        });
        Ok(rpc::stream(steps))
    }

    async fn get_audit(&self, _: Request<GetAuditRequest>) -> Result<Response<GetAuditResponse>, Status> {
        Ok(Response::new(known(self.0.last().await?)))
    }

    async fn get_postings(
        &self,
        request: Request<GetPostingsRequest>,
    ) -> Result<Response<GetPostingsResponse>, Status> {
        let ids = check(&request, transfer_ids)?;
        let postings =
            self.0.postings(&ids).await?.into_iter().map(|(id, decided, amount)| TransferPosting {
                transfer_id: id.to_string(),
                decision: decision(decided.decision).into(),
                wallet_user_id: decided.wallet_user_id.to_string(),
                order_id: decided.order_id.to_string(),
                amount: amount.map(Into::into),
            });
        Ok(Response::new(GetPostingsResponse { postings: postings.collect() }))
    }
}

fn transfer_ids(v: &mut Violations, request: &GetPostingsRequest) -> Option<Vec<TransferId>> {
    let ids = &request.transfer_ids;
    if ids.len() > TRANSFERS_MAX {
        v.add("transfer_ids", "TOO_MANY", format!("must be at most {TRANSFERS_MAX}"));
        return None;
    }
    let read = ids.iter().enumerate().map(|(at, id)| v.id(&format!("transfer_ids[{at}]"), id));
    let read: Vec<Option<TransferId>> = read.collect();
    read.into_iter().collect()
}

fn message(step: Step) -> RunAuditResponse {
    match step {
        Step::Progress { accounts, entries } => {
            RunAuditResponse { accounts_count: accounts, entries_count: entries, audit: None }
        }
        Step::Done(ended) => RunAuditResponse {
            accounts_count: ended.outcome.accounts,
            entries_count: ended.outcome.entries,
            audit: Some(audit(*ended)),
        },
    }
}

fn known(Known { last, age, full_at, failure }: Known) -> GetAuditResponse {
    GetAuditResponse {
        age_duration: last.is_some().then(|| age.try_into().unwrap_or_default()),
        audit: last.map(audit),
        full_start_time: full_at.map(timestamp),
        failure: failure.map(|failure| AuditFailure {
            fail_time: Some(timestamp(failure.failed_at)),
            description: failure.what,
            full: failure.is_full,
        }),
    }
}

fn audit(Ended { started_at, ended_at, outcome }: Ended) -> AuditMessage {
    let Outcome { is_full, cut, accounts, entries, lines, transits, findings, more_findings, .. } = outcome;
    let verdict = if findings.is_empty() { Verdict::Conserved } else { Verdict::Drift };
    AuditMessage {
        verdict: verdict.into(),
        start_time: Some(timestamp(started_at)),
        end_time: Some(timestamp(ended_at)),
        full: is_full,
        epoch: cut.epoch.to_string(),
        position: cut.position,
        in_flight_count: cut.in_flight,
        accounts_count: accounts,
        entries_count: entries,
        lines: lines.into_iter().map(line).collect(),
        transits: transits.into_iter().map(transit).collect(),
        findings: findings.into_iter().map(finding).collect(),
        more_findings_count: more_findings,
    }
}

fn line(line: Line) -> AuditLine {
    AuditLine {
        source: line.source,
        account: line.account,
        currency_code: line.currency,
        debit_minor_units: line.debit,
        credit_minor_units: line.credit,
    }
}

fn transit(transit: Transit) -> AuditTransit {
    AuditTransit {
        currency_code: transit.currency,
        order_minor_units: transit.order,
        user_minor_units: transit.user,
        beyond_minor_units: transit.beyond,
    }
}

fn finding(drift: Drift) -> AuditFinding {
    AuditFinding {
        source: drift.source,
        subject: drift.subject,
        description: drift.description,
        difference: drift.difference.map(|difference| MoneyMessage {
            currency_code: difference.currency,
            minor_units: difference.minor_units,
        }),
        only_full: drift.only_full,
    }
}
