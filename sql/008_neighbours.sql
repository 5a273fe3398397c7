-- What one model has learned of one item: the items that speak for it.
--
-- A row is read and replaced as a whole. The list is packed pairs of four bytes each, little-endian: an item's number
-- and a float32, strongest first. What is removed stays as a row with an empty list, which nobody is shown: its version
-- says who came last, so that a learner need not shut everybody else out to remove something (as removals of items do).
-- Such rows go with their item.
--
-- No reference to items: a row is written while the lock is shared that removing an item needs alone; `braid verify`
-- checks it.

CREATE TABLE neighbours (
    model text COLLATE "C" NOT NULL,
    num bigint NOT NULL,
    at bigint NOT NULL,                   -- when it was learned, wall milliseconds
    version bigint NOT NULL,
    list bytea NOT NULL,
    PRIMARY KEY (model, num)
) WITH (toast_tuple_target = 8160);
ALTER TABLE neighbours ALTER COLUMN list SET STORAGE EXTERNAL;
CREATE INDEX neighbours_item ON neighbours (num);

-- Verdict 1: there was nothing to remove.
CREATE FUNCTION put_neighbours(p_n integer, p_num bigint, p_model text, p_at bigint, p_list bytea,
                               OUT o_verdict smallint, OUT o_lsn bigint, OUT o_num bigint)
LANGUAGE plpgsql AS $$
BEGIN
    o_num := p_num;
    PERFORM 1 FROM items WHERE num = p_num;
    o_verdict := CASE WHEN FOUND THEN 0 ELSE 2 END;
    IF o_verdict > 0 THEN
        RETURN;
    END IF;
    IF p_list = '' THEN
        PERFORM 1 FROM neighbours WHERE model = p_model AND num = p_num AND list <> '';
        IF NOT FOUND THEN
            o_verdict := 1;
            RETURN;
        END IF;
    END IF;
    o_lsn := lsn_of(p_n);
    INSERT INTO neighbours AS r (model, num, at, version, list) VALUES (p_model, p_num, p_at, o_lsn, p_list)
        ON CONFLICT (model, num) DO UPDATE SET at = excluded.at, version = excluded.version, list = excluded.list
        WHERE r.version < excluded.version;
    IF NOT FOUND THEN
        PERFORM overtaken();
    END IF;
    INSERT INTO log (lsn, kind, removed, num, key) VALUES (o_lsn, 9, p_list = '', p_num, p_model);
END $$;

-- Many at once, each (model, num) once: the rows were copied into the session's table staged_neighbours.
CREATE FUNCTION put_staged_neighbours() RETURNS TABLE (o_n integer, o_verdict smallint, o_lsn bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_base bigint := lsn_of(0);
    v_wanted bigint;
    v_done bigint;
BEGIN
    RETURN QUERY DELETE FROM staged_neighbours s
        WHERE s.list = '' AND EXISTS (SELECT 1 FROM items i WHERE i.num = s.num)
        AND NOT EXISTS (SELECT 1 FROM neighbours r WHERE r.model = s.model AND r.num = s.num AND r.list <> '')
        RETURNING s.n, 1::smallint, 0::bigint;
    INSERT INTO neighbours AS r (model, num, at, version, list)
        SELECT s.model, s.num, s.at, v_base + s.n, s.list FROM staged_neighbours s JOIN items i ON i.num = s.num
        ORDER BY s.model, s.num
        ON CONFLICT (model, num) DO UPDATE SET at = excluded.at, version = excluded.version, list = excluded.list
        WHERE r.version < excluded.version;
    GET DIAGNOSTICS v_done = ROW_COUNT;
    SELECT count(*) INTO v_wanted FROM staged_neighbours s JOIN items i ON i.num = s.num;
    IF v_done < v_wanted THEN
        PERFORM overtaken();
    END IF;
    INSERT INTO log (lsn, kind, removed, num, key)
        SELECT v_base + s.n, 9, s.list = '', s.num, s.model FROM staged_neighbours s JOIN items i ON i.num = s.num
        ORDER BY s.n;
    RETURN QUERY SELECT s.n, (CASE WHEN i.num IS NULL THEN 2 ELSE 0 END)::smallint,
        CASE WHEN i.num IS NULL THEN 0 ELSE v_base + s.n END
        FROM staged_neighbours s LEFT JOIN items i ON i.num = s.num;
END $$;

CREATE OR REPLACE FUNCTION drop_item(p_n integer, p_id text, OUT o_verdict smallint, OUT o_lsn bigint, OUT o_num bigint)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT num INTO o_num FROM items WHERE id = p_id;
    IF NOT FOUND THEN
        o_verdict := 2;
        RETURN;
    END IF;
    o_verdict := 0;
    o_lsn := lsn_of(p_n);
    DELETE FROM relations WHERE from_num = o_num OR to_num = o_num;
    DELETE FROM vectors WHERE num = o_num;
    DELETE FROM named_vectors WHERE num = o_num;
    DELETE FROM stats WHERE num = o_num;
    DELETE FROM neighbours WHERE num = o_num;
    DELETE FROM items WHERE num = o_num;
    INSERT INTO items_gone (num, id) VALUES (o_num, p_id);
    INSERT INTO log (lsn, kind, removed, num, key) VALUES (o_lsn, 1, true, o_num, p_id);
END $$;

-- What was watched lately counts for more: `recent` is the count in which an interaction is worth less the older it is, as of
-- last_at.
ALTER TABLE stats ADD COLUMN recent double precision NOT NULL DEFAULT 0;
DROP FUNCTION put_stats(bigint, double precision, double precision, bigint);
CREATE FUNCTION put_stats(p_num bigint, p_interactions double precision, p_reward_sum double precision,
                          p_last_at bigint, p_recent double precision,
                          OUT o_verdict smallint, OUT o_lsn bigint, OUT o_num bigint)
LANGUAGE plpgsql AS $$
BEGIN
    o_num := p_num;
    PERFORM 1 FROM items WHERE num = p_num;
    o_verdict := CASE WHEN FOUND THEN 0 ELSE 2 END;
    IF o_verdict > 0 THEN
        RETURN;
    END IF;
    o_lsn := 0;
    INSERT INTO stats (num, interactions, reward_sum, last_at, recent)
        VALUES (p_num, p_interactions, p_reward_sum, p_last_at, p_recent)
        ON CONFLICT (num) DO UPDATE SET interactions = excluded.interactions, reward_sum = excluded.reward_sum,
            last_at = excluded.last_at, recent = excluded.recent;
END $$;
