-- How far the auditor has followed each account's chain, the sums of all postings that it found in order, and how
-- its last audit ended. Nothing but the audit and the trial balance reads them; emptied, they are made anew from
-- the book.

CREATE TABLE audit_accounts (
    owner_id uuid NOT NULL,
    currency text NOT NULL,
    -- The last entry that was found in order: its place, the balance after it, its hash.
    sequence bigint NOT NULL CHECK (sequence > 0),
    balance bigint NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (owner_id, currency)
) WITH (fillfactor = 70);

-- Of this book (`accounts`, `transit`), and of user service's `transit` (`wallets`) for the same transfers.
CREATE TABLE audit_sums (
    account text NOT NULL CHECK (account IN ('accounts', 'transit', 'wallets')),
    currency text NOT NULL,
    debit bigint NOT NULL CHECK (debit >= 0),
    credit bigint NOT NULL CHECK (credit >= 0),
    PRIMARY KEY (account, currency)
) WITH (fillfactor = 50);

-- One row. One audit runs at a time, for thrift: two would only be in each other's way.
CREATE TABLE audit_state (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    owner uuid,
    lease_until timestamptz NOT NULL DEFAULT '-infinity',
    -- The last audit that came to an end, and the last full one of them.
    started_at timestamptz,
    ended_at timestamptz,
    full_at timestamptz,
    outcome jsonb,
    CONSTRAINT audit_state_outcome CHECK (num_nulls(started_at, ended_at, outcome) IN (0, 3))
) WITH (fillfactor = 50);
INSERT INTO audit_state DEFAULT VALUES;
