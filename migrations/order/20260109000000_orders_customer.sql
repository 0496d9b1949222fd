-- no-transaction
-- Whoever is to be deleted must have no open order. The state is not in it, so that changing it stays an update in place.
CREATE INDEX CONCURRENTLY orders_customer ON orders (customer_id);
