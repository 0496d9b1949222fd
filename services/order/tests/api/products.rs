//! `CatalogService`.

use api::auth::v1::Role;
use api::common::v1::Money;
use api::order::v1::{CreateProductRequest, GetProductRequest, Product, UpdateProductRequest};
use api::update_mask::FieldMask;
use tonic::Code;

use crate::harness::{Harness, eur, is_replay, request_id};
use crate::refusal::assert_refused;

fn creating(name: &str, stock: i64) -> CreateProductRequest {
    CreateProductRequest {
        request_id: request_id(),
        name: name.to_owned(),
        unit_price: Some(eur(250)),
        stock,
    }
}

#[tokio::test]
async fn a_merchant_puts_a_product_on_sale_and_everyone_can_read_it() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let product = seller.sell(eur(250), 7).await;
    assert_eq!((product.seller_id.as_str(), product.stock, product.etag.as_str()), (&*seller.id, 7, "1"));
    assert_eq!(customer.product(&product.id).await, product);
    assert_eq!(harness.events("order.v1.ProductCreated").await, 1);
}

#[tokio::test]
async fn a_repeat_gives_the_first_answer_though_the_product_has_changed() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let request = creating("Tea", 7);
    let first = seller.caller.catalog().create_product(request.clone()).await.unwrap();
    assert!(!is_replay(&first));
    let product = first.into_inner().product.unwrap();
    customer.buy(&product, 2).await;
    let again = seller.caller.catalog().create_product(request).await.unwrap();
    assert!(is_replay(&again));
    assert_eq!(again.into_inner().product.unwrap(), product);
    assert_eq!(harness.count("SELECT count(*) FROM products").await, 1);
    assert_eq!(harness.count("SELECT count(*) FROM request WHERE keep_until IS NOT NULL").await, 1);
}

#[tokio::test]
async fn one_request_id_makes_one_product_however_many_call_at_once() {
    let harness = Harness::start().await;
    let seller = harness.person(Role::Merchant);
    let request = creating("Tea", 7);
    let calls = (0..20).map(|_| {
        let mut catalog = seller.caller.catalog();
        let request = request.clone();
        async move { catalog.create_product(request).await.unwrap() }
    });
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| !is_replay(answer)).count(), 1);
    let mut products: Vec<_> = answers.into_iter().map(|answer| answer.into_inner().product).collect();
    products.dedup();
    assert_eq!(products.len(), 1);
    assert_eq!(harness.count("SELECT count(*) FROM products").await, 1);
    assert_eq!(harness.events("order.v1.ProductCreated").await, 1);
}

#[tokio::test]
async fn the_same_id_for_another_product_is_refused_and_names_the_fields() {
    let harness = Harness::start().await;
    let seller = harness.person(Role::Merchant);
    let request = creating("Tea", 7);
    seller.caller.catalog().create_product(request.clone()).await.unwrap();
    let other = CreateProductRequest { name: "Cup".to_owned(), stock: 8, ..request.clone() };
    let status = seller.caller.catalog().create_product(other.clone()).await.unwrap_err();
    assert_refused(&status, Code::InvalidArgument, "REQUEST_ID_REUSED", &["request_id REQUEST_ID_REUSED"]);
    let info = tonic_types::StatusExt::get_details_error_info(&status).unwrap();
    assert_eq!(info.metadata["fields"], "name,stock");
    // Ids are each caller's own.
    let stranger = harness.person(Role::Merchant);
    assert!(!is_replay(&stranger.caller.catalog().create_product(other).await.unwrap()));
}

#[tokio::test]
async fn every_broken_rule_is_named_at_once_and_nothing_is_kept() {
    let harness = Harness::start().await;
    let seller = harness.person(Role::Merchant);
    let request = CreateProductRequest {
        request_id: "1".to_owned(),
        name: "a\0b".to_owned(),
        unit_price: Some(Money { currency_code: "eur".to_owned(), minor_units: 0 }),
        stock: 1_000_000_001,
    };
    let status = seller.caller.catalog().create_product(request).await.unwrap_err();
    assert_refused(
        &status,
        Code::InvalidArgument,
        "INVALID_REQUEST",
        &[
            "request_id INVALID_ID",
            "name CONTROL_CHARACTER",
            "unit_price.currency_code UNKNOWN_CURRENCY",
            "unit_price.minor_units AMOUNT_NOT_POSITIVE",
            "stock STOCK_OUT_OF_RANGE",
        ],
    );
    assert_eq!(
        harness.count("SELECT (SELECT count(*) FROM request) + (SELECT count(*) FROM products)").await,
        0
    );
}

#[tokio::test]
async fn customers_sell_nothing_and_a_missing_product_is_not_found() {
    let harness = Harness::start().await;
    let customer = harness.person(Role::Customer);
    let status = customer.caller.catalog().create_product(creating("Tea", 1)).await.unwrap_err();
    assert_refused(&status, Code::PermissionDenied, "PERMISSION_DENIED", &[]);
    let status = harness.nobody().catalog().create_product(creating("Tea", 1)).await.unwrap_err();
    assert_refused(&status, Code::Unauthenticated, "MISSING_CREDENTIALS", &[]);
    let product_id = request_id();
    let request = GetProductRequest { product_id: product_id.clone() };
    let status = customer.caller.catalog().get_product(request).await.unwrap_err();
    assert_refused(&status, Code::NotFound, "PRODUCT_NOT_FOUND", &[&format!("product {product_id}")]);
}

fn pricing(product: &Product, minor_units: i64) -> UpdateProductRequest {
    UpdateProductRequest {
        request_id: request_id(),
        product_id: product.id.clone(),
        // The name is not in the mask, so it stays.
        product: Some(Product {
            name: "Ignored".to_owned(),
            unit_price: Some(eur(minor_units)),
            ..Product::default()
        }),
        update_mask: Some(FieldMask { paths: vec!["unit_price".to_owned()] }),
        etag: String::new(),
    }
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names_and_tells_of_it_once() {
    let harness = Harness::start().await;
    let seller = harness.person(Role::Merchant);
    let product = seller.sell(eur(250), 7).await;
    let request = pricing(&product, 300);
    let calls = (0..10).map(|_| {
        let (mut catalog, request) = (seller.caller.catalog(), request.clone());
        async move { catalog.update_product(request).await.unwrap() }
    });
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| !is_replay(answer)).count(), 1);
    let updated = seller.product(&product.id).await;
    for answer in answers {
        assert_eq!(answer.into_inner().product.as_ref(), Some(&updated));
    }
    let expected = Product {
        unit_price: Some(eur(300)),
        etag: "2".to_owned(),
        update_time: updated.update_time,
        ..product
    };
    assert_eq!(updated, expected);
    assert_eq!(harness.events("order.v1.ProductUpdated").await, 1);
    assert_eq!(
        harness.count("SELECT aggregate_version FROM outbox WHERE type = 'order.v1.ProductUpdated'").await,
        2
    );
}

#[tokio::test]
async fn an_order_has_the_price_that_it_was_placed_at() {
    let harness = Harness::start().await;
    let (seller, customer) = (harness.person(Role::Merchant), harness.person(Role::Customer));
    let product = seller.sell(eur(250), 7).await;
    // The service remembers the product as it was for this order.
    let before = customer.buy(&product, 2).await;
    seller.caller.catalog().update_product(pricing(&product, 300)).await.unwrap();
    let after = customer.buy(&product, 2).await;
    assert_eq!((before.total, after.total), (Some(eur(500)), Some(eur(600))));
    assert_eq!(customer.order(&before.id).await.unwrap().total, Some(eur(500)));
    assert_eq!(seller.product(&product.id).await.stock, 3);
}

#[tokio::test]
async fn a_product_is_changed_by_its_merchant_or_an_admin_and_never_over_a_newer_version() {
    let harness = Harness::start().await;
    let (seller, other) = (harness.person(Role::Merchant), harness.person(Role::Merchant));
    let admin = harness.person(Role::Admin);
    let product = seller.sell(eur(250), 7).await;
    let status = other.caller.catalog().update_product(pricing(&product, 1)).await.unwrap_err();
    assert_refused(&status, Code::PermissionDenied, "PERMISSION_DENIED", &[]);
    admin.caller.catalog().update_product(pricing(&product, 300)).await.unwrap();
    let stale = UpdateProductRequest { etag: product.etag.clone(), ..pricing(&product, 1) };
    let status = seller.caller.catalog().update_product(stale).await.unwrap_err();
    assert_refused(&status, Code::Aborted, "VERSION_MISMATCH", &[&format!("product {}", product.id)]);
    let now = seller.product(&product.id).await;
    assert_eq!((now.unit_price, now.seller_id), (Some(eur(300)), product.seller_id));
    assert_eq!(harness.events("order.v1.ProductUpdated").await, 1);
}
