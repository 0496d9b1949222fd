-- Run once as a superuser in the new database `order`, whose owner `order_owner` applies the migrations. Whoever runs it
-- gives the roles their passwords and lets them log in.

-- What the service may do with whatever the owner makes: read and write rows, and nothing to their form.
CREATE ROLE order_service NOLOGIN;
ALTER DEFAULT PRIVILEGES FOR ROLE order_owner GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO order_service;
ALTER DEFAULT PRIVILEGES FOR ROLE order_owner GRANT USAGE, SELECT ON SEQUENCES TO order_service;

-- For people and tools that look.
CREATE ROLE order_reader NOLOGIN;
GRANT pg_read_all_data, pg_monitor TO order_reader;
ALTER ROLE order_reader SET default_transaction_read_only = on;
