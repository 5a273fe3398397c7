-- What a crash of the server takes back: the numbers of transactions that had written nothing to disk yet are given
-- again to others. So
--   - what became of a commit is not asked by its number (pg_xact_status would answer for another transaction): each
--     writer has a row here, and each of its transactions leaves a token there;
--   - a consumer is told that the log is settled up to its last settled row, never up to a number of which there is
--     nothing on disk, or rows that are written after the crash would hide behind its cursor.

CREATE TABLE writers (
    name text COLLATE "C" PRIMARY KEY,
    token bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- The writer's row is there before its first transaction, so that this one always waits for one that is still open.
CREATE FUNCTION begin_write(space bigint, alone boolean, p_writer text, p_token bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
BEGIN
    IF alone THEN
        PERFORM pg_advisory_xact_lock(space);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(space);
    END IF;
    UPDATE writers SET token = p_token, at = now() WHERE name = p_writer;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the writer is not known here' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN pg_current_xact_id()::text::bigint;
END $$;

-- The last row that is settled; it is on disk, or it could not be seen.
CREATE FUNCTION settled() RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT greatest((SELECT l.lsn FROM log l WHERE l.lsn <= h.at ORDER BY l.lsn DESC LIMIT 1),
                    (SELECT i.lsn FROM interactions i WHERE i.lsn <= h.at ORDER BY i.lsn DESC LIMIT 1),
                    (SELECT trimmed FROM meta)) FROM (SELECT horizon() AS at) h
$$;

CREATE OR REPLACE FUNCTION trimmable(p_upto bigint, p_name text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT least(p_upto, settled(),
        (SELECT min(c.lsn) FROM cursors c WHERE c.epoch = epoch() AND c.moved_at > now() - interval '7 days'),
        (SELECT min(r.lsn) FROM readers r WHERE r.name <> p_name AND r.epoch = epoch()
             AND r.seen_at > now() - interval '10 minutes'))
$$;

CREATE OR REPLACE FUNCTION keep_reader(p_name text, p_lsn bigint, OUT o_lsn bigint)
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM readers WHERE seen_at < now() - interval '1 day';
    DELETE FROM writers WHERE at < now() - interval '7 days';
    INSERT INTO readers AS r (name, lsn, epoch) VALUES (p_name, coalesce(p_lsn, (SELECT trimmed FROM meta)), epoch())
        ON CONFLICT (name) DO UPDATE SET lsn = excluded.lsn, epoch = excluded.epoch, seen_at = now()
        RETURNING r.lsn INTO o_lsn;
END $$;

-- A vector is written and removed together with its item, by the functions of this schema alone, and checked by
-- `braid verify`; looking its item up and locking it for each vector costs more than writing the vector.
ALTER TABLE vectors DROP CONSTRAINT vectors_num_fkey;
