#!/bin/sh
# Lets the roles log in, each with its password from the Secret.
set -eu
for role in order_owner order_service order_reader; do
    psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
        --set role="$role" --set password="$(cat "/run/secrets/postgresql/$role")" <<'SQL'
ALTER ROLE :"role" LOGIN PASSWORD :'password';
SQL
done
