//! Addresses of databases as people write them, and as files have them later.

use testkit::RenewedFile;

use super::*;

#[test]
fn the_address_of_a_database_has_its_scheme_and_names_what_is_needed() {
    for (parse, written) in [
        (postgres_url as fn(&str) -> ParsedUrl, "postgres://app:s3cret@db:5432/orders?sslmode=require"),
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
        assert_eq!(parse(&format!(" {written}\n")).unwrap().now().expose_secret(), written);
    }
    for (parse, written, rule) in [
        (postgres_url as fn(&str) -> ParsedUrl, "", "is empty"),
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

/// Claim: an address in a file is read again whenever it is asked for. Only its login may be another.
#[test]
fn an_address_in_a_file_may_change_its_login_and_nothing_else() {
    let first = "postgres://app:s3cret@db:5432/orders?sslmode=verify-full&user=app";
    let file = RenewedFile::new("database-url", first).unwrap();
    let url = postgres_url(&file.setting()).unwrap();
    assert_eq!(url.now().expose_secret(), first);
    let renewed = "postgres://app2:another@db:5432/orders?sslmode=verify-full&password=s3cret";
    for (written, expected) in [
        (renewed, renewed),
        ("postgres://app:s3cret@db:5432/others?sslmode=verify-full", renewed),
        ("postgres://app:s3cret@elsewhere:5432/orders?sslmode=verify-full", renewed),
        ("postgres://app:s3cret@db:5432/orders?sslmode=disable", renewed),
        ("postgres://app:s3cret@db:5432/orders", renewed),
        ("no address", renewed),
        ("", renewed),
        (first, first),
    ] {
        file.renew(written).unwrap();
        assert_eq!(url.clone().now().expose_secret(), expected, "{written}");
    }
    file.remove().unwrap();
    assert_eq!(url.now().expose_secret(), first);
    assert!(!format!("{url:?}").contains("s3cret"));
}
