-- What merchants earned, as double entry. Every posting has one line of a merchant's account and one of
-- `transit`, the way to and from user service's book. Lines are never changed or deleted: a mistake is
-- corrected by another posting.

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed or deleted', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

-- One merchant in one currency. A row is there for its lock, its balance and the end of its chain of hashes;
-- `transit` has none, because every transfer would wait for it.
CREATE TABLE accounts (
    owner_id uuid NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    balance bigint NOT NULL DEFAULT 0,
    -- Reserved by running refunds, part of the balance.
    held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    -- Reserved to arrive, not part of the balance.
    incoming bigint NOT NULL DEFAULT 0 CHECK (incoming >= 0),
    -- Entries so far, and the hash of the last one.
    sequence bigint NOT NULL DEFAULT 0 CHECK (sequence >= 0),
    last_hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (octet_length(last_hash) = 32),
    updated_at timestamptz,
    PRIMARY KEY (owner_id, currency),
    CONSTRAINT accounts_balance_not_negative CHECK (balance >= 0),
    CONSTRAINT accounts_available_not_negative CHECK (balance - held >= 0),
    -- types::BALANCE_MAX.
    CONSTRAINT accounts_balance_limit CHECK (balance + incoming <= 1000000000000000)
) WITH (fillfactor = 70);

-- A transfer posts once in this book, so its id is the posting's.
CREATE TABLE postings (
    transfer_id uuid PRIMARY KEY,
    order_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('pay', 'refund')),
    created_at timestamptz NOT NULL
);

CREATE TABLE entries (
    transfer_id uuid NOT NULL REFERENCES postings,
    account text NOT NULL CHECK (account IN ('merchant', 'transit')),
    currency text NOT NULL,
    debit bigint NOT NULL CHECK (debit >= 0),
    credit bigint NOT NULL CHECK (credit >= 0),
    -- Of merchants' lines only.
    owner_id uuid,
    sequence bigint CHECK (sequence > 0),
    balance_after bigint CHECK (balance_after >= 0),
    hash bytea CHECK (octet_length(hash) = 32),
    PRIMARY KEY (transfer_id, account),
    FOREIGN KEY (owner_id, currency) REFERENCES accounts,
    CONSTRAINT entries_one_side CHECK ((debit = 0) <> (credit = 0)),
    CONSTRAINT entries_merchant CHECK (
        num_nulls(owner_id, sequence, balance_after, hash) = CASE account WHEN 'merchant' THEN 0 ELSE 4 END)
);
CREATE UNIQUE INDEX entries_chain ON entries (owner_id, currency, sequence) WHERE owner_id IS NOT NULL;

CREATE TRIGGER postings_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON postings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The lines of a posting are inserted by one statement, and cancel out.
CREATE FUNCTION refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE unbalanced uuid;
BEGIN
    SELECT transfer_id INTO unbalanced FROM inserted GROUP BY transfer_id
      HAVING sum(debit) <> sum(credit) OR count(*) < 2 OR count(DISTINCT currency) > 1 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the entries of posting % do not cancel out', unbalanced USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER entries_balanced AFTER INSERT ON entries REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_unbalanced();
