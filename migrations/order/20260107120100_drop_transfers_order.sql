-- no-transaction
-- No statement looks for transfers by their order, so nothing was won for what each new transfer paid for it;
-- transfers_one_payment guards what must be unique there.
DROP INDEX CONCURRENTLY transfers_order;
