//! What a query of Prometheus names.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};

/// What a query is made of, as far as anybody here asks.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Query {
    /// The names of its metrics.
    pub(crate) metrics: Vec<String>,
    /// The numbers that something is compared with.
    pub(crate) limits: Vec<f64>,
    /// What picks its series.
    pub(crate) selectors: Vec<VectorSelector>,
    /// The matchers of labels that leave something out.
    pub(crate) left_out: Vec<Matcher>,
}

impl Query {
    /// Reads a query of an alert or a dashboard.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut query = Self::default();
        match walk_expr(&mut query, &parser::parse(text)?) {
            Ok(_) => Ok(query),
        }
    }
}

impl ExprVisitor for Query {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Self::Error> {
        match expr {
            Expr::VectorSelector(selector) => self.selector(selector),
            Expr::MatrixSelector(matrix) => self.selector(&matrix.vs),
            Expr::Binary(binary) if binary.op.is_comparison_operator() => {
                self.limits.extend(number(&binary.rhs));
            }
            _ => {}
        }
        Ok(true)
    }
}

impl Query {
    fn selector(&mut self, selector: &VectorSelector) {
        self.metrics.extend(selector.name.clone());
        self.selectors.push(selector.clone());
        let left_out = selector.matchers.matchers.iter();
        self.left_out.extend(left_out.filter(|matcher| matches!(matcher.op, MatchOp::NotRe(_))).cloned());
    }
}

/// The value of a number, or of a product of numbers.
fn number(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::NumberLiteral(literal) => Some(literal.val),
        Expr::Paren(paren) => number(&paren.expr),
        Expr::Binary(binary) if binary.op.to_string() == "*" => {
            Some(number(&binary.lhs)? * number(&binary.rhs)?)
        }
        _ => None,
    }
}

#[test]
fn a_query_is_taken_apart() {
    let text = r#"max by (a) (x_total{b!~"c|d"}) > 6 * 0.5 and rate(y[5m]) == 1"#;
    let query = Query::parse(text).unwrap();
    assert_eq!((query.metrics, query.limits), (vec!["x_total".to_owned(), "y".to_owned()], vec![3.0, 1.0]));
    assert_eq!(query.left_out.len(), 1);
    assert!(Query::parse("sum by (").is_err());
}
