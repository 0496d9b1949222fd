-- no-transaction
-- As orders_customer, for whoever sells.
CREATE INDEX CONCURRENTLY orders_seller ON orders (seller_id);
