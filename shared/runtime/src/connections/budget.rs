//! Whether a database has room for every replica of a service.

/// What others need besides the replicas: migrations, backups, an operator who looks why nothing works.
const RESERVE: usize = 8;

/// The connections that all replicas of a service may take together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Processes of the service at a time.
    pub replicas: usize,
    /// The most connections of one of them.
    pub each: usize,
}

impl Budget {
    /// How many connections may be open at a time, those of others included.
    #[must_use]
    pub const fn needed(&self) -> usize {
        self.replicas.saturating_mul(self.each).saturating_add(RESERVE)
    }

    /// Whether a server that allows so many connections has room for them.
    #[must_use]
    pub const fn fits(&self, allowed: usize) -> bool {
        self.needed() <= allowed
    }

    /// The most connections that each replica may have on a server that allows so many.
    #[must_use]
    pub const fn share(&self, allowed: usize) -> usize {
        allowed.saturating_sub(RESERVE) / self.replicas
    }

    /// Logs a warning if `server` allows fewer connections than that, and tells whether it allows enough. `setting` is
    /// the name of the one that says how many a replica may take.
    pub fn check(&self, server: &'static str, allowed: usize, setting: &'static str) -> bool {
        let fits = self.fits(allowed);
        if !fits {
            let Self { replicas, each } = *self;
            tracing::warn!(
                server,
                allowed,
                needed = self.needed(),
                replicas,
                each,
                others = RESERVE,
                "all replicas together may need more connections than {server} allows: lower {setting}, correct \
                 REPLICAS, or let {server} allow more"
            );
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_of_others_counts_and_the_last_connection_may_be_used() {
        let budget = Budget { replicas: 3, each: 24 };
        assert_eq!(budget.needed(), 80);
        assert!(budget.check("PostgreSQL", 80, "POSTGRES_CONNECTIONS"));
        assert!(!budget.check("PostgreSQL", 79, "POSTGRES_CONNECTIONS"));
        assert!(!Budget { replicas: usize::MAX, ..budget }.check("PostgreSQL", 80, "POSTGRES_CONNECTIONS"));
        // Wrapped, this product is zero.
        let absurd = Budget { replicas: usize::MAX / 2 + 1, each: 2 };
        assert_eq!(absurd.needed(), usize::MAX);
    }
}
