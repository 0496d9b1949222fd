//! Users and posts in numbers, written straight into user service's database: nobody hears of them by events, so this is
//! not for a system that is in use. The validators of the migrations see to it that each document is one of the service's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use bson::{DateTime, Document, doc};
use measurement::Round;
use mongodb::{Client, Collection};
use tokio::time::Instant;
use uuid::{NoContext, Timestamp, Uuid};

use crate::round::{Plan, Tally, Watch};

/// Documents of one command.
const BATCH: usize = 1000;
const POSTS_EACH: usize = 2;
/// How far back they were made.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
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
    let (watch, mut tally) = (Watch::begin(&plan.watch)?, Tally::default());
    let mut written = 0;
    while written < seed.users {
        let count = BATCH.min(seed.users - written);
        let people: Vec<Person> = (written..written + count).map(|at| Person::at(at, seed.users)).collect();
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
    signed_up: SystemTime,
}

impl Person {
    /// The one at this place of so many.
    fn at(at: usize, of: usize) -> Self {
        let signed_up = SystemTime::now() - YEAR.mul_f64((of - at) as f64 / of as f64);
        Self { id: made_at(signed_up), at, signed_up }
    }

    fn document(&self) -> Document {
        let email = format!("{}@seed.example", self.id.simple());
        let time = DateTime::from_system_time(self.signed_up);
        doc! {
            "_id": bson::Uuid::from(self.id),
            "email": &email,
            "email_key": &email,
            "display_name": format!("{} {}", NAMES[self.at % NAMES.len()], self.at),
            "role": "customer",
            "state": "active",
            "auth_epoch": 1_i64,
            "post_count": i64::try_from(POSTS_EACH).unwrap_or_default(),
            "version": 1_i64,
            "event_version": 1_i64,
            "create_time": time,
            "update_time": time,
        }
    }

    fn post(&self, number: usize) -> Document {
        let id = made_at(self.signed_up + Duration::from_secs(3600 * (1 + number as u64)));
        let time = DateTime::from_system_time(self.signed_up + Duration::from_secs(3600));
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
fn made_at(time: SystemTime) -> Uuid {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(NoContext, since.as_secs(), since.subsec_nanos()))
}
