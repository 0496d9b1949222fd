//! The protobuf packages of `proto/` as Rust, and what every service does with them at its door: reading the
//! method options, checking fields, naming errors, fingerprinting requests.
//!
//! The workspace's lints are off in this crate because generated code trips them.
#![forbid(unsafe_code)]

pub mod call;
pub mod causes;
pub mod codec;
pub mod conservation;
pub mod descriptor;
pub mod failure_table;
pub mod fingerprint;
pub mod page_token;
pub mod read_mask;
pub mod refusal;
pub mod update_mask;
pub mod violations;

/// Package `auth.v1`.
pub mod auth {
    /// Package `auth.v1`.
    pub mod v1 {
        tonic::include_proto!("auth.v1");
    }
}
/// Package `common.v1`.
pub mod common {
    /// Package `common.v1`.
    pub mod v1 {
        tonic::include_proto!("common.v1");
    }
}
/// Package `doctor.v1`.
pub mod doctor {
    /// Package `doctor.v1`.
    pub mod v1 {
        tonic::include_proto!("doctor.v1");
    }
}
/// Package `event.v1`.
pub mod event {
    /// Package `event.v1`.
    pub mod v1 {
        tonic::include_proto!("event.v1");
    }
}
/// Package `order.v1`.
pub mod order {
    /// Package `order.v1`.
    pub mod v1 {
        tonic::include_proto!("order.v1");
    }
}
/// Package `session.v1`.
pub mod session {
    /// Package `session.v1`.
    pub mod v1 {
        tonic::include_proto!("session.v1");
    }
}
/// Package `user.v1`.
pub mod user {
    /// Package `user.v1`.
    pub mod v1 {
        tonic::include_proto!("user.v1");
    }
}

mod convert;
