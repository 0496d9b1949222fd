//! Addresses as people write them.

use super::*;

#[test]
fn the_address_of_a_peer_is_a_host_and_a_port() {
    for (written, meant) in [
        ("http://order-service:50052", "http://order-service:50052"),
        ("http://127.0.0.1:50052/", "http://127.0.0.1:50052"),
        ("HTTP://[::1]:50052", "HTTP://[::1]:50052"),
        (" http://order_service:50052\n", "http://order_service:50052"),
        ("https://order:50052", "https://order:50052"),
        ("HTTPS://order:50052/", "HTTPS://order:50052"),
    ] {
        assert_eq!(peer_url(written).as_deref(), Ok(meant), "{written:?}");
    }
    for (written, rule) in [
        ("", "is empty"),
        (" ", "is empty"),
        ("\"http://order:50052\"", "quotation marks"),
        ("order:50052", "no scheme"),
        ("http:order:50052", "no scheme"),
        ("//order:50052", "no scheme"),
        ("://order:50052", "no scheme"),
        ("grpc://order:50052", "not http"),
        ("dns:///order:50052", "not http"),
        ("http://order", "no port"),
        ("http://order:", "not a number from 1 to 65535"),
        ("http://order:0", "not a number from 1 to 65535"),
        ("http://order:65536", "not a number from 1 to 65535"),
        ("http://order:grpc", "not a number from 1 to 65535"),
        ("http://:50052", "no host"),
        ("http:///order:50052", "no host"),
        ("http://::1:50052", "in brackets"),
        ("http://[order]:50052", "no IPv6 address"),
        ("http://order:50052,order:50053", "more than one host"),
        ("http://order:50052/v1", "a path"),
        ("http://order:50052//", "a path"),
        ("http://order:50052?x=1", "a query"),
        ("http://order:50052#x", "a #"),
        ("http://app:s3cret@order:50052", "SERVICE_TOKEN"),
        ("http://order :50052", "white space"),
        ("http://order:50052\nhttp://other:50052", "white space"),
        ("http://order:50\u{a0}052", "white space"),
        ("http://ord\u{7}er:50052", "control character"),
        ("http://<order>:50052", "uri character"),
    ] {
        let error = peer_url(written).unwrap_err();
        assert!(error.contains(rule) && error.contains("http://host:port"), "{written:?}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn a_collector_may_have_no_scheme_and_may_not_be_there() {
    for written in ["", "localhost:4317", "http://localhost:4317"] {
        assert_eq!(collector_url(written).as_deref(), Ok(written));
    }
    assert!(collector_url("https://localhost:4317").unwrap_err().contains("TLS"));
    assert!(collector_url("http://localhost:4318/v1/traces").unwrap_err().contains("a path"));
}
