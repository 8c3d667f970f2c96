-- Version 1 of the store's file. Later versions are steps, see sqlite_file.py; this file is never changed again.

-- base: the floor of channels that have no head (microseconds); channels: how many there are; policy: JSON.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value ANY
) STRICT, WITHOUT ROWID;

-- A channel that has events or a head. events and keys count its rows below, so that no bound needs a scan.
CREATE TABLE channels (
    number     INTEGER PRIMARY KEY,
    channel    TEXT NOT NULL UNIQUE,
    head       INTEGER NOT NULL,
    events     INTEGER NOT NULL,
    keys       INTEGER NOT NULL,
    last_at_us INTEGER NOT NULL,
    -- A process with a subscriber keeps the head until then, and renews it.
    kept_us    INTEGER NOT NULL
) STRICT;

-- seq is the order of appends over all channels, by which processes learn what is new. AUTOINCREMENT, since without
-- it a delete of the newest rows would let their numbers be used again, under a sibling's eyes.
CREATE TABLE events (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    number  INTEGER NOT NULL,
    id      INTEGER NOT NULL,
    prev    INTEGER NOT NULL,
    at_us   INTEGER NOT NULL,
    type    TEXT,
    message BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX events_of_channel ON events (number, id);

CREATE TABLE idempotency (
    number     INTEGER NOT NULL,
    subject    TEXT NOT NULL,
    text       TEXT NOT NULL,
    digest     BLOB NOT NULL,
    first_id   INTEGER NOT NULL,
    last_id    INTEGER NOT NULL,
    expires_us INTEGER NOT NULL,
    PRIMARY KEY (number, subject, text)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_by_expiry ON idempotency (number, expires_us);

-- What processes tell each other beside appends. Rows live for some minutes.
CREATE TABLE controls (
    seq   INTEGER PRIMARY KEY AUTOINCREMENT,
    at_us INTEGER NOT NULL,
    kind  TEXT NOT NULL,
    data  TEXT NOT NULL
) STRICT;
