-- Who still needs the change log.
--
-- Two kinds of readers: stores that outlive a server (cursors), and servers that keep in memory what they derive; each
-- of these says now and then how far all of it has read (readers). The log is trimmed below all of them. Who has not
-- been heard of for a week (a cursor) or ten minutes (a server) does not count: coming back, it finds that the log no
-- longer reaches to where it stood, and begins anew.

ALTER TABLE cursors ADD COLUMN moved_at timestamptz NOT NULL DEFAULT now();

CREATE TABLE readers (
    name text COLLATE "C" PRIMARY KEY,
    lsn bigint NOT NULL,
    epoch bigint NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

CREATE OR REPLACE FUNCTION put_cursor(p_name text, p_lsn bigint, p_epoch bigint, OUT o_verdict smallint,
                                      OUT o_lsn bigint, OUT o_num bigint)
LANGUAGE plpgsql AS $$
BEGIN
    o_verdict := 0;
    o_lsn := 0;
    o_num := 0;
    INSERT INTO cursors AS c (name, lsn, epoch) VALUES (p_name, p_lsn, p_epoch)
        ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch, moved_at = now(),
            lsn = CASE WHEN c.epoch = excluded.epoch THEN greatest(c.lsn, excluded.lsn) ELSE excluded.lsn END;
END $$;

-- p_lsn NULL: from the oldest row that is there.
CREATE FUNCTION keep_reader(p_name text, p_lsn bigint, OUT o_lsn bigint)
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM readers WHERE seen_at < now() - interval '1 day';
    INSERT INTO readers AS r (name, lsn, epoch) VALUES (p_name, coalesce(p_lsn, (SELECT trimmed FROM meta)), epoch())
        ON CONFLICT (name) DO UPDATE SET lsn = excluded.lsn, epoch = excluded.epoch, seen_at = now()
        RETURNING r.lsn INTO o_lsn;
END $$;

-- How far the log may be trimmed by the server of that name, who has read up to p_upto itself.
CREATE FUNCTION trimmable(p_upto bigint, p_name text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT least(p_upto, horizon(),
        (SELECT min(c.lsn) FROM cursors c WHERE c.epoch = epoch() AND c.moved_at > now() - interval '7 days'),
        (SELECT min(r.lsn) FROM readers r WHERE r.name <> p_name AND r.epoch = epoch()
             AND r.seen_at > now() - interval '10 minutes'))
$$;
