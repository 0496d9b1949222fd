//! The descriptor set at run time, for reflection and for the method options, which generated code does not have.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};

/// The encoded descriptor set of all packages, options included.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("build.rs wrote a complete descriptor set")
});

/// All packages.
pub fn pool() -> &'static DescriptorPool {
    &POOL
}

/// A service by its full name, such as `order.v1.OrderService`.
pub fn service(name: &str) -> Option<ServiceDescriptor> {
    POOL.get_service_by_name(name)
}

/// A method by its path without the leading slash, such as `order.v1.OrderService/PlaceOrder`.
pub fn method(path: &str) -> Option<MethodDescriptor> {
    let (service, method) = path.split_once('/')?;
    POOL.get_service_by_name(service)?.methods().find(|candidate| candidate.name() == method)
}
