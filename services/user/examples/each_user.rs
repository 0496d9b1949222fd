//! Does something with every user, at most a thousand at a time, and goes on where it was interrupted.
//!
//! ```text
//! cargo run -p user-service --example each_user -- --url http://localhost:50051 --resume-file /tmp/each_user
//! ```
//!
//! The token of an admin is in `TRISTORE_TOKEN`. The file has the token of the last batch that is done: it is written after
//! the work, so a batch that was interrupted is done again, and none is left out. A batch has whole messages, since a stream
//! goes on behind a message. Remove the file to begin anew.
#![expect(clippy::print_stdout, reason = "what is done here with users is to print that they are there")]

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use api::update_mask::FieldMask;
use api::user::v1::user_service_client::UserServiceClient;
use api::user::v1::{StreamUsersRequest, User};
use clap::Parser;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use types::Backoff;

/// How many users are worked on at once.
const BATCH: usize = 1000;

#[derive(Parser)]
struct Arguments {
    /// Where user service is.
    #[arg(long, default_value = "http://localhost:50051")]
    url: String,
    /// The access token of an admin.
    #[arg(long, env = "TRISTORE_TOKEN", hide_env_values = true)]
    token: String,
    /// Where it is kept how far the work is.
    #[arg(long)]
    resume_file: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Goes on until all users are passed, whatever interrupts it on the way.
async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let channel = Endpoint::new(arguments.url.clone())?.connect_lazy();
    let mut client = UserServiceClient::new(channel);
    let authorization: MetadataValue<Ascii> = format!("Bearer {}", arguments.token).parse()?;
    let mut pauses = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        let before = resume_token(&arguments.resume_file)?;
        match go_on(&mut client, &authorization, &arguments.resume_file, before.clone()).await {
            Ok(()) => return Ok(()),
            // Whatever was done is in the file.
            Err(Interrupted::Stream(status)) if status.code() == Code::Unavailable => {
                if resume_token(&arguments.resume_file)? != before {
                    pauses.reset();
                }
                pauses.pause().await;
            }
            Err(Interrupted::Stream(status)) => return Err(status.into()),
            Err(Interrupted::Work(error)) => return Err(error),
        }
    }
}

enum Interrupted {
    Stream(Status),
    Work(anyhow::Error),
}

impl From<Status> for Interrupted {
    fn from(status: Status) -> Self {
        Self::Stream(status)
    }
}

/// Works through all users behind a token.
async fn go_on(
    client: &mut UserServiceClient<Channel>,
    authorization: &MetadataValue<Ascii>,
    file: &Path,
    resume_token: String,
) -> Result<(), Interrupted> {
    // What is not asked for is not sent.
    let read_mask = Some(FieldMask { paths: vec!["id".to_owned(), "display_name".to_owned()] });
    let mut request = Request::new(StreamUsersRequest { filter: None, resume_token, read_mask });
    request.metadata_mut().insert("authorization", authorization.clone());
    let mut messages = client.stream_users(request).await?.into_inner();
    let (mut batch, mut through) = (Vec::new(), String::new());
    while let Some(message) = messages.message().await? {
        if batch.len() + message.users.len() > BATCH {
            finish(&mut batch, file, &through).map_err(Interrupted::Work)?;
        }
        batch.extend(message.users);
        through = message.resume_token;
    }
    if batch.is_empty() { Ok(()) } else { finish(&mut batch, file, &through).map_err(Interrupted::Work) }
}

/// Works on a batch, and then notes that it is done.
fn finish(batch: &mut Vec<User>, file: &Path, resume_token: &str) -> anyhow::Result<()> {
    work(batch);
    batch.clear();
    // Under another name first: a file that is half written would be worse than an old one.
    let draft = file.with_extension("new");
    fs::write(&draft, resume_token).with_context(|| format!("writing {}", draft.display()))?;
    fs::rename(&draft, file).with_context(|| format!("writing {}", file.display()))
}

/// What is to be done with users. It may be done twice.
fn work(users: &[User]) {
    let last = users.last().map(|user| user.id.as_str()).unwrap_or_default();
    println!("{} users, through {last}", users.len());
}

fn resume_token(file: &Path) -> anyhow::Result<String> {
    match fs::read_to_string(file) {
        Ok(token) => Ok(token),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("reading {}", file.display())),
    }
}
