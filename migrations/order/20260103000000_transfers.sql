-- Credit on its way between a wallet (user service) and an account (here): the coordinator's row of each
-- transfer, and this side's holds.

CREATE TABLE transfers (
    id uuid PRIMARY KEY,
    -- One request, one transfer, for ever. A refusal is a transfer that was cancelled at once.
    principal text NOT NULL,
    method text NOT NULL,
    request_id uuid NOT NULL,
    fingerprint bytea NOT NULL CHECK (length(fingerprint) >= 32),
    kind text NOT NULL CHECK (kind IN ('pay', 'refund')),
    order_id uuid NOT NULL,
    wallet_user_id uuid NOT NULL,
    account_owner_id uuid NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    state text NOT NULL,
    decision text,
    reason text,
    deadline timestamptz NOT NULL,
    decided_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    -- The recovery worker: when it looks next, who is looking, how often it has looked since the last change.
    next_attempt_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    lease_owner uuid,
    lease_until timestamptz,
    fence bigint NOT NULL DEFAULT 0,
    last_error text NOT NULL DEFAULT '',
    needs_operator boolean NOT NULL DEFAULT false,
    event_version bigint NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    -- The order as it was when this was decided CONFIRM: what every repeat of the request is told.
    order_customer_id uuid,
    order_version bigint,
    order_refunded bigint,
    order_updated_at timestamptz,
    CONSTRAINT transfers_request UNIQUE (request_id, principal, method),
    CONSTRAINT transfers_decision CHECK (
        (state = 'reserving' AND decision IS NULL)
        OR (state IN ('confirming', 'completed') AND decision IS NOT NULL AND decision = 'confirm')
        OR (state IN ('cancelling', 'cancelled') AND decision IS NOT NULL AND decision = 'cancel')),
    CONSTRAINT transfers_reason CHECK ((reason IS NOT NULL) = (decision IS NOT DISTINCT FROM 'cancel')),
    CONSTRAINT transfers_decided_at CHECK ((decided_at IS NULL) = (decision IS NULL)),
    CONSTRAINT transfers_order_then CHECK (
        num_nulls(order_customer_id, order_version, order_refunded, order_updated_at)
            = CASE WHEN decision = 'confirm' THEN 0 ELSE 4 END),
    CONSTRAINT transfers_watched CHECK ((next_attempt_at IS NULL) = (state IN ('completed', 'cancelled')))
) WITH (fillfactor = 70);

-- Two calls with two ids never pay one order twice.
CREATE UNIQUE INDEX transfers_one_payment ON transfers (order_id)
    WHERE kind = 'pay' AND decision IS DISTINCT FROM 'cancel';
CREATE INDEX transfers_order ON transfers (order_id);
CREATE INDEX transfers_due ON transfers (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX transfers_unfinished ON transfers (decided_at) WHERE state = 'confirming';

-- The decision is the pivot. Whatever a defect in the service does, the database keeps it.
CREATE FUNCTION refuse_new_decision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'transfer % is decided %', OLD.id, OLD.decision USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER transfers_decision_stands BEFORE UPDATE ON transfers FOR EACH ROW
    WHEN (OLD.decision IS NOT NULL AND NEW.decision IS DISTINCT FROM OLD.decision)
    EXECUTE FUNCTION refuse_new_decision();

-- What this side's accounts have set aside. A tombstone (a cancel that came first) has no content.
CREATE TABLE holds (
    transfer_id uuid PRIMARY KEY,
    owner_id uuid,
    direction text CHECK (direction IN ('debit', 'credit')),
    amount bigint CHECK (amount > 0),
    currency text,
    order_id uuid,
    expires_at timestamptz,
    state text NOT NULL CHECK (state IN ('held', 'posted', 'cancelled')),
    refusal text,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT holds_content CHECK (
        num_nulls(owner_id, direction, amount, currency, order_id, expires_at) = 0
        OR (num_nonnulls(owner_id, direction, amount, currency, order_id, expires_at) = 0 AND state = 'cancelled')),
    CONSTRAINT holds_refusal CHECK (refusal IS NULL OR state = 'cancelled')
);
CREATE INDEX holds_held ON holds (owner_id, currency) WHERE state = 'held';

CREATE FUNCTION refuse_reopening() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'hold % is %', OLD.transfer_id, OLD.state USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER holds_final BEFORE UPDATE ON holds FOR EACH ROW
    WHEN (OLD.state <> 'held') EXECUTE FUNCTION refuse_reopening();

-- What operators did to transfers.
CREATE TABLE transfer_audit (
    id uuid PRIMARY KEY,
    principal text NOT NULL,
    method text NOT NULL,
    request_id uuid NOT NULL,
    transfer_id uuid NOT NULL REFERENCES transfers,
    state_before text NOT NULL,
    state_after text NOT NULL,
    traceparent text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX transfer_audit_transfer ON transfer_audit (transfer_id);
CREATE TRIGGER transfer_audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfer_audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
