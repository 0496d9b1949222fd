ALTER TABLE customers VALIDATE CONSTRAINT customers_state_check;
