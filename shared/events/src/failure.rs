//! Between the failures that the backbone's traits know, which are transient or permanent, and those of a service.

use types::Failure;

use crate::store::StoreError;

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        Self::of(failure.is_transient(), failure)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Transient(cause) => Self::unavailable(cause),
            StoreError::Permanent(cause) => Self::internal(cause),
        }
    }
}

impl StoreError {
    /// A service's error on its way through the backbone.
    pub fn of(is_transient: bool, error: impl std::error::Error + Send + Sync + 'static) -> Self {
        if is_transient { Self::Transient(error.into()) } else { Self::Permanent(error.into()) }
    }

    /// The service's error again, if this was one, else the failure that it means for a service.
    pub fn into_error<E: From<Failure> + std::error::Error + Send + Sync + 'static>(self) -> E {
        let (cause, is_transient) = match self {
            Self::Transient(cause) => (cause, true),
            Self::Permanent(cause) => (cause, false),
        };
        match cause.downcast::<E>() {
            Ok(error) => *error,
            Err(cause) if is_transient => Failure::unavailable(cause).into(),
            Err(cause) => Failure::internal(cause).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_error_is_itself_again_after_its_way_through_the_backbone() {
        let away = StoreError::from(Failure::contention("a deadlock"));
        assert!(matches!(away, StoreError::Transient(_)));
        assert!(matches!(away.into_error(), Failure::Contention(_)));
        let defect = StoreError::from(Failure::internal("a defect"));
        assert!(matches!(defect, StoreError::Permanent(_)));
        assert!(matches!(defect.into_error(), Failure::Internal(_)));
    }

    #[test]
    fn what_the_backbone_itself_says_is_a_failure_of_its_kind() {
        let away = StoreError::Transient("another resync took over".into());
        assert!(matches!(away.into_error(), Failure::Unavailable { .. }));
        let defect = StoreError::Permanent("corrupt".into());
        assert!(matches!(defect.into_error(), Failure::Internal(_)));
    }
}
