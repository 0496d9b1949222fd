-- The last resync of each consumer that ended, so that a repeat of its request hears what it came to.

ALTER TABLE consumer_mark
    ADD COLUMN resync_request uuid,
    ADD COLUMN resync_aggregates bigint,
    ADD COLUMN resync_position bigint;
