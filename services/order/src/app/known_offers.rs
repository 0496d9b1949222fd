//! What products were like when they were last read. An order is put together from that without reading them again, and
//! the statement that places it checks under their locks whether it is still so. So what is kept here may be outdated.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use types::ProductId;

use crate::domain::{Offer, Wanted};

/// These take some megabytes. When there are more, all are forgotten.
const OFFERS_MAX: usize = 10_000;

/// The offers of products; of one core, and cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownOffers(Arc<Mutex<HashMap<ProductId, Offer>>>);

impl KnownOffers {
    /// The offers of all these products, if all are known. The stock is not kept, so it counts as unlimited.
    pub(super) fn of(&self, wanted: &[Wanted]) -> Option<Vec<Offer>> {
        let known = self.known();
        let offer = |item: &Wanted| Some(Offer { stock: i64::MAX, ..known.get(&item.product_id)?.clone() });
        wanted.iter().map(offer).collect()
    }

    /// Remembers what was read.
    pub(super) fn remember(&self, offers: Vec<Offer>) {
        let mut known = self.known();
        if known.len() + offers.len() > OFFERS_MAX {
            known.clear();
        }
        known.extend(offers.into_iter().map(|offer| (offer.product_id, offer)));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<ProductId, Offer>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::offer;

    #[test]
    fn offers_are_known_only_all_together_and_never_their_stock() {
        let known = KnownOffers::default();
        let (tea, cup) = (offer(1, "EUR", 250, 3), offer(2, "EUR", 999, 0));
        let wanted = [&tea, &cup].map(|offer| Wanted { product_id: offer.product_id, quantity: 1 });
        known.remember(vec![tea.clone()]);
        assert_eq!(known.of(&wanted), None);
        known.remember(vec![cup.clone()]);
        let expected = [tea, cup].map(|offer| Offer { stock: i64::MAX, ..offer });
        assert_eq!(known.of(&wanted), Some(expected.into()));
    }

    #[test]
    fn they_do_not_become_more_and_more() {
        let known = KnownOffers::default();
        for number in 0..=OFFERS_MAX as u128 {
            known.remember(vec![offer(number, "EUR", 1, 1)]);
        }
        assert_eq!(known.known().len(), 1);
    }
}
