//! Products and orders.

use std::sync::Arc;

use anyhow::Result;
use api::order::v1::{
    CancelOrderRequest, CreateProductRequest, PlaceOrderRequest, Product, TransferOrderRequest,
    UpdateProductRequest,
};
use api::update_mask::FieldMask;
use testkit::ServiceName::Order;
use testkit::client::{eur, request_id};
use tonic::Status;

use super::{Kind, prepared};
use crate::people::{PRICE, cancel};
use crate::sweep::operation::{Changes, Doing, Measures, Operation, by};
use crate::sweep::stage::Stage;
use crate::sweep::way::{Commit, Way, point};

pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "CreateProduct",
        commits: &[Commit::Transaction(Order, "create_product")],
        way: Way::of(&["order"], &[]),
        moments: &[],
        prepare: |stage| prepared(async move { Ok(CreateProduct::new(stage)) }),
    },
    Kind {
        name: "UpdateProduct",
        commits: &[Commit::Transaction(Order, "update_product")],
        way: Way::of(&["order"], &[]),
        moments: &[],
        prepare: |stage| prepared(async move { Ok(UpdateProduct::new(stage)) }),
    },
    // Whatever is old enough is pruned, whoever's it is.
    Kind {
        name: "Place",
        commits: &[Commit::Statement(Order, "place_order")],
        way: Way::of(&["order"], &["user.statistics"]),
        moments: &[point(Order, "pruner.pruned", "order")],
        prepare: |stage| prepared(async move { Ok(Place::new(stage, 1)) }),
    },
    Kind {
        name: "PlaceTooMany",
        commits: &[Commit::Statement(Order, "place_order_refused")],
        way: Way::NONE,
        moments: &[],
        prepare: |stage| prepared(async move { Ok(Place::new(stage, 10_000)) }),
    },
    Kind {
        name: "CancelOrder",
        commits: &[Commit::Transaction(Order, "cancel_order")],
        way: Way::of(&["order"], &["user.statistics"]),
        moments: &[],
        prepare: |stage| prepared(Cancel::new(stage)),
    },
    Kind {
        name: "HandOver",
        commits: &[Commit::Transaction(Order, "transfer_order")],
        way: Way::of(&["order"], &["user.statistics"]),
        moments: &[],
        prepare: |stage| prepared(HandOver::new(stage)),
    },
];

pub(super) struct CreateProduct {
    stage: Arc<Stage>,
    request: CreateProductRequest,
}

impl CreateProduct {
    pub(super) fn new(stage: Arc<Stage>) -> Self {
        let request = CreateProductRequest {
            request_id: request_id(),
            name: "Another thing".to_owned(),
            unit_price: Some(eur(PRICE)),
            stock: 3,
        };
        Self { stage, request }
    }
}

impl Operation for CreateProduct {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let seller = &self.stage.market.seller.caller;
            Ok(format!("{:?}", seller.catalog().create_product(self.request.clone()).await?.into_inner()))
        })
    }

    fn effect(&self) -> Changes {
        vec![("events of order", by(1))]
    }
}

pub(super) struct UpdateProduct {
    stage: Arc<Stage>,
    request: UpdateProductRequest,
}

impl UpdateProduct {
    pub(super) fn new(stage: Arc<Stage>) -> Self {
        let request = UpdateProductRequest {
            request_id: request_id(),
            product_id: stage.market.product_id.clone(),
            product: Some(Product { name: "A better thing".to_owned(), ..Product::default() }),
            update_mask: Some(FieldMask { paths: vec!["name".to_owned()] }),
            etag: String::new(),
        };
        Self { stage, request }
    }
}

impl Operation for UpdateProduct {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let seller = &self.stage.market.seller.caller;
            Ok(format!("{:?}", seller.catalog().update_product(self.request.clone()).await?.into_inner()))
        })
    }

    fn effect(&self) -> Changes {
        vec![("events of order", by(1))]
    }
}

/// The stock, and the buyer's and the friend's orders as user service has counted them.
async fn counts(stage: &Stage) -> Result<Measures> {
    let mut counts = stage.statistics(&stage.market.buyer.user_id).await?;
    counts.push(("stock", stage.market.stock().await?));
    let friend = stage.user(&stage.friend.user_id).await?.order_statistics.unwrap_or_default();
    counts.push(("orders owned by the friend", friend.owned_count));
    Ok(counts)
}

pub(super) struct Place {
    stage: Arc<Stage>,
    quantity: i64,
    request: PlaceOrderRequest,
}

impl Place {
    pub(super) fn new(stage: Arc<Stage>, quantity: i64) -> Self {
        let request = stage.market.order_request(quantity);
        Self { stage, quantity, request }
    }

    fn is_possible(&self) -> bool {
        self.quantity == 1
    }
}

impl Operation for Place {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let buyer = &self.stage.market.buyer.caller;
            Ok(format!("{:?}", buyer.orders().place_order(self.request.clone()).await?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(counts(&self.stage))
    }

    fn effect(&self) -> Changes {
        if !self.is_possible() {
            return Vec::new();
        }
        vec![("stock", by(-1)), ("orders placed", by(1)), ("orders owned", by(1)), ("events of order", by(1))]
    }

    fn refusal(&self) -> Option<&'static str> {
        (!self.is_possible()).then_some("OUT_OF_STOCK")
    }
}

pub(super) struct Cancel {
    stage: Arc<Stage>,
    request: CancelOrderRequest,
}

impl Cancel {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let request = cancel(&stage.market.order(1).await?.id);
        Ok(Self { stage, request })
    }
}

impl Operation for Cancel {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let buyer = &self.stage.market.buyer.caller;
            Ok(format!("{:?}", buyer.orders().cancel_order(self.request.clone()).await?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(counts(&self.stage))
    }

    fn effect(&self) -> Changes {
        vec![
            ("stock", by(1)),
            ("orders cancelled", by(1)),
            ("orders owned", by(-1)),
            ("events of order", by(1)),
        ]
    }
}

pub(super) struct HandOver {
    stage: Arc<Stage>,
    request: TransferOrderRequest,
}

impl HandOver {
    pub(super) async fn new(stage: Arc<Stage>) -> Result<Self> {
        let request = TransferOrderRequest {
            request_id: request_id(),
            order_id: stage.market.order(1).await?.id,
            to_user_id: stage.friend.user_id.clone(),
            etag: String::new(),
        };
        Ok(Self { stage, request })
    }
}

impl Operation for HandOver {
    fn call(&self) -> Doing<'_, Result<String, Status>> {
        Box::pin(async {
            let buyer = &self.stage.market.buyer.caller;
            Ok(format!("{:?}", buyer.orders().transfer_order(self.request.clone()).await?.into_inner()))
        })
    }

    fn measure(&self) -> Doing<'_, Result<Measures>> {
        Box::pin(counts(&self.stage))
    }

    fn effect(&self) -> Changes {
        vec![("orders owned", by(-1)), ("orders owned by the friend", by(1)), ("events of order", by(1))]
    }
}
