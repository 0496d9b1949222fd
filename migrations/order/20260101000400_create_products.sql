CREATE TABLE products (
    id uuid PRIMARY KEY,
    seller_id uuid NOT NULL,
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    unit_price_minor_units bigint NOT NULL CHECK (unit_price_minor_units BETWEEN 1 AND 1000000000000),
    -- What is given back by a cancelled order may exceed the limit of what a product starts with.
    stock bigint NOT NULL CHECK (stock >= 0),
    version bigint NOT NULL CHECK (version > 0),
    event_version bigint NOT NULL CHECK (event_version > 0),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (
    -- Every order updates the row in place: no index has a column that changes.
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.05
);
