-- Episodes of their own, states as vectors, and forgetting.
--
-- An episode of its own has no interaction: its number is an LSN of the transaction that wrote it, which no log row has, and
-- `own` says so. It may carry a key, by which a repetition is known: episode_keys, since a key must be unique over all months,
-- which no index of a partitioned table can promise.
--
-- State vectors are apart, in months too, as pgvector's `vector` of any dimension: rows of agent_episodes stay small for
-- those who read them by the million. 768 dimensions fit a page twice, so they stay out of TOAST. A month that has ended gets
-- an HNSW index over the states that have as many dimensions as the database's items (states_to_index, by the keeper, which
-- builds it while others write); all else is compared one by one. So inserting costs what a COPY costs, and an answer is right
-- whatever is indexed: the planner merges the indexed months with those that are not.

CREATE EXTENSION IF NOT EXISTS vector;

ALTER TABLE agent_episodes ADD COLUMN own boolean NOT NULL DEFAULT false;

CREATE TABLE episode_keys (
    person bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    episode bigint NOT NULL,
    PRIMARY KEY (person, key)
);
CREATE INDEX episode_keys_episode ON episode_keys (episode);

CREATE TABLE episode_states (
    episode bigint NOT NULL,
    at timestamptz NOT NULL,
    agent text COLLATE "C" NOT NULL,
    state vector NOT NULL,
    PRIMARY KEY (episode, at)
) PARTITION BY RANGE (at);
ALTER TABLE episode_states ALTER COLUMN state SET STORAGE EXTERNAL;
CREATE TABLE episode_states_default PARTITION OF episode_states DEFAULT WITH (toast_tuple_target = 8160);

SELECT make_months('episode_states', 3);

-- p_interaction 0: an episode of its own, of the item p_action, at p_at.
DROP FUNCTION put_episode(bigint, text, text, text, text, text, text, text, double precision, boolean);
CREATE FUNCTION put_episode(p_n integer, p_interaction bigint, p_user text, p_agent text, p_session text, p_state_hash text,
                            p_state text, p_next_state_hash text, p_action text, p_reward double precision,
                            p_done boolean, p_at timestamptz, p_key text, p_vector vector,
                            OUT o_verdict smallint, OUT o_lsn bigint, OUT o_num bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_person bigint;
    v_at timestamptz := p_at;
    v_episode bigint := p_interaction;
BEGIN
    o_lsn := 0;
    o_verdict := 0;
    IF p_interaction > 0 THEN
        SELECT i.person, i.at, i.item INTO v_person, v_at, o_num FROM interactions i JOIN persons p ON p.num = i.person
            WHERE i.lsn = p_interaction AND p.id = p_user;
        IF NOT FOUND THEN
            o_verdict := 7;
            RETURN;
        END IF;
    ELSE
        SELECT a.o_verdict, a.o_episode, a.o_person, a.o_item INTO o_verdict, o_lsn, v_person, o_num
            FROM admit_episodes(ARRAY[p_n], ARRAY[p_user], ARRAY[p_action], ARRAY[p_key]) a;
        IF o_verdict > 0 THEN
            RETURN;
        END IF;
        v_episode := o_lsn;
    END IF;
    INSERT INTO agent_episodes (interaction, at, person, agent, session, state_hash, state, next_state_hash, item,
                                action, reward, done, own)
        VALUES (v_episode, v_at, v_person, p_agent, p_session, p_state_hash, p_state, p_next_state_hash, o_num,
                p_action, p_reward, p_done, p_interaction = 0) ON CONFLICT (interaction, at) DO NOTHING;
    IF NOT FOUND THEN
        o_verdict := 1;
        RETURN;
    END IF;
    IF p_vector IS NOT NULL THEN
        INSERT INTO episode_states (episode, at, agent, state) VALUES (v_episode, v_at, p_agent, p_vector);
    END IF;
    INSERT INTO user_states AS s (person, agent, state_hash, state, session, interaction, at)
        VALUES (v_person, p_agent, p_state_hash, p_state, p_session, v_episode, v_at)
        ON CONFLICT (person, agent) DO UPDATE SET state_hash = excluded.state_hash, state = excluded.state,
            session = excluded.session, interaction = excluded.interaction, at = excluded.at
        WHERE s.interaction < excluded.interaction;
END $$;

-- What episodes of their own are to be written: numbers, people (made where they are new) and items of each, or its verdict.
-- p_keys are distinct within a person, or NULL. A key that is known already gives the number of its episode.
CREATE FUNCTION admit_episodes(p_n integer[], p_users text[], p_items text[], p_keys text[])
RETURNS TABLE (o_n integer, o_verdict smallint, o_episode bigint, o_person bigint, o_item bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_base bigint := lsn_of(0);
    v_lacking bigint;
BEGIN
    SELECT count(*) FILTER (WHERE p.num IS NULL) INTO v_lacking FROM unnest(p_users) u LEFT JOIN persons p ON p.id = u;
    IF v_lacking > 0 THEN
        INSERT INTO persons (num, id, born)
            SELECT nextval('person_numbers'), u.id, v_base + u.n
            FROM (SELECT w.id, min(w.n) AS n FROM unnest(p_users, p_items, p_n) AS w (id, item, n) JOIN items i ON i.id = w.item
                  GROUP BY w.id ORDER BY w.id) u
            WHERE NOT EXISTS (SELECT 1 FROM persons p WHERE p.id = u.id)
            ON CONFLICT (id) DO NOTHING;
    END IF;
    IF array_position(p_keys, NULL) IS NULL OR cardinality(array_remove(p_keys, NULL)) > 0 THEN
        RETURN QUERY WITH rows AS (
            SELECT w.n, w.key, p.num AS person, i.num AS item
            FROM unnest(p_n, p_users, p_items, p_keys) AS w (n, id, item, key)
            LEFT JOIN persons p ON p.id = w.id LEFT JOIN items i ON i.id = w.item
        ), known AS (
            SELECT r.n, k.episode FROM rows r JOIN episode_keys k ON k.person = r.person AND k.key = r.key
        ), kept AS (
            INSERT INTO episode_keys (person, key, episode)
                SELECT r.person, r.key, v_base + r.n FROM rows r
                WHERE r.key IS NOT NULL AND r.item IS NOT NULL AND NOT EXISTS (SELECT 1 FROM known WHERE known.n = r.n)
                ORDER BY r.person, r.key
            RETURNING 1
        ) SELECT r.n, (CASE WHEN k.episode IS NOT NULL THEN 1 WHEN r.item IS NULL THEN 2 ELSE 0 END)::smallint,
                 CASE WHEN k.episode IS NOT NULL THEN k.episode WHEN r.item IS NULL THEN 0 ELSE v_base + r.n END,
                 coalesce(r.person, 0), coalesce(r.item, 0)
          FROM rows r LEFT JOIN known k ON k.n = r.n;
    ELSE
        RETURN QUERY SELECT w.n, (CASE WHEN i.num IS NULL THEN 2 ELSE 0 END)::smallint,
                            CASE WHEN i.num IS NULL THEN 0 ELSE v_base + w.n END, coalesce(p.num, 0), coalesce(i.num, 0)
            FROM unnest(p_n, p_users, p_items) AS w (n, id, item)
            LEFT JOIN persons p ON p.id = w.id LEFT JOIN items i ON i.id = w.item;
    END IF;
END $$;

-- After many were copied into agent_episodes by this transaction: the latest of each person and agent is their state.
CREATE FUNCTION keep_user_states(p_n integer) RETURNS void LANGUAGE sql AS $$
    INSERT INTO user_states AS s (person, agent, state_hash, state, session, interaction, at)
        SELECT DISTINCT ON (e.person, e.agent) e.person, e.agent, e.state_hash, e.state, e.session, e.interaction, e.at
        FROM agent_episodes e WHERE e.interaction > lsn_of(0) AND e.interaction <= lsn_of(p_n)
        ORDER BY e.person, e.agent, e.interaction DESC
        ON CONFLICT (person, agent) DO UPDATE SET state_hash = excluded.state_hash, state = excluded.state,
            session = excluded.session, interaction = excluded.interaction, at = excluded.at
        WHERE s.interaction < excluded.interaction
$$;

-- The p_k episodes whose states are nearest by cosine. Exact where there is no index; over an index, it goes on until there
-- are p_k that fit.
CREATE FUNCTION nearest_episodes(p_agent text, p_state vector, p_k bigint, p_since timestamptz)
RETURNS TABLE (episode bigint, at timestamptz, similarity double precision)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('hnsw.iterative_scan', 'strict_order', true);
    RETURN QUERY EXECUTE format(
        'SELECT n.episode, n.at, 1 - n.distance FROM (SELECT s.episode, s.at,'
        ' (s.state::vector(%1$s)) <=> $1::vector(%1$s) AS distance FROM episode_states s'
        ' WHERE vector_dims(s.state) = %1$s AND s.at >= $2 AND ($3 IS NULL OR s.agent = $3)'
        ' ORDER BY (s.state::vector(%1$s)) <=> $1::vector(%1$s) LIMIT $4) n WHERE n.distance <> ''NaN''',
        vector_dims(p_state)) USING p_state, p_since, p_agent, p_k;
END $$;

-- Months of states that have ended and lack their index; an index that was left half built is no index.
CREATE FUNCTION states_to_index(today timestamptz DEFAULT now()) RETURNS TABLE (part text, dim integer)
LANGUAGE sql STABLE AS $$
    SELECT c.relname::text, m.dim FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid CROSS JOIN meta m
    WHERE i.inhparent = 'episode_states'::regclass AND c.relname ~ '^episode_states_[0-9]{6}$' AND m.dim <= 2000
        AND (to_date(right(c.relname::text, 6), 'YYYYMM') + interval '1 month') AT TIME ZONE 'UTC' <= today
        AND c.reltuples <> 0
        AND NOT EXISTS (SELECT 1 FROM pg_index x JOIN pg_class n ON n.oid = x.indexrelid
                        WHERE x.indrelid = c.oid AND n.relname = c.relname || '_nearest' AND x.indisvalid)
    ORDER BY 1 DESC
$$;

-- Drops the months of `parent` that ended before `before`, and tells how many rows that were. One at a time: a second server that
-- waits here finds what is left, rather than a month that is gone under its hands.
CREATE FUNCTION drop_months(parent text, before timestamptz) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    part record;
    n bigint;
    removed bigint := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('drop_months.' || current_schema(), 0));
    FOR part IN SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                WHERE i.inhparent = to_regclass(format('%I.%I', current_schema(), parent))
                AND c.relname ~ ('^' || parent || '_[0-9]{6}$') ORDER BY 1 LOOP
        CONTINUE WHEN (to_date(right(part.name, 6), 'YYYYMM') + interval '1 month') AT TIME ZONE 'UTC' > before;
        IF parent = 'agent_episodes' THEN
            EXECUTE format('DELETE FROM episode_keys k USING %I e WHERE k.episode = e.interaction AND e.own', part.name);
        END IF;
        EXECUTE format('SELECT count(*) FROM %I', part.name) INTO n;
        EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, part.name);
        EXECUTE format('DROP TABLE %I', part.name);
        removed := removed + n;
    END LOOP;
    RETURN removed;
END $$;

-- Forgets what is older than `before`: of the months, only whole ones; of what lies in no month, each row.
CREATE FUNCTION forget_episodes(before timestamptz) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
    removed bigint;
BEGIN
    PERFORM drop_months('episode_states', before);
    removed := drop_months('agent_episodes', before);
    DELETE FROM episode_states_default WHERE at < before;
    DELETE FROM episode_keys k USING agent_episodes_default e WHERE e.at < before AND k.episode = e.interaction AND e.own;
    DELETE FROM agent_episodes_default WHERE at < before;
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN removed + n;
END $$;

CREATE FUNCTION forget_slates(before timestamptz) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
    removed bigint := drop_months('slates', before);
BEGIN
    DELETE FROM slates_default WHERE at < before;
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN removed + n;
END $$;

-- As before, and the person's slates, and states and keys of their episodes.
CREATE OR REPLACE FUNCTION drop_user(p_n integer, p_id text, OUT o_verdict smallint, OUT o_lsn bigint, OUT o_num bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_person bigint;
BEGIN
    o_num := 0;
    SELECT num INTO v_person FROM persons WHERE id = p_id AND num > 0;
    IF NOT FOUND THEN
        o_verdict := 5;
        RETURN;
    END IF;
    o_verdict := 0;
    o_lsn := lsn_of(p_n);
    DELETE FROM interactions WHERE person = v_person;
    DELETE FROM episode_states s USING agent_episodes e
        WHERE e.person = v_person AND s.episode = e.interaction AND s.at = e.at;
    DELETE FROM episode_keys WHERE person = v_person;
    DELETE FROM agent_episodes WHERE person = v_person;
    DELETE FROM slates WHERE person = v_person;
    DELETE FROM rl_policies WHERE person = v_person;
    DELETE FROM user_states WHERE person = v_person;
    DELETE FROM users WHERE person = v_person;
    DELETE FROM persons WHERE num = v_person;
    INSERT INTO log (lsn, kind, removed, key) VALUES (o_lsn, 3, true, p_id);
END $$;
