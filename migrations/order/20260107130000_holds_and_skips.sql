-- Until when a resync's hold keeps others from the consumer, and a record of the parked events that operators dropped:
-- rows are only ever added.

ALTER TABLE consumer_mark ADD COLUMN hold_until timestamptz;

CREATE TABLE parked_skip (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer text NOT NULL CHECK (consumer <> ''),
    event_id uuid NOT NULL,
    position bigint NOT NULL CHECK (position > 0),
    request_id uuid NOT NULL,
    caller text NOT NULL,
    justification text NOT NULL,
    skipped_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
