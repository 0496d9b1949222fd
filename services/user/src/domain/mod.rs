//! What holds for users, posts, relations and wallets wherever they are kept: no async, no database, no protobuf.

pub(crate) mod audit;
pub(crate) mod counters;
pub(crate) mod email;
pub(crate) mod leaving;
pub(crate) mod ledger;
pub(crate) mod limits;
pub(crate) mod password;
pub(crate) mod post;
pub(crate) mod profile;
pub(crate) mod relation;
pub(crate) mod slug;
pub(crate) mod spending;
pub(crate) mod user;
pub(crate) mod user_change;
pub(crate) mod user_find;
pub(crate) mod user_list;
pub(crate) mod user_search;
pub(crate) mod user_view;
pub(crate) mod username;
pub(crate) mod wallet;
