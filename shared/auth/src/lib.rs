//! Who calls, and whether that caller may call this method.
//!
//! [`AuthLayer`] stands before decoding: it reads the method's policy from the proto option `auth.v1.policy`,
//! checks the credentials and tells the [`Principal`], which the server leaves in the request's extensions. Whether an
//! object belongs to the caller is not decided here: only the services know their objects.

mod cache;
mod certificate;
mod credentials;
mod layer;
mod policy;
mod principal;
mod rightful_body;
mod service_tokens;
pub mod token;
mod verifier;

pub use cache::{CacheConfig, CachingVerifier, SessionCache};
pub use certificate::CertificateIdentity;
pub use credentials::Credentials;
pub use layer::{Admitted, AuthLayer, Right};
pub use policy::{Policy, PolicyError, PolicyTable};
pub use principal::{Person, Principal};
pub use service_tokens::{ServiceTokens, ServiceTokensError};
pub use verifier::{CountedVerifier, SessionVerifier, Verified, VerifyError};
