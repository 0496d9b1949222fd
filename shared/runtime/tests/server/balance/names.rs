//! Addresses that come and go.

use std::time::Duration;

use super::*;

/// Claim: a new address gets calls as soon as the host has it, and then its share.
#[tokio::test]
async fn a_new_server_gets_calls() {
    let [old, new] = servers().await;
    let names = Names::of([old.server.addr]);
    let peer = catalog(&names);
    load(&peer, 10).await;
    names.are([old.server.addr, new.server.addr]);
    under_load(&peer, until("the new server to be called", || new.stage.calls() > 0)).await;
    are_ready(&peer, 2).await;
    let before = [&old, &new].map(|server| server.stage.calls());
    load(&peer, 250).await;
    let counts = [old.stage.calls() - before[0], new.stage.calls() - before[1]];
    assert!(counts.iter().all(|count| (800..=1200).contains(count)), "{counts:?}");
}

/// Claim: an address that leaves gets no new calls, those in progress end well, and its connection is closed after them.
#[tokio::test]
async fn a_server_that_leaves_is_drained() {
    let [stays, leaves] = servers().await;
    let names = Names::of([leaves.server.addr]);
    let peer = catalog(&names);
    let in_progress = get(&peer, "wait");
    let work = async {
        until("the call to be in progress", || leaves.stage.waiting.available_permits() > 0).await;
        names.are([stays.server.addr]);
        under_load(&peer, until("the address to be gone", || stays.stage.calls() > 100)).await;
        assert_eq!(peer.endpoints(), Endpoints { ready: 1, ..Endpoints::default() });
        let before = leaves.stage.calls();
        load(&peer, 20).await;
        assert_eq!(leaves.stage.calls(), before);
        leaves.stage.go_on.add_permits(1);
    };
    let (answer, ()) = tokio::join!(in_progress, work);
    answer.expect("the call in progress is answered");
    // A server that is told to stop waits for its connections.
    tokio::time::timeout(Duration::from_secs(1), leaves.server.stop()).await.expect("nobody is connected");
}

/// Claim: while the host's addresses cannot be had, the last ones are used.
#[tokio::test]
async fn no_answer_and_an_empty_one_change_nothing() {
    let [first, second] = servers().await;
    let names = Names::of([first.server.addr, second.server.addr]);
    let peer = catalog(&names);
    are_ready(&peer, 2).await;
    names.fail();
    under_load(&peer, names.heard()).await;
    are_ready(&peer, 2).await;
    names.are([]);
    under_load(&peer, names.heard()).await;
    are_ready(&peer, 2).await;
    names.are([second.server.addr]);
    are_ready(&peer, 1).await;
}

/// Claim: a lost connection has the addresses asked for at once, not only when it is time.
#[tokio::test]
async fn addresses_are_asked_for_when_a_connection_is_lost() {
    let [old, new] = servers().await;
    let names = Names::of([old.server.addr]);
    let hour = PeerOptions { resolve_every: Duration::from_secs(3600), ..options(&names) };
    let peer = catalog_with(hour);
    get(&peer, "any").await.unwrap();
    names.are([new.server.addr]);
    old.server.stop().await;
    get(&peer, "any").await.unwrap();
    assert_eq!(new.stage.calls(), 1);
}

/// Claim: with the last clone of a peer its connections end.
#[tokio::test]
async fn a_peer_that_is_not_used_any_more_leaves_no_connection() {
    let [server] = servers().await;
    let peer = catalog(&Names::of([server.server.addr]));
    get(&peer, "any").await.unwrap();
    drop(peer);
    tokio::time::timeout(Duration::from_secs(1), server.server.stop()).await.expect("nobody is connected");
}
