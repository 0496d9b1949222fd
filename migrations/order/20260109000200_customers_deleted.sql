-- Users may be deleted. A service of before takes such a one for deactivated.
ALTER TABLE customers
    DROP CONSTRAINT customers_state_check,
    ADD CONSTRAINT customers_state_check CHECK (state IN ('active', 'deactivated', 'deleted')) NOT VALID;
