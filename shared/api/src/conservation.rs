//! The conservation check over the trial balances of both services: what must hold in each book at any time, and
//! between the two books when no transfer is on its way. While credit moves, only `order.v1.AuditService` can tell.

use std::collections::BTreeSet;

use types::Decimal;

use crate::{order, user};

/// Whose book a line is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Book {
    /// User service's: wallets, `mint` and `transit`.
    User,
    /// Order service's: merchants' accounts and `transit`.
    Order,
}

impl Book {
    /// The service that keeps it.
    pub fn service(self) -> &'static str {
        match self {
            Self::User => "user-service",
            Self::Order => "order-service",
        }
    }
}

/// One line of either book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Whose book it is in.
    pub book: Book,
    /// `wallets` or `accounts` for all of them together, else a system account.
    pub account: String,
    /// ISO 4217.
    pub currency: String,
    /// Sum of the debits, in minor units.
    pub debit: i64,
    /// Sum of the credits.
    pub credit: i64,
    /// Sum of the balances that owners see; zero for system accounts.
    pub balance: i64,
    /// Reserved by running transfers.
    pub held: i64,
}

impl Line {
    /// Credits less debits.
    pub fn net(&self) -> i64 {
        self.credit - self.debit
    }

    /// Whether it sums what belongs to users, not to the system.
    pub fn has_owners(&self) -> bool {
        self.account == "wallets" || self.account == "accounts"
    }
}

/// Both books. Order service's is read first, so a transfer that it decides after that may be in user service's book
/// only.
#[derive(Debug, Clone)]
pub struct Books {
    /// The lines of both.
    pub lines: Vec<Line>,
    /// Transfers that are decided and not complete.
    pub unfinished: i32,
}

impl Books {
    /// Puts both answers together.
    pub fn new(
        wallets: user::v1::GetTrialBalanceResponse,
        accounts: order::v1::GetTrialBalanceResponse,
    ) -> Self {
        let unfinished = accounts.unfinished_count;
        let wallets = wallets.lines.into_iter().map(|line| Line {
            book: Book::User,
            account: line.account,
            currency: line.currency_code,
            debit: line.debit_minor_units,
            credit: line.credit_minor_units,
            balance: line.balance_minor_units,
            held: line.held_minor_units,
        });
        let accounts = accounts.lines.into_iter().map(|line| Line {
            book: Book::Order,
            account: line.account,
            currency: line.currency_code,
            debit: line.debit_minor_units,
            credit: line.credit_minor_units,
            balance: line.balance_minor_units,
            held: line.held_minor_units,
        });
        Self { lines: wallets.chain(accounts).collect(), unfinished }
    }

    /// The currencies of both.
    pub fn currencies(&self) -> BTreeSet<&str> {
        self.lines.iter().map(|line| line.currency.as_str()).collect()
    }

    /// Credits less debits of the lines that fit.
    pub fn net(&self, currency: &str, book: Option<Book>, account: Option<&str>) -> i64 {
        self.lines
            .iter()
            .filter(|line| line.currency == currency)
            .filter(|line| book.is_none_or(|book| line.book == book))
            .filter(|line| account.is_none_or(|account| line.account == account))
            .map(Line::net)
            .sum()
    }

    /// What is wrong, in words; empty when money is conserved. The two books are compared only when no transfer is on
    /// its way.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for currency in self.currencies() {
            for book in [Book::User, Book::Order] {
                let off = self.net(currency, Some(book), None);
                if off != 0 {
                    let off = Decimal::of(currency, off);
                    problems.push(format!("{}: the book is off by {off} {currency}", book.service()));
                }
            }
            for line in self.lines.iter().filter(|line| line.currency == currency && line.has_owners()) {
                let off = line.balance - line.net();
                if off != 0 {
                    let (service, account) = (line.book.service(), &line.account);
                    let off = Decimal::of(currency, off);
                    problems
                        .push(format!("{service}: {account} show {off} {currency} more than their entries"));
                }
            }
            let transit = self.net(currency, None, Some("transit"));
            if self.unfinished == 0 && transit != 0 {
                let transit = Decimal::of(currency, transit);
                problems.push(format!("{transit} {currency} are in transit, and no transfer is on its way"));
            }
        }
        problems
    }

    /// As [`Books::problems`], for a system that should be at rest: nothing on its way, nothing held.
    pub fn problems_at_rest(&self) -> Vec<String> {
        let mut problems = self.problems();
        if self.unfinished != 0 {
            problems.push(format!("{} transfers are not finished", self.unfinished));
        }
        for line in self.lines.iter().filter(|line| line.held != 0) {
            let (service, account) = (line.book.service(), &line.account);
            let held = Decimal::of(&line.currency, line.held);
            problems.push(format!("{service}: {account} hold {held} {}", line.currency));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(book: Book, account: &str, debit: i64, credit: i64) -> Line {
        let mut line = Line {
            book,
            account: account.to_owned(),
            currency: "EUR".to_owned(),
            debit,
            credit,
            balance: 0,
            held: 0,
        };
        if line.has_owners() {
            line.balance = line.net();
        }
        line
    }

    /// Ten minted, four of them paid.
    fn quiet() -> Books {
        let lines = vec![
            line(Book::User, "mint", 10, 0),
            line(Book::User, "transit", 0, 4),
            line(Book::User, "wallets", 4, 10),
            line(Book::Order, "accounts", 0, 4),
            line(Book::Order, "transit", 4, 0),
        ];
        Books { lines, unfinished: 0 }
    }

    #[test]
    fn balanced_books_have_no_problem() {
        assert_eq!(quiet().problems_at_rest(), Vec::<String>::new());
    }

    #[test]
    fn credit_on_its_way_is_no_drift_and_credit_gone_is() {
        let mut books = quiet();
        books.lines.truncate(3);
        books.unfinished = 1;
        assert_eq!(books.problems(), Vec::<String>::new());
        assert_eq!(books.problems_at_rest(), ["1 transfers are not finished"]);
        books.unfinished = 0;
        assert_eq!(books.problems(), ["0.04 EUR are in transit, and no transfer is on its way"]);
    }

    #[test]
    fn one_cent_of_drift_is_seen_wherever_it_is() {
        let drifts: [fn(&mut [Line]); 5] = [
            |lines| lines[2].credit += 1,
            |lines| lines[2].balance += 1,
            |lines| lines[3].balance -= 1,
            |lines| lines[3].held = 1,
            |lines| {
                lines[3].credit += 1;
                lines[3].balance += 1;
                lines[4].debit += 1;
            },
        ];
        for (number, drift) in drifts.into_iter().enumerate() {
            let mut books = quiet();
            drift(&mut books.lines);
            assert!(!books.problems_at_rest().is_empty(), "drift {number} goes unseen");
        }
    }
}
