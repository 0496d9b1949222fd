//! What the server must know of a method before its handler runs.

use std::collections::HashMap;

use super::metrics::CALLS;
use crate::rpc_metrics::MethodCalls;

/// The methods of a server, by path.
#[derive(Debug)]
pub(super) struct Methods {
    known: HashMap<String, Known>,
    /// Every method that the server does not have, whatever its path: else anybody could fill traces and metrics with
    /// names.
    other: Known,
}

/// What is known of a method.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) method: Method,
    pub(super) calls: MethodCalls,
}

impl Known {
    fn new(method: Method, name: &str) -> Self {
        Self { method, calls: MethodCalls::of(&CALLS, name) }
    }

    /// Its full name, `package.Service/Method`.
    pub(super) fn name(&self) -> &str {
        self.calls.method()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// One answer.
    Unary,
    /// Any number of answers: only a client's own timeout limits it.
    Streaming,
    /// Health: answered even when the server is busy.
    Health,
}

impl Methods {
    pub(super) fn of(services: &[String]) -> Self {
        let mut methods = HashMap::from([
            ("/grpc.health.v1.Health/Check".to_owned(), Method::Health),
            ("/grpc.health.v1.Health/List".to_owned(), Method::Health),
            ("/grpc.health.v1.Health/Watch".to_owned(), Method::Streaming),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo".to_owned(), Method::Streaming),
            ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo".to_owned(), Method::Streaming),
        ]);
        for service in services.iter().filter_map(|name| api::descriptor::service(name)) {
            for method in service.methods() {
                let streaming = method.is_server_streaming() || method.is_client_streaming();
                let kind = if streaming { Method::Streaming } else { Method::Unary };
                methods.insert(format!("/{}/{}", service.full_name(), method.name()), kind);
            }
        }
        let known = |(path, method): (String, Method)| {
            let known = Known::new(method, path.trim_start_matches('/'));
            (path, known)
        };
        Self {
            known: methods.into_iter().map(known).collect(),
            other: Known::new(Method::Unary, metrics::OTHER),
        }
    }

    /// The method at a path. An unknown one is treated as unary: it gets an error, and that is one answer.
    pub(super) fn find(&self, path: &str) -> &Known {
        self.known.get(path).unwrap_or(&self.other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_method_of_the_server_has_a_name() {
        let methods = Methods::of(&["order.v1.CatalogService".to_owned()]);
        let find = |path: &str| {
            let known = methods.find(path);
            (known.method, known.name())
        };
        let name = "order.v1.CatalogService/GetProduct";
        assert_eq!(find(&format!("/{name}")), (Method::Unary, name));
        assert_eq!(find("/grpc.health.v1.Health/Check"), (Method::Health, "grpc.health.v1.Health/Check"));
        for path in
            ["/order.v1.CatalogService/getproduct", "/order.v1.OrderService/PlaceOrder", name, "//", "*", ""]
        {
            assert_eq!(find(path), (Method::Unary, metrics::OTHER), "{path}");
        }
    }
}
