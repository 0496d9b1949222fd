//! What the server must know of a method before its handler runs.

use std::collections::HashMap;

/// How a method that the server does not have is called in traces, whatever its path: else anybody could fill
/// them with names.
pub(super) const UNKNOWN: &str = "_OTHER";

/// The methods of a server, by path.
#[derive(Debug)]
pub(super) struct Methods(HashMap<String, Method>);

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
        Self(methods)
    }

    /// What the method at a path is, and its name, `package.Service/Method`. An unknown one is treated as unary: it
    /// gets an error, and that is one answer.
    pub(super) fn find(&self, path: &str) -> (Method, &str) {
        let known = self.0.get_key_value(path);
        known.map_or((Method::Unary, UNKNOWN), |(path, method)| (*method, path.trim_start_matches('/')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_method_of_the_server_has_a_name() {
        let methods = Methods::of(&["order.v1.CatalogService".to_owned()]);
        let name = "order.v1.CatalogService/GetProduct";
        assert_eq!(methods.find(&format!("/{name}")), (Method::Unary, name));
        assert_eq!(
            methods.find("/grpc.health.v1.Health/Check"),
            (Method::Health, "grpc.health.v1.Health/Check")
        );
        for path in
            ["/order.v1.CatalogService/getproduct", "/order.v1.OrderService/PlaceOrder", name, "//", "*", ""]
        {
            assert_eq!(methods.find(path), (Method::Unary, UNKNOWN), "{path}");
        }
    }
}
