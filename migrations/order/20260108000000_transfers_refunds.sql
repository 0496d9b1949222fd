-- no-transaction
-- The audit sums up what each order was paid and what of it went back. transfers_one_payment finds the payment; only
-- refunds pay for this one.
CREATE INDEX CONCURRENTLY transfers_refunds ON transfers (order_id)
    WHERE kind = 'refund' AND decision IS DISTINCT FROM 'cancel';
