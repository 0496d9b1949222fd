//! Users and posts in numbers, written straight into user service's database: nobody hears of them by events, so this is
//! not for a system that is in use. The validators of the migrations see to it that each document is one of the service's.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bson::{DateTime, Document, doc};
use measurement::Round;
use mongodb::{Client, Collection};
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::{NoContext, Timestamp, Uuid};

use crate::made_at;
use crate::round::{Plan, Tally, Watch};

/// Documents of one command.
const BATCH: usize = 1000;
const POSTS_EACH: u32 = 2;
/// How far back they were made.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long after they signed up they wrote each post.
const PAUSE: Duration = Duration::from_secs(3600);
const NAMES: [&str; 8] = ["Ann", "Ben", "Cleo", "Dora", "Emil", "Fritz", "Gül", "Hana"];
const CATEGORIES: [&str; 5] = ["drinks", "travel", "music", "work", "garden"];

/// What to write.
#[derive(Debug, Clone, clap::Args)]
pub struct Seed {
    /// User service's database.
    #[arg(long, env = "MONGODB_URL", hide_env_values = true)]
    pub mongodb_url: String,
    /// How many users; each has two posts.
    #[arg(long)]
    pub users: usize,
}

/// Writes them, and tells how long each batch took.
///
/// # Errors
/// When the database does not answer or refuses a document.
pub async fn run(plan: &Plan, seed: &Seed) -> Result<Round> {
    let client = Client::with_uri_str(&seed.mongodb_url).await.context("connecting to MongoDB")?;
    let database = client.default_database().context("MONGODB_URL names no database")?;
    let (users, posts) = (database.collection("user"), database.collection("post"));
    let now = made_at(Uuid::now_v7());
    let (watch, mut tally) = (Watch::begin(&plan.watch)?, Tally::default());
    let mut written = 0;
    while written < seed.users {
        let count = BATCH.min(seed.users - written);
        let people: Vec<Person> =
            (written..written + count).map(|at| Person::at(at, seed.users, now)).collect();
        insert(&users, people.iter().map(Person::document).collect(), &mut tally).await?;
        for number in 0..POSTS_EACH {
            insert(&posts, people.iter().map(|person| person.post(number)).collect(), &mut tally).await?;
        }
        written += count;
    }
    Ok(watch.end()?.with(&tally))
}

async fn insert(into: &Collection<Document>, documents: Vec<Document>, tally: &mut Tally) -> Result<()> {
    let began = Instant::now();
    into.insert_many(documents).ordered(false).await.with_context(|| format!("writing {}s", into.name()))?;
    tally.count(None, began.elapsed());
    Ok(())
}

/// Somebody who signed up some time in the last year.
struct Person {
    id: Uuid,
    at: usize,
    signed_up: OffsetDateTime,
}

impl Person {
    /// The one at this place of so many.
    fn at(at: usize, of: usize, now: OffsetDateTime) -> Self {
        let signed_up = now - PAUSE * POSTS_EACH - YEAR.mul_f64((of - at) as f64 / of as f64);
        Self { id: id_of(signed_up), at, signed_up }
    }

    fn document(&self) -> Document {
        let email = format!("{}@seed.example", self.id.simple());
        let time = stored(self.signed_up);
        doc! {
            "_id": bson::Uuid::from(self.id),
            "email": &email,
            "email_key": &email,
            "display_name": format!("{} {}", NAMES[self.at % NAMES.len()], self.at),
            "role": "customer",
            "state": "active",
            "auth_epoch": 1_i64,
            "post_count": i64::from(POSTS_EACH),
            "version": 1_i64,
            "event_version": 1_i64,
            "create_time": time,
            "update_time": time,
        }
    }

    fn post(&self, number: u32) -> Document {
        let written = self.signed_up + PAUSE * (1 + number);
        let (id, time) = (id_of(written), stored(written));
        doc! {
            "_id": bson::Uuid::from(id),
            "author_id": bson::Uuid::from(self.id),
            "title": format!("Post {number} of {}", self.at),
            "body": "Water that boils, leaves that wait, and three minutes of patience. ".repeat(8),
            "category": CATEGORIES[self.at % CATEGORIES.len()],
            "tags": [CATEGORIES[(self.at + 1) % CATEGORIES.len()]],
            "state": "published",
            "publish_time": time,
            "version": 1_i64,
            "create_time": time,
            "update_time": time,
        }
    }
}

/// An id as the service would have made it then.
fn id_of(time: OffsetDateTime) -> Uuid {
    let seconds = u64::try_from(time.unix_timestamp()).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, time.nanosecond()))
}

fn stored(time: OffsetDateTime) -> DateTime {
    DateTime::from_millis(time.unix_timestamp() * 1000 + i64::from(time.millisecond()))
}
