-- The outcomes of changing calls, by the id that the caller made. One table for all of them, successes and
-- refusals alike, so that one unique index decides what became of an id.

CREATE TABLE request (
    request_id uuid NOT NULL,
    principal text NOT NULL CHECK (principal <> ''),
    method text NOT NULL CHECK (method <> ''),
    fingerprint bytea NOT NULL CHECK (length(fingerprint) >= 32),
    -- What the first answer is rebuilt from.
    outcome jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- NULL: for ever, as everything that concerns an order.
    keep_until timestamptz,
    PRIMARY KEY (request_id, principal, method)
);
CREATE INDEX request_keep_until ON request (keep_until) WHERE keep_until IS NOT NULL;
