-- The last act of an operator on each consumer's parked events, so that a repeat of its request hears what it came to.

ALTER TABLE consumer_mark
    ADD COLUMN act_request uuid,
    ADD COLUMN act_outcome text,
    ADD CONSTRAINT consumer_mark_act CHECK ((act_request IS NULL) = (act_outcome IS NULL));
