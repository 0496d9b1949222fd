//! The access policies of the proto files, as a table by the paths of the methods.

use std::collections::HashMap;
use std::fmt;

use api::auth::v1 as proto;
use prost_reflect::{DescriptorPool, MethodDescriptor};
use types::Role;

/// The methods that need no policy, by their exact paths: health and reflection.
const EXEMPT: [&str; 5] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/List",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Who may call one method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    anyone: bool,
    authenticated: bool,
    roles: Vec<Role>,
    services: Vec<String>,
    streams: bool,
}

impl Policy {
    /// Whether no credentials are needed.
    #[must_use]
    pub fn admits_anyone(&self) -> bool {
        self.anyone
    }

    /// Whether a person with this role may call.
    #[must_use]
    pub fn admits_role(&self, role: Role) -> bool {
        self.authenticated || self.roles.contains(&role)
    }

    /// Whether this service may call.
    #[must_use]
    pub fn admits_service(&self, name: &str) -> bool {
        self.services.iter().any(|service| service == name)
    }

    /// Whether the answer is a stream. A stream may last longer than the caller's right to it.
    #[must_use]
    pub fn streams(&self) -> bool {
        self.streams
    }

    fn anyone() -> Self {
        Self { anyone: true, authenticated: false, roles: Vec::new(), services: Vec::new(), streams: false }
    }
}

/// The policies of all methods of a server.
#[derive(Debug, Clone)]
pub struct PolicyTable {
    by_path: HashMap<String, Policy>,
    services: Vec<String>,
}

/// The methods without a valid policy. A server that has one does not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError(Vec<String>);

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the access policy (auth.v1.policy) is not complete: {}", self.0.join("; "))
    }
}

impl std::error::Error for PolicyError {}

impl PolicyTable {
    /// Reads the policies of these services, such as `order.v1.OrderService`, from the descriptor set.
    ///
    /// # Errors
    /// When a service is unknown or one of its methods has no valid policy. The error names all of them.
    pub fn for_services(names: &[&str]) -> Result<Self, PolicyError> {
        Self::read(api::descriptor::pool(), names)
    }

    fn read(pool: &DescriptorPool, names: &[&str]) -> Result<Self, PolicyError> {
        let mut by_path: HashMap<_, _> =
            EXEMPT.iter().map(|path| ((*path).to_owned(), Policy::anyone())).collect();
        let mut problems = Vec::new();
        for name in names {
            let Some(service) = pool.get_service_by_name(name) else {
                problems.push(format!("there is no service {name}"));
                continue;
            };
            for method in service.methods() {
                match policy_of(&method) {
                    Ok(policy) => {
                        by_path.insert(format!("/{name}/{}", method.name()), policy);
                    }
                    Err(problem) => problems.push(format!("{name}/{}: {problem}", method.name())),
                }
            }
        }
        let services = names.iter().map(|name| (*name).to_owned()).collect();
        if problems.is_empty() { Ok(Self { by_path, services }) } else { Err(PolicyError(problems)) }
    }

    /// The policy of a path such as `/order.v1.OrderService/PlaceOrder`; `None` when there is no such method.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Policy> {
        self.by_path.get(path)
    }

    /// The services that the table was made for.
    #[must_use]
    pub fn services(&self) -> &[String] {
        &self.services
    }

    /// Whether the path is health or reflection.
    #[must_use]
    pub fn is_exempt(path: &str) -> bool {
        EXEMPT.contains(&path)
    }
}

fn policy_of(method: &MethodDescriptor) -> Result<Policy, &'static str> {
    let extension = method
        .parent_pool()
        .get_extension_by_name("auth.v1.policy")
        .ok_or("the descriptor set lacks the option")?;
    let options = method.options();
    if !options.has_extension(&extension) {
        return Err("no policy");
    }
    let value = options.get_extension(&extension);
    let message = value.as_message().ok_or("the policy is not a message")?;
    let policy: proto::Policy = message.transcode_to().map_err(|_| "the policy cannot be read")?;
    Ok(Policy { streams: method.is_server_streaming(), ..check(&policy)? })
}

fn check(policy: &proto::Policy) -> Result<Policy, &'static str> {
    let roles: Option<Vec<Role>> = policy.roles().map(proto::Role::known).collect();
    let roles = roles.ok_or("a role that does not exist")?;
    if roles.len() != policy.roles.len() {
        return Err("a role that does not exist");
    }
    if policy.services.iter().any(String::is_empty) {
        return Err("a service without a name");
    }
    let others = policy.authenticated || !roles.is_empty() || !policy.services.is_empty();
    match (policy.anyone, others) {
        (true, true) => Err("`anyone` stands alone"),
        (false, false) => Err("the policy admits nobody"),
        (true, false) | (false, true) => Ok(Policy {
            anyone: policy.anyone,
            authenticated: policy.authenticated,
            roles,
            services: policy.services.clone(),
            streams: false,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The services of the packages that are ours.
    fn all_services() -> Vec<String> {
        let ours = |name: &str| {
            ["user", "order", "session", "event"].contains(&name.split('.').next().unwrap_or(""))
        };
        api::descriptor::pool()
            .services()
            .map(|service| service.full_name().to_owned())
            .filter(|name| ours(name))
            .collect()
    }

    #[test]
    fn every_method_of_every_service_has_a_policy() {
        let names = all_services();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(names.contains(&"order.v1.CatalogService") && names.len() >= 9, "{names:?}");
        let table = PolicyTable::for_services(&names).unwrap();
        for service in &names {
            for method in api::descriptor::service(service).unwrap().methods() {
                let path = format!("/{service}/{}", method.name());
                assert!(table.get(&path).is_some(), "{path}");
            }
        }
    }

    #[test]
    fn the_table_says_what_the_proto_file_says() {
        let table =
            PolicyTable::for_services(&["order.v1.CatalogService", "session.v1.SessionService"]).unwrap();
        let create = table.get("/order.v1.CatalogService/CreateProduct").unwrap();
        assert!(create.admits_role(Role::Merchant) && create.admits_role(Role::Admin));
        assert!(!create.admits_role(Role::Customer) && !create.admits_service("order-service"));
        let get = table.get("/order.v1.CatalogService/GetProduct").unwrap();
        assert!(get.admits_role(Role::Customer) && !get.admits_anyone());
        assert!(table.get("/session.v1.SessionService/Login").unwrap().admits_anyone());
        let validate = table.get("/session.v1.SessionService/ValidateSession").unwrap();
        assert!(validate.admits_service("order-service") && !validate.admits_role(Role::Admin));
        assert!(table.get("/order.v1.OrderService/PlaceOrder").is_none());
    }

    #[test]
    fn every_method_without_a_policy_is_named() {
        // prost's types know no extensions, so a round trip through them loses every policy.
        let mut pool = DescriptorPool::new();
        pool.add_file_descriptor_set(prost::Message::decode(api::descriptor::FILE_DESCRIPTOR_SET).unwrap())
            .unwrap();
        let catalog = pool.get_service_by_name("order.v1.CatalogService").unwrap();
        let named: Vec<_> = catalog
            .methods()
            .map(|method| format!("order.v1.CatalogService/{}: no policy", method.name()))
            .collect();
        assert!(named.len() > 1, "{named:?}");
        let error = PolicyTable::read(&pool, &["order.v1.CatalogService", "order.v1.Nothing"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "the access policy (auth.v1.policy) is not complete: {}; there is no service order.v1.Nothing",
                named.join("; ")
            )
        );
    }

    #[test]
    fn a_policy_is_anyone_alone_or_somebody() {
        let policy = |anyone, roles: &[i32], services: &[&str]| proto::Policy {
            anyone,
            authenticated: false,
            roles: roles.to_vec(),
            services: services.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert!(check(&policy(true, &[], &[])).is_ok());
        assert!(check(&policy(false, &[3], &["order-service"])).is_ok());
        for bad in [
            policy(false, &[], &[]),
            policy(true, &[1], &[]),
            policy(true, &[], &["order-service"]),
            policy(false, &[0], &[]),
            policy(false, &[99], &[]),
            policy(false, &[], &[""]),
        ] {
            assert!(check(&bad).is_err(), "{bad:?}");
        }
    }
}
