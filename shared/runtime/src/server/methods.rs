//! What the server must know of a method before its handler runs.

use std::collections::HashMap;

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

    /// An unknown path is treated as unary: it gets an error, and that is one answer.
    pub(super) fn get(&self, path: &str) -> Method {
        self.0.get(path).copied().unwrap_or(Method::Unary)
    }
}
