-- +goose Up
-- One row is one unit of work of package plan: its facts are the body, the
-- columns beside it exist to claim work. ready is set once next_at has passed,
-- so that the due work of one kind and lane is an index range in the order of
-- its deadlines, however many rows exist.
CREATE TABLE work (
    id        TEXT PRIMARY KEY,
    kind      TEXT NOT NULL,
    lane      TEXT NOT NULL,
    subject   TEXT NOT NULL,
    next_at   BIGINT,           -- microseconds since 1970, UTC; NULL: never by itself
    deadline  BIGINT NOT NULL,
    ready     INTEGER NOT NULL DEFAULT 0,
    version   BIGINT NOT NULL,
    poked     INTEGER NOT NULL DEFAULT 0, -- somebody wants it woken while it is in hand
    holder    TEXT NOT NULL DEFAULT '',
    lease_end BIGINT NOT NULL DEFAULT 0,
    body      BLOB NOT NULL
);
CREATE INDEX work_ready ON work (kind, lane, deadline, id) WHERE ready = 1;
CREATE INDEX work_next ON work (next_at) WHERE ready = 0 AND next_at IS NOT NULL;
CREATE INDEX work_deadline ON work (deadline) WHERE kind = 'certificate' AND next_at IS NOT NULL;
CREATE INDEX work_held ON work (id) WHERE holder <> '';
CREATE INDEX work_subject ON work (subject);

CREATE TABLE generation (
    name       TEXT NOT NULL,
    number     BIGINT NOT NULL,
    sha256     TEXT NOT NULL,
    spki       TEXT NOT NULL,
    not_before BIGINT NOT NULL,
    not_after  BIGINT NOT NULL,
    authority  TEXT NOT NULL,
    body       BLOB NOT NULL,
    PRIMARY KEY (name, number)
);
CREATE INDEX generation_sha256 ON generation (sha256);

CREATE TABLE fact (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Acts on the outside world: the intent is stored before the act, the outcome
-- after it, each in the transaction of the row that it concerns.
CREATE TABLE act (
    id            INTEGER PRIMARY KEY,
    kind          TEXT NOT NULL,
    subject       TEXT NOT NULL,
    actor         TEXT NOT NULL,
    incident      TEXT NOT NULL DEFAULT '',
    at            BIGINT NOT NULL,
    intent        TEXT NOT NULL,
    finished_at   BIGINT,
    outcome       TEXT,
    error         TEXT,
    cause         TEXT,
    leaf_index    BIGINT,
    leaf_hash     TEXT,
    outcome_index BIGINT,
    outcome_hash  TEXT
);
CREATE INDEX act_subject ON act (subject, id);
CREATE INDEX act_unsequenced ON act (id) WHERE leaf_index IS NULL OR (finished_at IS NOT NULL AND outcome_index IS NULL);
CREATE INDEX act_open ON act (subject) WHERE finished_at IS NULL;

-- The Merkle log over the acts: its stored hashes in the order of
-- golang.org/x/mod/sumdb/tlog, 256 to a row, and its signed checkpoints.
CREATE TABLE log_hash (
    chunk  INTEGER PRIMARY KEY,
    hashes BLOB NOT NULL
);
CREATE TABLE checkpoint (
    size  BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    at    BIGINT NOT NULL,
    note  TEXT NOT NULL,
    PRIMARY KEY (epoch, size)
);

-- The inventory: a certificate is an object, a sighting is a place.
CREATE TABLE certificate (
    sha256     TEXT PRIMARY KEY,
    spki       TEXT NOT NULL,
    not_after  BIGINT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL,
    der        BLOB,
    body       BLOB NOT NULL
);
CREATE INDEX certificate_not_after ON certificate (not_after);
CREATE TABLE sighting (
    place      TEXT NOT NULL,    -- endpoint:ADDRESS:PORT/SNI or file:PATH
    sha256     TEXT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL,
    body       BLOB NOT NULL,
    PRIMARY KEY (place, sha256)
);
CREATE INDEX sighting_sha256 ON sighting (sha256);

-- +goose Down
DROP TABLE sighting;
DROP TABLE certificate;
DROP TABLE checkpoint;
DROP TABLE log_hash;
DROP TABLE act;
DROP TABLE fact;
DROP TABLE generation;
DROP TABLE work;
