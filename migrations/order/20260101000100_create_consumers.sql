-- How far this service's consumers have come in other services' streams, and the events that could not be
-- applied. In this database because the effects are: a mark moves in the transaction of the effect.

CREATE TABLE consumer_mark (
    stream text NOT NULL CHECK (stream <> ''),
    consumer text NOT NULL CHECK (consumer <> ''),
    -- Nil until the first contact with the producer.
    epoch uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    position bigint NOT NULL DEFAULT 0 CHECK (position >= 0),
    event_id uuid,
    owner uuid,
    lease_until timestamptz NOT NULL DEFAULT '-infinity',
    fence bigint NOT NULL DEFAULT 0 CHECK (fence >= 0),
    -- Why the consumer stopped for good.
    halted text,
    PRIMARY KEY (stream, consumer),
    CONSTRAINT consumer_mark_event CHECK ((event_id IS NULL) = (position = 0))
) WITH (
    fillfactor = 10,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 500
);

CREATE TABLE parked_event (
    consumer text NOT NULL CHECK (consumer <> ''),
    event_id uuid NOT NULL,
    stream text NOT NULL CHECK (stream <> ''),
    position bigint NOT NULL CHECK (position > 0),
    aggregate_type text NOT NULL,
    aggregate_id text NOT NULL,
    -- The whole event, not a reference: the producer may prune it.
    event bytea NOT NULL,
    attempts integer NOT NULL CHECK (attempts >= 0),
    error text NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, event_id)
);
CREATE INDEX parked_event_order ON parked_event (consumer, position);
CREATE INDEX parked_event_aggregate ON parked_event (consumer, aggregate_type, aggregate_id, position);
