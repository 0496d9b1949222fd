-- An audit that came to no end leaves the outcome before it as it is: that it failed is kept beside it.

ALTER TABLE audit_state
    ADD COLUMN failed_at timestamptz,
    ADD COLUMN failure text,
    -- Whether one of those that failed since was to be a full one; such a failure stays until a full one ends.
    ADD COLUMN failed_full boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT audit_state_failure CHECK ((failed_at IS NULL) = (failure IS NULL) AND (failed_at IS NOT NULL OR NOT failed_full));
