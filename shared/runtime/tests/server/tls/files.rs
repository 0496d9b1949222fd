//! Files that cannot be used, at the start.

use runtime::config::TlsConfig;
use runtime::tls::Tls;
use time::Duration;

use super::world::{ORDER, POLL, USER, World, config};

/// Claim: nobody starts with files that cannot be used, and the refusal names the flag and says what is wrong.
#[test]
fn a_start_with_files_that_cannot_be_used_is_refused_by_flag() {
    let world = World::new();
    let refused = |config: &TlsConfig| {
        format!("{:#}", Tls::load_with(config, std::sync::Arc::clone(&world.clock) as _, POLL).unwrap_err())
    };
    let fresh = || world.files(&world.subject(ORDER));

    let files = fresh();
    let other = world.authority.issue(&world.subject(ORDER)).unwrap();
    std::fs::write(&files.key, other.key).unwrap();
    assert!(refused(&config(&files)).starts_with("--tls-key: it is not the key of --tls-certificate"));

    let lifetimes = [
        ((world.now() - Duration::HOUR, world.now()), "the certificate has expired"),
        (
            (world.now() + Duration::SECOND, world.now() + Duration::HOUR),
            "the certificate is not valid before",
        ),
    ];
    for (valid, rule) in lifetimes {
        let mut subject = world.subject(ORDER);
        subject.valid = valid;
        let told = refused(&config(&world.files(&subject)));
        assert!(told.starts_with("--tls-certificate: ") && told.contains(rule), "{told}");
    }

    for uris in [vec![], vec![ORDER.to_owned(), USER.to_owned()], vec!["https://trust.test/order".to_owned()]]
    {
        let mut subject = world.subject(ORDER);
        subject.uris = uris;
        let told = refused(&config(&world.files(&subject)));
        assert!(told.starts_with("--tls-certificate: ") && told.contains("not exactly one URI"), "{told}");
    }

    for (flag, file) in
        [("--tls-certificate", fresh().certificate), ("--tls-key", fresh().key), ("--tls-ca", fresh().ca)]
    {
        let files = fresh();
        let mut config = config(&files);
        match flag {
            "--tls-certificate" => config.tls_certificate = Some(file.clone()),
            "--tls-key" => config.tls_key = Some(file.clone()),
            _ => config.tls_ca = Some(file.clone()),
        }
        for garbage in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&file, garbage).unwrap();
            let told = refused(&config);
            assert!(told.starts_with(flag), "{flag} {garbage:?}: {told}");
        }
        std::fs::remove_file(&file).unwrap();
        let told = refused(&config);
        assert!(told.starts_with(&format!("{flag}: cannot read")), "{told}");
    }

    let whole = config(&fresh());
    let half = TlsConfig { tls_key: None, ..whole.clone() };
    assert!(refused(&half).contains("--tls-certificate and --tls-key"));
    assert!(refused(&TlsConfig { tls_ca: None, ..whole }).contains("--tls-ca is missing"));
}

/// Claim: no refusal quotes a key, in whatever file it is and however that is spoiled.
#[test]
fn no_refusal_shows_a_key() {
    let world = World::new();
    let files = world.files(&world.subject(ORDER));
    let key = std::fs::read_to_string(&files.key).unwrap();
    let body: String = key.lines().filter(|line| !line.starts_with("-----")).collect();
    let spoiled = [
        key.replace('\n', " "),
        key.replace('\n', ""),
        key.replace('\n', "\\n"),
        key.replace("-----END", "-----BEGIN"),
        key.trim_end().trim_end_matches('-').to_owned(),
    ];
    for text in spoiled {
        for file in [&files.certificate, &files.key, &files.ca] {
            let before = std::fs::read(file).unwrap();
            std::fs::write(file, &text).unwrap();
            let loaded = Tls::load_with(&config(&files), std::sync::Arc::clone(&world.clock) as _, POLL);
            let told = format!("{:#}", loaded.unwrap_err());
            let numbers: Vec<String> = body.bytes().take(8).map(|byte| byte.to_string()).collect();
            assert!(!told.contains(&body[..8]) && !told.contains(&numbers.join(", ")), "{told}");
            std::fs::write(file, before).unwrap();
        }
    }
}

/// Claim: a certificate's id and its end can be asked for; without files nothing speaks TLS.
#[test]
fn tls_is_on_where_there_is_a_certificate() {
    let world = World::new();
    let tls = world.tls(ORDER);
    assert!(tls.serves());
    assert_eq!(tls.id().unwrap().as_str(), ORDER);
    assert_eq!(tls.not_after().unwrap(), world.now() + Duration::HOUR);
    for tls in [world.tls_of_nobody(), Tls::off()] {
        assert!(!tls.serves());
        assert_eq!((tls.id(), tls.not_after()), (None, None));
    }
}
