-- Events that this service's transactions append, the lease of the one sequencer that stamps them, and the
-- registered consumers that hold back pruning. shared/events tells the protocol.

CREATE TABLE outbox (
    event_id uuid PRIMARY KEY,
    stream text NOT NULL CHECK (stream <> ''),
    -- CACHE 1 is required: with a larger cache a session may give a later commit of one aggregate a lower id.
    id bigint GENERATED ALWAYS AS IDENTITY (CACHE 1),
    aggregate_type text NOT NULL CHECK (aggregate_type <> ''),
    aggregate_id text NOT NULL CHECK (aggregate_id <> ''),
    aggregate_version bigint NOT NULL CHECK (aggregate_version > 0),
    type text NOT NULL CHECK (type <> ''),
    schema_version integer NOT NULL CHECK (schema_version > 0),
    payload bytea NOT NULL,
    headers jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(headers) = 'object'),
    created_at timestamptz NOT NULL,
    -- Given by the sequencer after the commit: dense, and visible in order.
    position bigint CHECK (position > 0),
    -- The event at position - 1.
    previous uuid,
    stamped_at timestamptz,
    CONSTRAINT outbox_aggregate_version UNIQUE (aggregate_type, aggregate_id, aggregate_version),
    CONSTRAINT outbox_stamp_is_whole CHECK ((position IS NULL) = (stamped_at IS NULL)),
    CONSTRAINT outbox_chain CHECK ((previous IS NULL) = (position IS NULL OR position = 1))
) WITH (
    -- Each row is updated once and deleted once: the defaults would let it grow by a fifth first.
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05
);
CREATE INDEX outbox_pending ON outbox (stream, id) WHERE position IS NULL;
CREATE UNIQUE INDEX outbox_position ON outbox (stream, position) WHERE position IS NOT NULL;

-- Inserts only, so that the stamps and the pruning never leave PostgreSQL: what Debezium reads, where a site
-- attaches it.
CREATE PUBLICATION outbox FOR TABLE outbox WITH (publish = 'insert', publish_via_partition_root = true);

CREATE TABLE outbox_lease (
    stream text PRIMARY KEY CHECK (stream <> ''),
    -- The history that positions belong to; replaced when the server is not the one below.
    epoch uuid NOT NULL,
    system_identifier text NOT NULL DEFAULT '',
    timeline text NOT NULL DEFAULT '',
    owner uuid,
    lease_until timestamptz NOT NULL DEFAULT '-infinity',
    fence bigint NOT NULL DEFAULT 0 CHECK (fence >= 0),
    next_position bigint NOT NULL DEFAULT 1 CHECK (next_position > 0),
    last_event_id uuid,
    published_through bigint NOT NULL DEFAULT 0 CHECK (published_through >= 0),
    CONSTRAINT outbox_lease_chain CHECK ((last_event_id IS NULL) = (next_position = 1))
) WITH (
    -- One hot row: room for updates in the page, and vacuum before it is bloated.
    fillfactor = 10,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 500
);
INSERT INTO outbox_lease (stream, epoch) VALUES ('order', gen_random_uuid());

CREATE TABLE outbox_consumer (
    stream text NOT NULL REFERENCES outbox_lease (stream),
    consumer text NOT NULL CHECK (consumer <> ''),
    epoch uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    acknowledged bigint NOT NULL DEFAULT 0 CHECK (acknowledged >= 0),
    acknowledged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (stream, consumer)
) WITH (
    fillfactor = 10,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 500
);
INSERT INTO outbox_consumer (stream, consumer)
VALUES ('order', 'user.statistics'), ('order', 'user.transfers');
