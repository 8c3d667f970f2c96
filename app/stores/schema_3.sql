-- Version 3. Like every step it is never changed again.

-- Tokens that are refused before they expire; see Revocation in base.py.
CREATE TABLE revocations (
    claim        TEXT NOT NULL,
    value        TEXT NOT NULL,
    issued_until INTEGER NOT NULL,
    until        INTEGER NOT NULL,
    PRIMARY KEY (claim, value)
) STRICT, WITHOUT ROWID;

CREATE INDEX revocations_by_end ON revocations (until);
