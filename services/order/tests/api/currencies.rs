//! What goes on, and what does not, when a currency is withdrawn.

use std::sync::Arc;

use api::common::v1::Money;
use api::order::v1::order::State;
use api::order::v1::transfer;
use api::order::v1::{
    CreateProductRequest, GetAccountRequest, ListAccountEntriesRequest, Product, RefundOrderRequest,
    UpdateProductRequest,
};
use api::update_mask::FieldMask;
use time::Duration;
use time::macros::datetime;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use types::ManualClock;

use crate::book::{assert_books_balance, listing};
use crate::harness::{Harness, eur, is_replay, item, placing, request_id};
use crate::paying::{PATIENT, Scene, pay, paying, refund, refunding};
use crate::refusal::assert_refused;
use crate::wallet::Answer;

fn ang(minor_units: i64) -> Money {
    Money { currency_code: "ANG".to_owned(), minor_units }
}

fn creating(unit_price: Money) -> CreateProductRequest {
    CreateProductRequest {
        request_id: request_id(),
        name: "Cup".to_owned(),
        unit_price: Some(unit_price),
        stock: 1,
    }
}

fn changing(product: &Product, path: &str, unit_price: Money) -> UpdateProductRequest {
    let changed = Product { name: "Mug".to_owned(), unit_price: Some(unit_price), ..Product::default() };
    UpdateProductRequest {
        request_id: request_id(),
        product_id: product.id.clone(),
        product: Some(changed),
        update_mask: Some(FieldMask { paths: vec![path.to_owned()] }),
        etag: String::new(),
    }
}

fn assert_withdrawn(status: &Status, field: &str) {
    let rule = format!("{field} CURRENCY_WITHDRAWN");
    assert_refused(status, Code::InvalidArgument, "INVALID_REQUEST", &[&rule]);
    let told = status.get_details_bad_request().unwrap().field_violations.remove(0).description;
    assert_eq!(told, "ANG was withdrawn on 2025-03-31");
}

impl Scene {
    async fn pay_and_tell(&self, order: &api::order::v1::Order) {
        let request = paying(order);
        let told = async {
            let id = self.started(&request.request_id).await;
            self.teller.tell(&self.harness, &[(id, Answer::Reserved), (id, Answer::Posted)]).await;
        };
        let (paid, ()) = tokio::join!(pay(&self.customer, request.clone()), told);
        assert_eq!(paid.unwrap().into_inner().order.unwrap().state(), State::Paid);
    }
}

/// Claim: what there is in a withdrawn currency is read, paid and refunded; nothing new is priced in it.
#[tokio::test]
async fn a_withdrawn_currency_is_read_paid_and_refunded_and_no_longer_priced() {
    let clock = Arc::new(ManualClock::at(datetime!(2025-03-30 23:00 UTC)));
    let harness = Box::pin(Harness::start_by(Arc::clone(&clock) as _, &[PATIENT])).await;
    let scene = Scene::on(harness, ang(250)).await;
    let placed = scene.customer.buy(&scene.product, 1).await;
    Box::pin(scene.pay_and_tell(&scene.order)).await;
    let mut catalog = scene.seller.caller.catalog();
    let creation = creating(ang(5));
    let cup = catalog.create_product(creation.clone()).await.unwrap().into_inner().product.unwrap();

    clock.advance(Duration::hours(2));

    // What the calls of the day before did stays their answer.
    let again = catalog.create_product(creation).await.unwrap();
    assert!(is_replay(&again) && again.into_inner().product == Some(cup.clone()));
    // Nothing is priced in it any more, and a product can be told otherwise of.
    let status = catalog.create_product(creating(ang(5))).await.unwrap_err();
    assert_withdrawn(&status, "unit_price.currency_code");
    let status = catalog.update_product(changing(&cup, "unit_price", ang(4))).await.unwrap_err();
    assert_withdrawn(&status, "product.unit_price.currency_code");
    let named = catalog.update_product(changing(&cup, "name", ang(4))).await.unwrap().into_inner();
    let named = named.product.unwrap();
    assert_eq!((named.name.as_str(), named.unit_price), ("Mug", Some(ang(5))));
    let status = scene.customer.place(placing(vec![item(&scene.product, 1)])).await.unwrap_err();
    let subject = format!("products/{}", scene.product.id);
    assert_refused(&status, Code::FailedPrecondition, "CURRENCY_WITHDRAWN", &[&subject]);
    let info = status.get_details_error_info().unwrap();
    assert_eq!((&*info.metadata["currency_code"], &*info.metadata["withdrawn_on"]), ("ANG", "2025-03-31"));
    // Orders of the day before are read, paid and refunded.
    Box::pin(scene.pay_and_tell(&placed)).await;
    let request = RefundOrderRequest { amount: Some(ang(50)), ..refunding(&scene.order, 0) };
    let told = async {
        let id = scene.started(&request.request_id).await;
        scene.teller.tell(&scene.harness, &[(id, Answer::Reserved), (id, Answer::Posted)]).await;
        scene.transfer(id).await
    };
    let (refunded, transfer) = tokio::join!(refund(&scene.seller, request.clone()), told);
    assert_eq!(refunded.unwrap().into_inner().order.unwrap().refunded, Some(ang(50)));
    assert_eq!((transfer.state(), transfer.amount), (transfer::State::Completed, Some(ang(50))));
    // So is the account; one that was never used does not come to be.
    let account = GetAccountRequest { owner_id: String::new(), currency_code: "ANG".to_owned() };
    let mut accounts = scene.seller.caller.accounts();
    let seen = accounts.get_account(account.clone()).await.unwrap().into_inner().account.unwrap();
    assert_eq!(seen.balance, Some(ang(500 + 250 - 50)));
    let page = ListAccountEntriesRequest { currency_code: "ANG".to_owned(), ..listing(0, "") };
    assert_eq!(accounts.list_account_entries(page).await.unwrap().into_inner().entries.len(), 3);
    let status = scene.customer.caller.accounts().get_account(account).await.unwrap_err();
    assert_withdrawn(&status, "currency_code");
    assert_books_balance(&scene.harness).await;
    // With a price in another currency it is sold again.
    catalog.update_product(changing(&scene.product, "unit_price", eur(3))).await.unwrap();
    assert_eq!(scene.customer.buy(&scene.product, 1).await.total, Some(eur(3)));
}

#[tokio::test]
async fn a_currency_is_priced_from_its_first_day_on() {
    let clock = Arc::new(ManualClock::at(datetime!(2025-03-30 23:59:59 UTC)));
    let harness = Harness::start_by(Arc::clone(&clock) as _, &[]).await;
    let seller = harness.person(api::auth::v1::Role::Merchant);
    let request = creating(Money { currency_code: "XCG".to_owned(), minor_units: 1 });
    let status = seller.caller.catalog().create_product(request.clone()).await.unwrap_err();
    let rules = ["unit_price.currency_code CURRENCY_NOT_YET_IN_FORCE"];
    assert_refused(&status, Code::InvalidArgument, "INVALID_REQUEST", &rules);
    clock.advance(Duration::SECOND);
    // The refusal was not kept: the same id is good for the same product.
    assert!(seller.caller.catalog().create_product(request).await.is_ok());
}
