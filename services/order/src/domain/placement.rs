//! Placing an order: which products may be in one, and what they cost together.

use std::collections::HashMap;

use time::OffsetDateTime;
use types::{AMOUNT_MAX, Money, OrderId, ProductId, Standing, UserId};

use super::{Order, OrderItem, OrderNow, OrderRefused, OrderState, ProductRefused};

/// The most items of one order.
pub(crate) const ITEMS_MAX: usize = 100;
/// The most of one product in one order.
pub(crate) const QUANTITY_MAX: i64 = 10_000;

/// One item that a customer wants; quantity and duplicates are checked already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) product_id: ProductId,
    pub(crate) quantity: i64,
}

/// A product as an order sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) product_id: ProductId,
    pub(crate) seller_id: UserId,
    pub(crate) name: String,
    pub(crate) unit_price: Money,
    pub(crate) stock: i64,
}

/// Why an order was not placed, for ever: an outcome that is recorded under its request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shortage {
    pub(crate) product_id: ProductId,
    pub(crate) quantity: i64,
    pub(crate) stock: i64,
}

/// An order in the making: it exists once the stock is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Placement {
    /// It can be placed, as far as could be seen without a lock.
    Possible(Order),
    /// Fewer are in stock than it wants.
    Short(Shortage),
}

impl Placement {
    /// Puts an order together from offers as they were read, in any order. It fixes prices, so it needs a currency that
    /// is in force; a product may have been priced before its currency was withdrawn.
    pub(crate) fn new(
        id: OrderId,
        customer_id: UserId,
        wanted: &[Wanted],
        offers: &[Offer],
        now: OffsetDateTime,
    ) -> Result<Self, OrderRefused> {
        let offers: HashMap<_, _> = offers.iter().map(|offer| (offer.product_id, offer)).collect();
        let wanted: Vec<(&Wanted, &Offer)> = wanted
            .iter()
            .map(|item| {
                let offer = offers.get(&item.product_id).ok_or(ProductRefused::NotFound(item.product_id))?;
                Ok((item, *offer))
            })
            .collect::<Result<_, OrderRefused>>()?;
        let (_, first) = wanted.first().expect("a request without items is refused before");
        let (seller_id, currency) = (first.seller_id, first.unit_price.currency);
        if let Some((_, other)) = wanted.iter().find(|(_, offer)| offer.seller_id != seller_id) {
            return Err(OrderRefused::SellerMismatch(other.product_id));
        }
        if let Some((_, other)) = wanted.iter().find(|(_, offer)| offer.unit_price.currency != currency) {
            return Err(OrderRefused::CurrencyMismatch(other.product_id));
        }
        if let Standing::Withdrawn(on) = currency.standing(now.date()) {
            return Err(OrderRefused::CurrencyWithdrawn { product_id: first.product_id, currency, on });
        }
        let total = Money::new(currency, total(&wanted)?);
        if let Some((item, offer)) = wanted.iter().find(|(item, offer)| offer.stock < item.quantity) {
            let (product_id, quantity) = (item.product_id, item.quantity);
            return Ok(Self::Short(Shortage { product_id, quantity, stock: offer.stock }));
        }
        let items = wanted
            .iter()
            .map(|(item, offer)| OrderItem {
                product_id: item.product_id,
                quantity: item.quantity,
                product_name: offer.name.clone(),
                unit_price: offer.unit_price,
            })
            .collect();
        let state = OrderState::Placed;
        let state = OrderNow { customer_id, state, refunded_minor_units: 0, version: 1, updated_at: now };
        Ok(Self::Possible(Order {
            id,
            seller_id,
            items,
            total,
            created_at: now,
            now: state,
            event_version: 1,
        }))
    }
}

/// The sum in 128 bits, where whatever a hundred prices and quantities may be fits.
fn total(wanted: &[(&Wanted, &Offer)]) -> Result<i64, OrderRefused> {
    let total: i128 = wanted
        .iter()
        .map(|(item, offer)| i128::from(item.quantity) * i128::from(offer.unit_price.minor_units))
        .sum();
    match i64::try_from(total) {
        Ok(total) if total <= AMOUNT_MAX => Ok(total),
        _ => Err(OrderRefused::TotalOverflow),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;
    use crate::domain::fixtures::{offer, user};

    fn place(wanted: &[Wanted], offers: &[Offer]) -> Result<Placement, OrderRefused> {
        let id = OrderId::from_uuid(uuid::Uuid::from_u128(1));
        Placement::new(id, user(1), wanted, offers, OffsetDateTime::UNIX_EPOCH)
    }

    fn want(offer: &Offer, quantity: i64) -> Wanted {
        Wanted { product_id: offer.product_id, quantity }
    }

    #[test]
    fn prices_are_fixed_and_summed_in_the_order_of_the_request() {
        let (tea, cup) = (offer(1, "EUR", 250, 10), offer(2, "EUR", 999, 10));
        let placement = place(&[want(&cup, 1), want(&tea, 3)], &[tea.clone(), cup.clone()]).unwrap();
        let Placement::Possible(order) = placement else { panic!("{placement:?}") };
        assert_eq!(order.total.minor_units, 999 + 750);
        assert_eq!(
            order.items.iter().map(|item| item.product_id).collect::<Vec<_>>(),
            [cup.product_id, tea.product_id]
        );
        assert_eq!(order.items[1].amount().minor_units, 750);
    }

    #[test]
    fn a_total_above_the_limit_is_refused_also_where_64_bits_are_too_few() {
        let at_limit = offer(1, "EUR", AMOUNT_MAX, i64::MAX);
        assert!(place(&[want(&at_limit, 1)], std::slice::from_ref(&at_limit)).is_ok());
        // Twice this wraps around to -2, and a sum of such amounts to anything.
        let beyond = offer(2, "EUR", i64::MAX, i64::MAX);
        for wanted in [vec![want(&at_limit, 2)], vec![want(&beyond, 2)], vec![want(&beyond, QUANTITY_MAX)]] {
            let result = place(&wanted, &[at_limit.clone(), beyond.clone()]);
            assert_eq!(result, Err(OrderRefused::TotalOverflow));
        }
    }

    #[test]
    fn products_of_one_order_have_one_seller_and_one_currency() {
        let (tea, cup) = (offer(1, "EUR", 1, 10), offer(2, "JPY", 1, 10));
        let wanted = [want(&tea, 1), want(&cup, 1)];
        let result = place(&wanted, &[tea.clone(), cup.clone()]);
        assert_eq!(result, Err(OrderRefused::CurrencyMismatch(cup.product_id)));
        let other = Offer { seller_id: user(7), ..cup.clone() };
        let result = place(&wanted, &[tea.clone(), other]);
        assert_eq!(result, Err(OrderRefused::SellerMismatch(cup.product_id)));
        assert_eq!(place(&wanted, &[tea]), Err(ProductRefused::NotFound(cup.product_id).into()));
    }

    #[test]
    fn an_order_fixes_no_price_in_a_withdrawn_currency() {
        let tea = offer(1, "HRK", 1, 10);
        let id = OrderId::from_uuid(uuid::Uuid::from_u128(1));
        let place = |now| Placement::new(id, user(1), &[want(&tea, 1)], std::slice::from_ref(&tea), now);
        assert!(place(datetime!(2022-12-31 23:59:59 UTC)).is_ok());
        let (product_id, currency) = (tea.product_id, tea.unit_price.currency);
        let withdrawn = OrderRefused::CurrencyWithdrawn { product_id, currency, on: date!(2023 - 01 - 01) };
        assert_eq!(place(datetime!(2023-01-01 0:00 UTC)), Err(withdrawn));
    }

    #[test]
    fn a_shortage_names_the_product_and_what_is_left() {
        let (tea, cup) = (offer(1, "EUR", 1, 3), offer(2, "EUR", 1, 2));
        let placement = place(&[want(&tea, 3), want(&cup, 3)], &[tea, cup.clone()]).unwrap();
        assert_eq!(
            placement,
            Placement::Short(Shortage { product_id: cup.product_id, quantity: 3, stock: 2 })
        );
    }
}
