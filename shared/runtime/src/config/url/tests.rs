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

#[test]
fn the_address_of_a_database_has_its_scheme_and_names_what_is_needed() {
    for (parse, written) in [
        (postgres_url as fn(&str) -> ParsedSecret, "postgres://app:s3cret@db:5432/orders?sslmode=require"),
        (postgres_url, "postgresql://db/orders"),
        (postgres_url, "postgres:///orders?host=/run/postgresql"),
        (postgres_url, "postgres://%2Frun%2Fpostgresql/orders"),
        (postgres_url, "postgres://db?dbname=orders"),
        (postgres_url, "postgres://app:p@ss@db/orders"),
        (mongodb_url, "mongodb://a:s3cret@h1:1,h2:2,[::1]:3/users?replicaSet=rs"),
        (mongodb_url, "mongodb+srv://a:s3cret@cluster.test/users"),
        (redis_url, "redis://:s3cret@cache"),
        (redis_url, "rediss://app:s3cret@cache:6380/15"),
        (redis_url, "redis://cache/"),
        (redis_url, "redis+unix:///run/redis/redis.sock?db=1"),
        (redis_url, "redis-sentinel://app:s3cret@h1:1,h2,[::1]:3/2?master=sessions&sentinelPassword=s3cret"),
    ] {
        assert_eq!(parse(&format!(" {written}\n")).unwrap().expose_secret(), written);
    }
    for (parse, written, rule) in [
        (postgres_url as fn(&str) -> ParsedSecret, "", "is empty"),
        (postgres_url, "s3cret", "no scheme"),
        (postgres_url, "app:s3cret@db://orders", "no scheme"),
        (postgres_url, "mysql://db/s3cret", "scheme of something else"),
        (postgres_url, "redis://db/s3cret", "scheme of something else"),
        (postgres_url, "postgres://db:0/s3cret", "not a number"),
        (postgres_url, "postgres://app:s3cret/word@db:5432/orders", "not a number"),
        (postgres_url, "postgres://app:s3cret#word@db:5432/orders", "a #"),
        (postgres_url, "postgres://app:s3 cret@db:5432/orders", "white space"),
        (postgres_url, "postgres://db:5432,standby:5432/s3cret", "more than one host"),
        (postgres_url, "postgres://app:s3cret@db:5432", "no database"),
        (postgres_url, "postgres://app:s3cret@db:5432/", "no database"),
        (postgres_url, "postgres://db/orders/s3cret", "more than a database"),
        (mongodb_url, "mongo://a:s3cret@h/users", "scheme of something else"),
        (mongodb_url, "mongodb://a:s3cret@h", "no database"),
        (mongodb_url, "mongodb://a:s3cret@h?replicaSet=rs", "no database"),
        (mongodb_url, "mongodb://a:s3cret@h:1,:2/users", "no host"),
        (mongodb_url, "mongodb:///users", "no host"),
        (mongodb_url, "mongodb+srv://a:s3cret@h:27017/users", "no port"),
        (redis_url, "http://a:s3cret@h", "scheme of something else"),
        (redis_url, "redis://a:s3cret@h:port", "not a number"),
        (redis_url, "redis://a:s3cret@h/sessions", "not a number"),
        (redis_url, "redis://a:s3cret@h1:1,h2:2", "more than one host"),
        (redis_url, "rediss-sentinel://a:s3cret@h1,h2/0", "no master"),
        (redis_url, "redis-sentinel://a:s3cret@h1,h2/0?master=", "no master"),
        (redis_url, "redis-sentinel://a:s3cret@h1,h2/s3cret?master=sessions", "not a number"),
        (redis_url, "redis-sentinel://a:s3cret@h1,/0?master=sessions", "no host"),
    ] {
        let error = parse(written).unwrap_err();
        assert!(error.contains(rule), "{written}: {error}");
        assert!(!error.contains("s3cret"), "{written}: {error}");
    }
}

#[test]
fn only_verified_tls_and_sockets_of_this_machine_are_encrypted_for_certain() {
    for written in [
        "postgres://app:s3cret@db:5432/orders?sslmode=verify-full&sslrootcert=/ca.pem",
        "postgres://db/orders?sslmode=disable&sslmode=verify-full",
        "postgres:///orders?host=/run/postgresql",
        "postgres://%2Frun%2Fpostgresql/orders",
        "mongodb://a:s3cret@h1,h2/users?tls=true&tlsCAFile=/ca.pem",
        "mongodb://h/users?ssl=true",
        "mongodb+srv://a:s3cret@cluster.test/users",
        "rediss://app:s3cret@cache:6380/15",
        "redis+unix:///run/redis/redis.sock?db=1",
        "rediss-sentinel://app:s3cret@h1,h2/0?master=sessions",
    ] {
        assert_eq!(is_encrypted(written), Ok(()), "{written}");
    }
    for (written, rule) in [
        ("postgres://app:s3cret@db:5432/orders", "sslmode=verify-full"),
        ("postgres://db/orders?sslmode=require", "sslmode=verify-full"),
        ("postgres://db/orders?sslmode=verify-ca", "sslmode=verify-full"),
        ("postgres://db/orders?sslmode=verify-full&sslmode=prefer", "sslmode=verify-full"),
        ("postgres://db/orders?sslmode=verify-full&ssl-mode=disable", "sslmode=verify-full"),
        ("postgres://db/orders?host=elsewhere", "sslmode=verify-full"),
        ("mongodb://a:s3cret@h/users", "tls=true"),
        ("mongodb://h/users?tls=false", "tls=true"),
        ("mongodb://h/users?tls=true&tlsInsecure=true", "tls=true"),
        ("mongodb://h/users?tls=true&tlsAllowInvalidCertificates=true", "tls=true"),
        ("mongodb+srv://cluster.test/users?tls=false", "tls=true"),
        ("redis://app:s3cret@cache", "rediss://"),
        ("redis-sentinel://app:s3cret@h1,h2/0?master=sessions", "rediss-sentinel://"),
    ] {
        let error = is_encrypted(written).unwrap_err();
        assert!(error.contains(rule) && !error.contains("s3cret"), "{written}: {error}");
    }
}
