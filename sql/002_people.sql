-- People, and what they did.
--
-- persons: everyone who was ever named; the text id once, a number everywhere else. born: the LSN that named them
-- first. Deleting somebody deletes this row too, so whoever comes by the same name later is somebody else, and what
-- was learned of the first cannot be taken for the second's.

CREATE TABLE persons (
    num bigint PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    born bigint NOT NULL
);
INSERT INTO persons (num, id, born) VALUES (0, '', 0); -- the population, to which policies may belong

CREATE TABLE users (
    person bigint PRIMARY KEY REFERENCES persons,
    id text COLLATE "C" NOT NULL UNIQUE,
    version bigint NOT NULL,
    body text NOT NULL
);

CREATE TABLE interactions (
    lsn bigint PRIMARY KEY,
    person bigint NOT NULL,
    item bigint NOT NULL,
    at timestamptz NOT NULL,
    type smallint NOT NULL,
    watch_s integer,
    rating double precision,
    agent text,
    session text,
    recommendation text,
    idempotency text COLLATE "C",
    device text,
    daypart text,
    region text,
    mood text,
    simulated boolean,
    attribution text
);
CREATE INDEX interactions_person ON interactions (person, at DESC, lsn DESC);
CREATE UNIQUE INDEX interactions_key ON interactions (person, idempotency) WHERE idempotency IS NOT NULL;
