#!/bin/sh
# Makes the owner, whom roles.sql names.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE order_owner LOGIN;
ALTER DATABASE "order" OWNER TO order_owner;
SQL
