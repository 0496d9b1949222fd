//! Who follows whom and who likes what, an edge a document. Its key is the two ids that it joins, one behind the other: so
//! there is one at most from one to the other, and of two who make it at once one meets a conflict. Nothing that is kept of
//! either end is written with an edge, but for how many a user follows at the most.

mod deleted_posts;
mod follows;
mod likes;
mod outcomes;
mod pair;
mod quotas;
