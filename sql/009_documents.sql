-- Documents: small JSON objects by kind and name, for the rooms that know what they mean (agents, experiments, rules,
-- patterns). Replaced as a whole; a writer may say which version it has read, and is refused when that is not the one that is
-- there. Removals shut everybody else out, as those of items do, so a removed document leaves no row behind.
--
-- Slates: what was shown to whom, kept until it is forgotten, in months as the episodes are. An id is looked up in every month,
-- so that the same slate written twice is there once; they are made by one server each and never come from two at once.
--
-- More verdicts: 8 there is no such document, 9 the document has another version.

CREATE TABLE documents (
    kind text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (kind, id)
);

CREATE TABLE slates (
    id text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL,
    person bigint NOT NULL,
    agent text COLLATE "C" NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
CREATE TABLE slates_default PARTITION OF slates DEFAULT;
CREATE INDEX slates_at ON slates (at, id);
CREATE INDEX slates_person ON slates (person);

-- Makes the partitions of `parent` for this month and `ahead` more. Rows of such a month that the default partition holds
-- already move along; what is set for the default partition's storage is set for theirs. Returns how many were made.
CREATE FUNCTION make_months(parent text, ahead integer, today timestamptz DEFAULT now()) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    first_day timestamp := date_trunc('month', today AT TIME ZONE 'UTC');
    starts timestamptz;
    ends timestamptz;
    part text;
    storage text[] := (SELECT reloptions FROM pg_class WHERE oid = to_regclass(format('%I.%I', current_schema(), parent || '_default')));
    made integer := 0;
BEGIN
    FOR i IN 0 .. least(ahead, 120) LOOP
        starts := (first_day + make_interval(months => i)) AT TIME ZONE 'UTC';
        ends := (first_day + make_interval(months => i + 1)) AT TIME ZONE 'UTC';
        part := parent || '_' || to_char(starts AT TIME ZONE 'UTC', 'YYYYMM');
        CONTINUE WHEN to_regclass(format('%I.%I', current_schema(), part)) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', part, parent);
        IF storage IS NOT NULL THEN
            EXECUTE format('ALTER TABLE %I SET (%s)', part, array_to_string(storage, ', '));
        END IF;
        EXECUTE format('WITH moved AS (DELETE FROM %I WHERE at >= %L AND at < %L RETURNING *)'
                       ' INSERT INTO %I SELECT * FROM moved', parent || '_default', starts, ends, part);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, part, starts, ends);
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;

CREATE OR REPLACE FUNCTION make_episode_partitions(ahead integer, today timestamptz DEFAULT now()) RETURNS integer
LANGUAGE sql AS $$ SELECT make_months('agent_episodes', ahead, today) $$;

-- Of every table that is kept by months.
CREATE FUNCTION make_partitions(ahead integer, today timestamptz DEFAULT now()) RETURNS bigint
LANGUAGE sql AS $$
    SELECT sum(make_months(relname::text, ahead, today)) FROM pg_class
    WHERE relkind = 'p' AND relnamespace = current_schema()::regnamespace
$$;

SELECT make_months('slates', 3);

-- p_body NULL removes. p_expect: the version that is replaced, 0 none, -1 whichever.
CREATE FUNCTION put_document(p_n integer, p_kind text, p_id text, p_body text, p_expect bigint,
                             OUT o_verdict smallint, OUT o_lsn bigint, OUT o_num bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_version bigint;
BEGIN
    o_num := 0;
    o_verdict := 0;
    SELECT version INTO v_version FROM documents WHERE kind = p_kind AND id = p_id FOR UPDATE;
    IF NOT FOUND AND p_body IS NULL THEN
        o_verdict := 8;
    ELSIF p_expect >= 0 AND p_expect <> coalesce(v_version, 0) THEN
        o_verdict := 9;
    END IF;
    IF o_verdict > 0 THEN
        RETURN;
    END IF;
    o_lsn := lsn_of(p_n);
    IF v_version > o_lsn THEN
        PERFORM overtaken();
    ELSIF p_body IS NULL THEN
        DELETE FROM documents WHERE kind = p_kind AND id = p_id;
    ELSIF v_version IS NULL THEN
        INSERT INTO documents (kind, id, version, body) VALUES (p_kind, p_id, o_lsn, p_body);
    ELSE
        UPDATE documents SET version = o_lsn, body = p_body WHERE kind = p_kind AND id = p_id;
    END IF;
    INSERT INTO log (lsn, kind, removed, key) VALUES (o_lsn, 10, p_body IS NULL, p_kind || '/' || p_id);
END $$;

-- Verdict 1: it is there already.
CREATE FUNCTION put_slate(p_n integer, p_id text, p_user text, p_agent text, p_at timestamptz, p_body bytea,
                          OUT o_verdict smallint, OUT o_lsn bigint, OUT o_num bigint)
LANGUAGE plpgsql AS $$
BEGIN
    o_num := 0;
    o_lsn := 0;
    PERFORM 1 FROM slates WHERE id = p_id;
    o_verdict := CASE WHEN FOUND THEN 1 ELSE 0 END;
    IF o_verdict > 0 THEN
        RETURN;
    END IF;
    INSERT INTO slates (id, at, person, agent, body) VALUES (p_id, p_at, make_person(p_user, lsn_of(p_n)), p_agent, p_body);
END $$;

-- Many at once, each id once: the rows were copied into the session's table staged_slates.
CREATE FUNCTION put_staged_slates() RETURNS TABLE (o_n integer, o_verdict smallint, o_lsn bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_base bigint := lsn_of(0);
BEGIN
    INSERT INTO persons (num, id, born)
        SELECT nextval('person_numbers'), s.person, v_base + s.n
        FROM (SELECT person, min(n) AS n FROM staged_slates GROUP BY person ORDER BY person) s
        WHERE NOT EXISTS (SELECT 1 FROM persons p WHERE p.id = s.person)
        ON CONFLICT (id) DO NOTHING;
    RETURN QUERY WITH done AS (
        INSERT INTO slates AS l (id, at, person, agent, body)
            SELECT s.id, s.at, p.num, s.agent, s.body FROM staged_slates s JOIN persons p ON p.id = s.person
            WHERE NOT EXISTS (SELECT 1 FROM slates l WHERE l.id = s.id)
            ON CONFLICT (id, at) DO NOTHING RETURNING l.id
    ) SELECT s.n, (CASE WHEN d.id IS NULL THEN 1 ELSE 0 END)::smallint, 0::bigint
      FROM staged_slates s LEFT JOIN done d ON d.id = s.id;
END $$;
