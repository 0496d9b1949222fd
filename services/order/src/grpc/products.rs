//! Products: `order.v1.CatalogService`, its conversions and its refusals.

use api::common::v1::ErrorReason as Common;
use api::order::v1::catalog_service_server::CatalogService;
use api::order::v1::{
    self, CreateProductRequest, CreateProductResponse, ErrorReason, GetProductRequest, GetProductResponse,
    UpdateProductRequest, UpdateProductResponse,
};
use api::refusal::Refusal;
use api::violations::{Violations, timestamp};
use runtime::rpc::{accept, check, person, respond};
use tonic::{Code, Request, Response, Status};

use crate::app::App;
use crate::app::products::{CreateProduct, UpdateProduct};
use crate::domain::{NAME_MAX, Product, ProductRefused, STOCK_MAX};

/// The products.
#[derive(Clone)]
pub(super) struct Catalog(pub(super) App);

#[tonic::async_trait]
impl CatalogService for Catalog {
    async fn create_product(
        &self,
        request: Request<CreateProductRequest>,
    ) -> Result<Response<CreateProductResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, create_product)?);
        let answer = self.0.create_product(&call, caller, wish).await?;
        Ok(respond(answer, |product| CreateProductResponse { product: Some(product.into()) }))
    }

    async fn update_product(
        &self,
        request: Request<UpdateProductRequest>,
    ) -> Result<Response<UpdateProductResponse>, Status> {
        let (caller, (call, wish)) = (person(&request)?, accept(&request, update_product)?);
        let answer = self.0.update_product(&call, caller, wish).await?;
        Ok(respond(answer, |product| UpdateProductResponse { product: Some(product.into()) }))
    }

    async fn get_product(
        &self,
        request: Request<GetProductRequest>,
    ) -> Result<Response<GetProductResponse>, Status> {
        let id = check(&request, |v, request| v.id("product_id", &request.product_id))?;
        let product = self.0.get_product(id).await?;
        Ok(Response::new(GetProductResponse { product: Some(product.into()) }))
    }
}

fn create_product(v: &mut Violations, request: &CreateProductRequest) -> Option<CreateProduct> {
    let name = v.line("name", &request.name, NAME_MAX);
    let unit_price = v.amount("unit_price", request.unit_price.as_ref());
    let stock = Some(request.stock).filter(|stock| (0..=STOCK_MAX).contains(stock));
    if stock.is_none() {
        v.add("stock", "STOCK_OUT_OF_RANGE", format!("must be 0 to {STOCK_MAX}"));
    }
    Some(CreateProduct { name: name?, unit_price: unit_price?, stock: stock? })
}

fn update_product(v: &mut Violations, request: &UpdateProductRequest) -> Option<UpdateProduct> {
    let product_id = v.id("product_id", &request.product_id);
    let mask = v.update_mask::<v1::Product>(request.update_mask.as_ref(), &["name", "unit_price"]);
    let product = request.product.clone().unwrap_or_default();
    let name = mask.value("name", || v.line("product.name", &product.name, NAME_MAX));
    let unit_price = mask.value("unit_price", || v.amount("product.unit_price", product.unit_price.as_ref()));
    let version = v.etag(&request.etag);
    Some(UpdateProduct { product_id: product_id?, name: name?, unit_price: unit_price?, version: version? })
}

impl From<Product> for v1::Product {
    fn from(product: Product) -> Self {
        Self {
            id: product.id.to_string(),
            seller_id: product.seller_id.to_string(),
            name: product.name,
            unit_price: Some(product.unit_price.into()),
            stock: product.stock,
            create_time: Some(timestamp(product.created_at)),
            update_time: Some(timestamp(product.updated_at)),
            etag: product.version.to_string(),
        }
    }
}

impl From<&ProductRefused> for Refusal {
    fn from(refused: &ProductRefused) -> Self {
        match refused {
            ProductRefused::NotFound(id) => {
                Self::new(Code::NotFound, &ErrorReason::ProductNotFound, refused.to_string())
                    .resource("product", id.to_string())
            }
            ProductRefused::NotSeller(id) => {
                Self::new(Code::PermissionDenied, &Common::PermissionDenied, refused.to_string())
                    .with("product_id", id.to_string())
            }
            ProductRefused::VersionMismatch(id) => {
                Self::new(Code::Aborted, &Common::VersionMismatch, refused.to_string())
                    .resource("product", id.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::refused::wire;
    use super::*;
    use crate::domain::fixtures::offer;

    #[test]
    fn every_refusal_has_its_code_reason_and_detail() {
        let id = offer(1, "EUR", 1, 1).product_id;
        for (refused, code, reason, subject) in [
            (ProductRefused::NotFound(id), Code::NotFound, "PRODUCT_NOT_FOUND", format!("product {id}")),
            (ProductRefused::NotSeller(id), Code::PermissionDenied, "PERMISSION_DENIED", String::new()),
            (ProductRefused::VersionMismatch(id), Code::Aborted, "VERSION_MISMATCH", format!("product {id}")),
        ] {
            assert_eq!(wire(refused), (code, reason.to_owned(), subject), "{refused}");
        }
    }
}
