-- no-transaction
-- Transfers that an operator has to look at, in whatever state: few, among all that ever were.
CREATE INDEX CONCURRENTLY transfers_flagged ON transfers (id) WHERE needs_operator;
