-- What order service knows of users: a read model of stream `user`, and of GetUser for those whose event has
-- not come yet. The higher version wins, whichever way it came.

CREATE TABLE customers (
    user_id uuid PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('active', 'deactivated')),
    role text NOT NULL CHECK (role IN ('customer', 'merchant', 'admin')),
    version bigint NOT NULL CHECK (version > 0),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
