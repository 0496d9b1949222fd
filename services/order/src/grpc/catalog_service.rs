//! `order.v1.CatalogService`: decode, use case, encode.

use api::order::v1::catalog_service_server::CatalogService;
use api::order::v1::{CreateProductRequest, CreateProductResponse, GetProductRequest, GetProductResponse};
use tonic::{Request, Response, Status};

use super::call::{call, caller, respond};
use super::convert::{check, create_product};
use crate::app::App;

/// The products.
#[derive(Clone)]
pub(super) struct Catalog(pub(super) App);

#[tonic::async_trait]
impl CatalogService for Catalog {
    async fn create_product(
        &self,
        request: Request<CreateProductRequest>,
    ) -> Result<Response<CreateProductResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let (request_id, wish) = check(|v| {
            let request_id = v.request_id(&request.request_id);
            let wish = create_product(v, &request, caller.user_id);
            request_id.zip(wish)
        })?;
        let call = call(caller, "order.v1.CatalogService/CreateProduct", request_id, &request);
        let answer = self.0.create_product(&call, wish).await?;
        Ok(respond(answer, |product| CreateProductResponse { product: Some(product.into()) }))
    }

    async fn get_product(
        &self,
        request: Request<GetProductRequest>,
    ) -> Result<Response<GetProductResponse>, Status> {
        let product_id = check(|v| v.id("product_id", &request.get_ref().product_id))?;
        let product = self.0.product(product_id).await?;
        Ok(Response::new(GetProductResponse { product: Some(product.into()) }))
    }
}
