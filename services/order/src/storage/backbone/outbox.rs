//! Appending events: the producer's half of the outbox.
//!
//! **Invariant:** the aggregate's row is locked or new before its event is appended, so that of one aggregate
//! a later commit has a later `id`.

use events::{Headers, NewEvent};
use serde_json::{Map, Value};
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use sqlx::types::Json;

use crate::error::Result;
use crate::storage::statement::statements;
use crate::storage::{STREAM, Tx};

statements! {
    EVENTS_APPEND =
        "INSERT INTO outbox (stream, event_id, aggregate_type, aggregate_id, aggregate_version, type,
                             schema_version, payload, headers, created_at)
         SELECT $1, event_id, aggregate_type, aggregate_id, aggregate_version, type, schema_version, payload,
                headers, created_at
         FROM unnest($2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::integer[], $8::bytea[],
                     $9::jsonb[], $10::timestamptz[])
              WITH ORDINALITY AS event (event_id, aggregate_type, aggregate_id, aggregate_version, type,
                                        schema_version, payload, headers, created_at, place)
         ORDER BY place";
}

/// What the column `headers` holds.
fn headers_to_json(headers: &Headers) -> Json<Value> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), Value::String(value));
        }
    };
    put("traceparent", headers.traceparent.clone());
    put("tracestate", headers.tracestate.clone());
    put("request_id", headers.request_id.map(|id| id.to_string()));
    Json(Value::Object(fields))
}

/// Reads back what [`headers_to_json`] made; what it does not know is left out.
pub(in crate::storage) fn headers_from_json(json: &Value) -> Headers {
    let text = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
    Headers {
        traceparent: text("traceparent"),
        tracestate: text("tracestate"),
        request_id: text("request_id").and_then(|id| id.parse().ok()),
    }
}

/// Binds the ten columns of an event's row, in the order in which [`Tx::events_append`] lists them.
pub(in crate::storage) fn bind_event<'q>(
    query: Query<'q, Postgres, PgArguments>,
    event: &'q NewEvent,
) -> Query<'q, Postgres, PgArguments> {
    query
        .bind(STREAM)
        .bind(event.id.uuid())
        .bind(&event.aggregate.kind)
        .bind(&event.aggregate.id)
        .bind(event.aggregate_version)
        .bind(&event.event_type)
        .bind(event.schema_version)
        .bind(&*event.payload)
        .bind(headers_to_json(&event.headers))
        .bind(event.created_at)
}

impl Tx {
    /// Appends an event to the outbox. Lock or write its aggregate first.
    ///
    /// # Errors
    /// When it was not appended; the transaction is lost then.
    pub async fn event_append(&mut self, event: &NewEvent) -> Result<()> {
        self.events_append(std::slice::from_ref(event)).await
    }

    /// Appends events in this order.
    pub(crate) async fn events_append(&mut self, events: &[NewEvent]) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let each = |column: fn(&NewEvent) -> String| events.iter().map(column).collect::<Vec<_>>();
        let query = sqlx::query(EVENTS_APPEND)
            .bind(STREAM)
            .bind(events.iter().map(|event| event.id.uuid()).collect::<Vec<_>>())
            .bind(each(|event| event.aggregate.kind.clone()))
            .bind(each(|event| event.aggregate.id.clone()))
            .bind(events.iter().map(|event| event.aggregate_version).collect::<Vec<_>>())
            .bind(each(|event| event.event_type.clone()))
            .bind(events.iter().map(|event| event.schema_version).collect::<Vec<_>>())
            .bind(events.iter().map(|event| event.payload.to_vec()).collect::<Vec<_>>())
            .bind(events.iter().map(|event| headers_to_json(&event.headers)).collect::<Vec<_>>())
            .bind(events.iter().map(|event| event.created_at).collect::<Vec<_>>());
        self.execute(query).await?;
        self.has_appended();
        Ok(())
    }
}
