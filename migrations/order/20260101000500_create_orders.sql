CREATE TABLE orders (
    id uuid PRIMARY KEY,
    customer_id uuid NOT NULL,
    seller_id uuid NOT NULL,
    state text NOT NULL CHECK (state IN ('placed', 'payment_pending', 'paid', 'cancelled')),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    total_minor_units bigint NOT NULL CHECK (total_minor_units BETWEEN 1 AND 1000000000000),
    paid_minor_units bigint NOT NULL DEFAULT 0,
    refunded_minor_units bigint NOT NULL DEFAULT 0 CHECK (refunded_minor_units >= 0),
    refund_pending_minor_units bigint NOT NULL DEFAULT 0 CHECK (refund_pending_minor_units >= 0),
    -- Whose wallet paid, and gets refunds, whoever owns the order later.
    payer_id uuid,
    version bigint NOT NULL CHECK (version > 0),
    event_version bigint NOT NULL CHECK (event_version > 0),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT orders_paid_in_full CHECK (paid_minor_units IN (0, total_minor_units)),
    CONSTRAINT orders_paid_state CHECK ((state = 'paid') = (paid_minor_units > 0)),
    CONSTRAINT orders_payer CHECK (paid_minor_units = 0 OR payer_id IS NOT NULL),
    CONSTRAINT orders_refunds_within_payment
        CHECK (refunded_minor_units + refund_pending_minor_units <= paid_minor_units)
) WITH (
    -- Paid, handed over, refunded: a row is updated a few times, in place.
    fillfactor = 80
);

CREATE TABLE order_items (
    order_id uuid NOT NULL REFERENCES orders (id),
    -- The place in the request, from 1.
    position smallint NOT NULL CHECK (position BETWEEN 1 AND 100),
    product_id uuid NOT NULL REFERENCES products (id),
    quantity bigint NOT NULL CHECK (quantity BETWEEN 1 AND 10000),
    -- As they were when the order was placed.
    product_name text NOT NULL,
    unit_price_minor_units bigint NOT NULL CHECK (unit_price_minor_units > 0),
    PRIMARY KEY (order_id, position),
    CONSTRAINT order_items_product_once UNIQUE (order_id, product_id)
);
