-- Items, what they are made of, and the change log.
--
-- An LSN is (xid << 20) | n: the transaction that wrote, and the number of the change in it. A sequence would be
-- handed out before its transaction commits, and a consumer that reads on after the highest number it has seen would
-- never see what commits late. By transaction, all rows below the oldest transaction that still runs are settled:
--     lsn < pg_snapshot_xmin(pg_current_snapshot()) << 20, asked in the same statement as the rows.
-- 20 bits: at most 1,048,575 changes a transaction; 43 are left for transactions.
--
-- A step that has been released is never changed; what is to change comes in a new one.

CREATE TABLE meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    dim integer NOT NULL CHECK (dim BETWEEN 1 AND 4096),
    identity bigint NOT NULL,             -- random, from the creation
    restores integer NOT NULL DEFAULT 0,  -- see restored()
    trimmed bigint NOT NULL DEFAULT 0     -- log rows up to here are forgotten
);

CREATE SEQUENCE item_numbers AS bigint MINVALUE 1 MAXVALUE 4294967294 NO CYCLE;
CREATE SEQUENCE person_numbers AS bigint MINVALUE 1 NO CYCLE;

-- num is for ever; a removed item's id stays in items_gone, as interactions speak of it.
CREATE TABLE items (
    num bigint PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    version bigint NOT NULL,
    given boolean,                        -- the vector came from the caller; NULL: there is none
    body text NOT NULL                    -- canonical JSON, byte for byte
);
CREATE INDEX items_given ON items (num) WHERE given;
CREATE TABLE items_gone (
    num bigint PRIMARY KEY,
    id text COLLATE "C" NOT NULL
);

-- float32, little-endian: the exact numbers, whatever an index makes of them. They do not compress, and two rows of
-- 768 dimensions fit a page, so they stay out of TOAST.
CREATE TABLE vectors (
    num bigint PRIMARY KEY REFERENCES items,
    data bytea NOT NULL
) WITH (toast_tuple_target = 8160);
CREATE TABLE named_vectors (
    num bigint NOT NULL REFERENCES items,
    name text COLLATE "C" NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (num, name)
) WITH (toast_tuple_target = 8160);
ALTER TABLE vectors ALTER COLUMN data SET STORAGE EXTERNAL;
ALTER TABLE named_vectors ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE relations (
    from_num bigint NOT NULL REFERENCES items,
    to_num bigint NOT NULL REFERENCES items,
    type text COLLATE "C" NOT NULL,
    strength double precision NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (from_num, to_num, type)
);
CREATE INDEX relations_to ON relations (to_num);

CREATE TABLE stats (
    num bigint PRIMARY KEY,
    interactions double precision NOT NULL,
    reward_sum double precision NOT NULL,
    last_at bigint NOT NULL
) WITH (fillfactor = 70);

-- Interactions are their own log rows; here are all others. kind: 1 item, 2 relation, 3 user, 5 policy.
CREATE TABLE log (
    lsn bigint PRIMARY KEY,
    kind smallint NOT NULL,
    removed boolean NOT NULL,
    num bigint NOT NULL DEFAULT 0,
    num2 bigint NOT NULL DEFAULT 0,
    person bigint,
    key text COLLATE "C"
);

-- A consumer's place. LSNs of another life of this database mean nothing, hence the epoch.
CREATE TABLE cursors (
    name text COLLATE "C" PRIMARY KEY,
    lsn bigint NOT NULL,
    epoch bigint NOT NULL
) WITH (fillfactor = 50);

CREATE FUNCTION lsn_of(n integer) RETURNS bigint LANGUAGE sql VOLATILE AS
    $$ SELECT (pg_current_xact_id()::text::bigint << 20) | n $$;

-- Up to here nothing can appear any more.
CREATE FUNCTION horizon() RETURNS bigint LANGUAGE sql STABLE AS
    $$ SELECT (pg_snapshot_xmin(pg_current_snapshot())::text::bigint << 20) - 1 $$;

-- One life of the database: another server, time line, restored copy, or a call of restored() is another one.
CREATE FUNCTION epoch() RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT 1 | (hashtextextended(concat_ws('/', (SELECT system_identifier FROM pg_control_system()),
               left(pg_walfile_name(pg_current_wal_lsn()), 8), 'log'::regclass::oid, identity, restores), 0)
               & 9223372036854775807) FROM meta
$$;

-- To be called by whoever puts back a copy of the server's files, which nothing else can tell from the original.
CREATE FUNCTION restored() RETURNS void LANGUAGE sql AS $$ UPDATE meta SET restores = restores + 1 $$;
