//! `order.customers`: keeps the read model of users up to date.
//!
//! Descriptions come two ways, by event and from `GetUser`, and the version decides: an event that is not above
//! what is known changes nothing.

use std::collections::HashMap;

use api::auth::v1::Role as WireRole;
use api::user::v1::{UserCreated, UserDeactivated, UserDeleted, UserReactivated, UserRoleChanged};
use events::{ConsumerId, EffectError, Effects, Event};
use prost::{Message, Name};
use types::{Role, UserId};

use crate::domain::{Customer, CustomerState};
use crate::storage::Tx;

/// This consumer.
pub(crate) const CUSTOMERS: ConsumerId = ConsumerId { name: "order.customers", stream: "user" };

/// The effects of user service's events on the read model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Customers;

/// What one event says about a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    Created(Role),
    HasRole(Role),
    Deactivated,
    Reactivated,
    Deleted,
}

impl Effects<Tx> for Customers {
    async fn apply(&self, tx: &mut Tx, run: &[Event]) -> Result<(), EffectError> {
        let mut facts = Vec::new();
        for event in run {
            if let Some((user_id, fact)) = fact(event)? {
                facts.push((user_id, event.new.aggregate_version, fact));
            }
        }
        if facts.is_empty() {
            return Ok(());
        }
        let mut ids: Vec<UserId> = facts.iter().map(|(user_id, ..)| *user_id).collect();
        ids.sort_unstable();
        ids.dedup();
        let known = tx.customers_fetch(&ids).await?;
        let mut known: HashMap<_, _> =
            known.into_iter().map(|customer| (customer.user_id, customer)).collect();
        for (user_id, version, fact) in facts {
            let next = next(known.get(&user_id), user_id, version, fact)?;
            known.insert(user_id, next);
        }
        let customers: Vec<_> = known.into_values().collect();
        Ok(tx.customers_upsert(&customers).await?)
    }

    fn concerns(&self, event: &Event) -> bool {
        !matches!(fact(event), Ok(None))
    }
}

/// The user after an event.
fn next(
    known: Option<&Customer>,
    user_id: UserId,
    version: i64,
    fact: Fact,
) -> Result<Customer, EffectError> {
    match (known, fact) {
        (Some(known), _) if known.version >= version => Ok(known.clone()),
        (_, Fact::Created(role)) => Ok(Customer { user_id, state: CustomerState::Active, role, version }),
        (Some(known), Fact::HasRole(role)) => Ok(Customer { role, version, ..known.clone() }),
        (Some(known), Fact::Deactivated) => {
            Ok(Customer { state: CustomerState::Deactivated, version, ..known.clone() })
        }
        (Some(known), Fact::Reactivated) => {
            Ok(Customer { state: CustomerState::Active, version, ..known.clone() })
        }
        (Some(known), Fact::Deleted) => {
            Ok(Customer { state: CustomerState::Deleted, version, ..known.clone() })
        }
        (None, _) => {
            Err(EffectError::Permanent(format!("user {user_id} changed and was never created").into()))
        }
    }
}

fn fact(event: &Event) -> Result<Option<(UserId, Fact)>, EffectError> {
    let read = |user_id: &str, fact| {
        let user_id = user_id.parse().map_err(|_| invalid(event, "its user_id is not an id"))?;
        Ok(Some((user_id, fact)))
    };
    if let Some(created) = decode::<UserCreated>(event)? {
        read(&created.user_id, Fact::Created(role(event, created.role())?))
    } else if let Some(changed) = decode::<UserRoleChanged>(event)? {
        read(&changed.user_id, Fact::HasRole(role(event, changed.role())?))
    } else if let Some(gone) = decode::<UserDeactivated>(event)? {
        read(&gone.user_id, Fact::Deactivated)
    } else if let Some(back) = decode::<UserReactivated>(event)? {
        read(&back.user_id, Fact::Reactivated)
    } else if let Some(gone) = decode::<UserDeleted>(event)? {
        read(&gone.user_id, Fact::Deleted)
    } else {
        Ok(None)
    }
}

fn decode<M: Message + Name + Default>(event: &Event) -> Result<Option<M>, EffectError> {
    event.decode().transpose().map_err(|error| EffectError::Permanent(error.into()))
}

fn role(event: &Event, role: WireRole) -> Result<Role, EffectError> {
    role.known().ok_or_else(|| invalid(event, "its role is unknown"))
}

fn invalid(event: &Event, why: &str) -> EffectError {
    EffectError::Permanent(format!("event {}: {why}", event.new.id).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::user;

    fn customer(state: CustomerState, role: Role, version: i64) -> Customer {
        Customer { user_id: user(1), state, role, version }
    }

    #[test]
    fn the_higher_version_wins_whichever_way_it_came() {
        let known = customer(CustomerState::Active, Role::Merchant, 3);
        let apply = |version, fact| next(Some(&known), user(1), version, fact).unwrap();
        assert_eq!(apply(1, Fact::Created(Role::Customer)), known);
        assert_eq!(apply(3, Fact::Deactivated), known);
        assert_eq!(apply(4, Fact::Deactivated), customer(CustomerState::Deactivated, Role::Merchant, 4));
        assert_eq!(apply(4, Fact::HasRole(Role::Admin)), customer(CustomerState::Active, Role::Admin, 4));
        let gone = customer(CustomerState::Deactivated, Role::Merchant, 4);
        let back = next(Some(&gone), user(1), 5, Fact::Reactivated).unwrap();
        assert_eq!(back, customer(CustomerState::Active, Role::Merchant, 5));
        assert_eq!(next(Some(&back), user(1), 4, Fact::Deactivated).unwrap(), back);
        let deleted = next(Some(&back), user(1), 6, Fact::Deleted).unwrap();
        assert_eq!(deleted, customer(CustomerState::Deleted, Role::Merchant, 6));
        assert_eq!(next(Some(&deleted), user(1), 5, Fact::Reactivated).unwrap(), deleted);
    }

    #[test]
    fn a_change_of_nobody_is_parked() {
        assert!(matches!(next(None, user(1), 2, Fact::Deactivated), Err(EffectError::Permanent(_))));
        assert_eq!(
            next(None, user(1), 1, Fact::Created(Role::Customer)).unwrap(),
            customer(CustomerState::Active, Role::Customer, 1)
        );
    }
}
