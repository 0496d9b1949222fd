//! `tristore doctor`: what the running services see of each other, and whether events get from one to the other. It asks
//! them one after the other and prints a line for each thing that it looks at. It changes nothing.

mod consumers;
mod peers;
mod wanted;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use api::causes::Causes;
use api::doctor::v1::{GetIdentityRequest, GetIdentityResponse, GetPeersRequest};
use api::event::v1::{ConsumerState, HeadRequest, StreamHead};
use runtime::doctor::{Seen, Verdict};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use self::wanted::Check;
use crate::client::{Client, Service};
use crate::output::Output;

pub(crate) async fn run(client: &Client, output: &Output) -> Result<ExitCode> {
    let mut doctor = Doctor { client, output, failed: 0, lines: 0 };
    let identities = doctor.identities().await?;
    doctor.themselves(&identities)?;
    for service in Service::ALL {
        doctor.peers(service, &identities).await?;
    }
    let heads = doctor.streams(&identities).await?;
    for service in Service::ALL {
        doctor.consumers(service, &identities, &heads).await?;
    }
    let Doctor { failed, lines, .. } = doctor;
    if failed > 0 {
        eprintln!("tristore: {failed} of {lines} checks have failed");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// The services that answer, with who they say they are.
type Identities = BTreeMap<&'static str, GetIdentityResponse>;
/// Where each stream stands, by its name.
type Heads = BTreeMap<String, StreamHead>;

struct Doctor<'a> {
    client: &'a Client,
    output: &'a Output,
    failed: usize,
    lines: usize,
}

impl Doctor<'_> {
    fn tell(&mut self, check: Check, service: Service, seen: &Seen, since: Instant) -> Result<()> {
        let line = check.line(service.name(), seen, since.elapsed());
        self.lines += 1;
        self.failed += usize::from(line.verdict == Verdict::Failed);
        if self.output.is_json() {
            self.output.line(serde_json::to_string(&line)?);
        } else {
            self.output.line(line);
        }
        Ok(())
    }

    async fn identities(&mut self) -> Result<Identities> {
        let mut identities = Identities::new();
        for service in Service::ALL {
            let since = Instant::now();
            let seen = match self.client.doctor(service).get_identity(GetIdentityRequest {}).await {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    let seen = reached(service, &answer);
                    if seen.verdict() == Verdict::Ok {
                        identities.insert(service.name(), answer);
                    }
                    seen
                }
                Err(status) => Seen::failed(
                    format!("{}: {}", service.name(), Causes(&status)),
                    mend_of_silence(service, &status),
                ),
            };
            self.tell(wanted::REACHED, service, &seen, since)?;
        }
        Ok(identities)
    }

    fn themselves(&mut self, identities: &Identities) -> Result<()> {
        let all: Vec<&GetIdentityResponse> = identities.values().collect();
        for service in Service::ALL {
            let own = identities.get(service.name());
            let now = Instant::now();
            let seen = own.map_or_else(|| not_reached(service), |own| peers::version(own, &all));
            self.tell(wanted::VERSION, service, &seen, now)?;
            let seen = own.map_or_else(|| not_reached(service), peers::database_clock);
            self.tell(wanted::DATABASE_CLOCK, service, &seen, now)?;
        }
        Ok(())
    }

    async fn peers(&mut self, service: Service, identities: &Identities) -> Result<()> {
        let since = Instant::now();
        let own = identities.get(service.name());
        let answer = match own {
            Some(_) => self.client.doctor(service).get_peers(GetPeersRequest {}).await,
            None => return self.tell(wanted::IDENTITY, service, &not_reached(service), since),
        };
        let found = match answer {
            Ok(answer) => answer.into_inner().peers,
            Err(status) => return self.tell(wanted::IDENTITY, service, &silent(service, &status), since),
        };
        for peer in &found {
            self.tell(wanted::IDENTITY, service, &peers::identity(service, peer), since)?;
            self.tell(wanted::TOKEN, service, &peers::token(service, peer), since)?;
            self.tell(wanted::PEER_VERSION, service, &peers::peer_version(service, own, peer), since)?;
            self.tell(wanted::CLOCK, service, &peers::clock(service, peer), since)?;
        }
        Ok(())
    }

    async fn streams(&mut self, identities: &Identities) -> Result<Heads> {
        let mut heads = Heads::new();
        for service in Service::ALL {
            for stream in service.streams() {
                let since = Instant::now();
                let seen = if identities.contains_key(service.name()) {
                    let request = HeadRequest { stream: stream.clone() };
                    match self.client.events(service).head(request).await {
                        Ok(answer) => {
                            let head = answer.into_inner().head.unwrap_or_default();
                            let seen = standing(&stream, &head);
                            heads.insert(stream, head);
                            seen
                        }
                        Err(status) => silent(service, &status),
                    }
                } else {
                    not_reached(service)
                };
                self.tell(wanted::HEAD, service, &seen, since)?;
            }
        }
        Ok(heads)
    }

    async fn consumers(&mut self, service: Service, identities: &Identities, heads: &Heads) -> Result<()> {
        let since = Instant::now();
        if !identities.contains_key(service.name()) {
            return self.tell(wanted::RUNNING, service, &not_reached(service), since);
        }
        match consumers::consumers(self.client, service).await {
            Ok(states) => {
                for state in &states {
                    self.consumer(service, state, heads.get(&state.stream)).await?;
                }
                Ok(())
            }
            Err(status) => self.tell(wanted::RUNNING, service, &silent(service, &status), since),
        }
    }

    async fn consumer(
        &mut self,
        service: Service,
        state: &ConsumerState,
        head: Option<&StreamHead>,
    ) -> Result<()> {
        let consumer = &state.consumer;
        let unknown =
            || Seen::not_tried(format!("{consumer}: where stream {} stands is not known", state.stream));
        self.tell(wanted::RUNNING, service, &consumers::running(state), Instant::now())?;
        let seen = head.map_or_else(unknown, |head| consumers::epoch(state, head));
        self.tell(wanted::EPOCH, service, &seen, Instant::now())?;
        let since = Instant::now();
        let seen = match head {
            Some(head) => consumers::lag(self.client, service, state, head).await?,
            None => unknown(),
        };
        self.tell(wanted::LAG, service, &seen, since)?;
        let since = Instant::now();
        let parked = consumers::parked(self.client, service, consumer).await;
        let seen = parked.unwrap_or_else(|status| silent(service, &status));
        self.tell(wanted::PARKED, service, &seen, since)
    }
}

fn reached(service: Service, answer: &GetIdentityResponse) -> Seen {
    if answer.service == service.name() {
        Seen::ok(format!("{} {}", answer.service, answer.version))
    } else {
        Seen::failed(
            format!("{} answers in place of {}", answer.service, service.name()),
            format!("correct {}", service.setting()),
        )
    }
}

fn not_reached(service: Service) -> Seen {
    Seen::not_tried(format!("{} is not reached", service.name()))
}

/// A service that has answered, and does not any more.
fn silent(service: Service, status: &Status) -> Seen {
    Seen::failed(format!("{}: {}", service.name(), Causes(status)), mend_of_silence(service, status))
}

/// What to do when a service does not answer us.
fn mend_of_silence(service: Service, status: &Status) -> String {
    let name = service.name();
    let reason = status.get_error_details().error_info().map(|info| info.reason.clone());
    match (status.code(), reason.as_deref()) {
        (Code::Unavailable, Some("SESSION_STORE_UNAVAILABLE")) => format!(
            "it cannot verify sessions: let SERVICE_TOKENS of session-service have `{name}=<SERVICE_TOKEN of {name}>`, and \
             SESSION_URL of {name} be its address; with a service's token in TRISTORE_TOKEN this command needs no session"
        ),
        (Code::Unauthenticated, _) => "log in again, and put the access token into TRISTORE_TOKEN".to_owned(),
        (Code::PermissionDenied, _) => "put an admin's access token into TRISTORE_TOKEN".to_owned(),
        (Code::Unimplemented, _) => format!("correct {}, or roll out a newer {name}", service.setting()),
        _ => format!("start {name}, or correct {}", service.setting()),
    }
}

/// Where a stream stands. Until somebody has begun its history, it has no epoch.
fn standing(stream: &str, head: &StreamHead) -> Seen {
    let StreamHead { epoch, position, oldest_position, .. } = head;
    if epoch.is_empty() {
        return Seen::failed(
            format!("{stream}: no epoch"),
            "see in the log of its service why nobody publishes it",
        );
    }
    Seen::ok(format!("{stream}: position {position}, oldest {oldest_position}, epoch {epoch}"))
}
