-- Version 2. Like every step it is never changed again.

-- Events up to this id were deleted: hidden at once, their rows go in small steps. `events` does not count them.
ALTER TABLE channels ADD COLUMN deleted_to INTEGER NOT NULL DEFAULT 0;

-- What processes answer to a question that was asked over the controls; gone as soon as it was read.
CREATE TABLE answers (
    question TEXT NOT NULL,
    process  TEXT NOT NULL,
    at_us    INTEGER NOT NULL,
    answer   BLOB NOT NULL,
    PRIMARY KEY (question, process)
) STRICT, WITHOUT ROWID;
