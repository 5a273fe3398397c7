-- What a change means, one function a kind. The writer sends BEGIN, begin_write, a call a change and COMMIT.
--
-- Each call decides by look-ups whether the change is refused before it writes anything, so a refusal leaves no trace:
--     verdict 0  done                      4  there is no such relation
--             1  done before (duplicate)   5  there is no such user (any more)
--             2  there is no item (from)   6  the stored policy is newer
--             3  there is no item `to`     7  there is no such interaction of that user (any more)
--
-- Several servers write at once. Removals take the lock `space` alone, all others share it: nothing that a transaction
-- has looked up can go away under it, and the number of a transaction, taken after the lock, is higher than that of
-- every removal before it. Two that put the same key at once meet at the row: when the other one's version is higher
-- than ours although it committed first (its transaction began later), we begin again under a higher number
-- (serialization_failure, or unique_violation for a key that was new). So for each key the order of LSNs is the order
-- of commits, which lets a consumer take a row's version at its word.

CREATE FUNCTION begin_write(space bigint, alone boolean) RETURNS bigint
LANGUAGE plpgsql AS $$
BEGIN
    IF alone THEN
        PERFORM pg_advisory_xact_lock(space);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(space);
    END IF;
    RETURN pg_current_xact_id()::text::bigint;
END $$;

CREATE FUNCTION overtaken() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a later transaction changed the row first' USING ERRCODE = 'serialization_failure';
END $$;

CREATE FUNCTION make_person(p_id text, p_lsn bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_num bigint;
    v_born bigint;
BEGIN
    SELECT num, born INTO v_num, v_born FROM persons WHERE id = p_id;
    IF NOT FOUND THEN
        v_num := nextval('person_numbers');
        INSERT INTO persons (num, id, born) VALUES (v_num, p_id, p_lsn);
    ELSIF v_born > p_lsn THEN
        PERFORM overtaken();
    END IF;
    RETURN v_num;
END $$;

CREATE FUNCTION put_item(p_n integer, p_id text, p_body text, p_given boolean, p_vector bytea, p_names text[],
                         p_vectors bytea[], OUT o_verdict smallint, OUT o_lsn bigint, OUT o_num bigint)
LANGUAGE plpgsql AS $$
BEGIN
    o_verdict := 0;
    o_lsn := lsn_of(p_n);
    UPDATE items SET version = o_lsn, given = p_given, body = p_body WHERE id = p_id AND version < o_lsn
        RETURNING num INTO o_num;
    IF FOUND THEN
        DELETE FROM named_vectors WHERE num = o_num;
        IF p_vector IS NULL THEN
            DELETE FROM vectors WHERE num = o_num;
        ELSE
            INSERT INTO vectors (num, data) VALUES (o_num, p_vector)
                ON CONFLICT (num) DO UPDATE SET data = excluded.data;
        END IF;
    ELSE
        PERFORM 1 FROM items WHERE id = p_id;
        IF FOUND THEN
            PERFORM overtaken();
        END IF;
        o_num := nextval('item_numbers');
        INSERT INTO items (num, id, version, given, body) VALUES (o_num, p_id, o_lsn, p_given, p_body);
        IF p_vector IS NOT NULL THEN
            INSERT INTO vectors (num, data) VALUES (o_num, p_vector);
        END IF;
    END IF;
    IF p_names IS NOT NULL THEN
        INSERT INTO named_vectors (num, name, data) SELECT o_num, n, v FROM unnest(p_names, p_vectors) AS u (n, v);
    END IF;
    INSERT INTO log (lsn, kind, removed, num, key) VALUES (o_lsn, 1, false, o_num, p_id);
END $$;

-- Many at once, without named vectors, each id once: the rows were copied into the session's table staged_items.
CREATE FUNCTION put_staged_items() RETURNS TABLE (o_n integer, o_lsn bigint, o_num bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_base bigint := lsn_of(0);
    v_known bigint;
    v_new bigint;
BEGIN
    UPDATE items i SET version = v_base + s.n, given = s.given, body = s.body FROM staged_items s
        WHERE i.id = s.id AND i.version < v_base + s.n;
    GET DIAGNOSTICS v_known = ROW_COUNT;
    IF v_known > 0 THEN
        DELETE FROM named_vectors v USING staged_items s, items i WHERE i.id = s.id AND v.num = i.num;
        DELETE FROM vectors v USING staged_items s, items i WHERE i.id = s.id AND v.num = i.num;
    END IF;
    INSERT INTO items (num, id, version, given, body)
        SELECT nextval('item_numbers'), s.id, v_base + s.n, s.given, s.body
        FROM (SELECT n, id, given, body FROM staged_items
              WHERE NOT EXISTS (SELECT 1 FROM items i WHERE i.id = staged_items.id) ORDER BY n) s;
    GET DIAGNOSTICS v_new = ROW_COUNT;
    IF v_known + v_new < (SELECT count(*) FROM staged_items) THEN
        PERFORM overtaken();
    END IF;
    INSERT INTO vectors (num, data) SELECT i.num, s.vector FROM staged_items s JOIN items i ON i.id = s.id
        WHERE s.vector IS NOT NULL;
    RETURN QUERY WITH logged AS (
        INSERT INTO log (lsn, kind, removed, num, key)
            SELECT v_base + s.n, 1, false, i.num, s.id FROM staged_items s JOIN items i ON i.id = s.id
            RETURNING log.lsn, log.num
    ) SELECT (logged.lsn - v_base)::integer, logged.lsn, logged.num FROM logged;
END $$;

CREATE FUNCTION drop_item(p_n integer, p_id text, OUT o_verdict smallint, OUT o_lsn bigint, OUT o_num bigint)
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
    DELETE FROM items WHERE num = o_num;
    INSERT INTO items_gone (num, id) VALUES (o_num, p_id);
    INSERT INTO log (lsn, kind, removed, num, key) VALUES (o_lsn, 1, true, o_num, p_id);
END $$;

CREATE FUNCTION put_relation(p_n integer, p_from text, p_to text, p_type text, p_strength double precision,
                             p_remove boolean, OUT o_verdict smallint, OUT o_lsn bigint, OUT o_num bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_to bigint;
BEGIN
    SELECT num INTO o_num FROM items WHERE id = p_from;
    o_verdict := CASE WHEN FOUND THEN 0 ELSE 2 END;
    SELECT num INTO v_to FROM items WHERE id = p_to;
    IF NOT FOUND AND o_verdict = 0 THEN
        o_verdict := 3;
    END IF;
    IF o_verdict > 0 THEN
        RETURN;
    END IF;
    o_lsn := lsn_of(p_n);
    IF p_remove THEN
        DELETE FROM relations WHERE from_num = o_num AND to_num = v_to AND type = p_type;
        IF NOT FOUND THEN
            o_verdict := 4;
            RETURN;
        END IF;
    ELSE
        INSERT INTO relations AS r (from_num, to_num, type, strength, version)
            VALUES (o_num, v_to, p_type, p_strength, o_lsn)
            ON CONFLICT (from_num, to_num, type) DO UPDATE SET strength = excluded.strength, version = excluded.version
            WHERE r.version < excluded.version;
        IF NOT FOUND THEN
            PERFORM overtaken();
        END IF;
    END IF;
    INSERT INTO log (lsn, kind, removed, num, num2, key) VALUES (o_lsn, 2, p_remove, o_num, v_to, p_type);
END $$;

CREATE FUNCTION put_user(p_n integer, p_id text, p_body text, OUT o_verdict smallint, OUT o_lsn bigint,
                         OUT o_num bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_person bigint;
BEGIN
    o_verdict := 0;
    o_num := 0;
    o_lsn := lsn_of(p_n);
    v_person := make_person(p_id, o_lsn);
    INSERT INTO users AS u (person, id, version, body) VALUES (v_person, p_id, o_lsn, p_body)
        ON CONFLICT (person) DO UPDATE SET version = excluded.version, body = excluded.body
        WHERE u.version < excluded.version;
    IF NOT FOUND THEN
        PERFORM overtaken();
    END IF;
    INSERT INTO log (lsn, kind, removed, person) VALUES (o_lsn, 3, false, v_person);
END $$;

-- Everything of the person goes; the log keeps the removal alone, since rows of nobody are not read.
CREATE FUNCTION drop_user(p_n integer, p_id text, OUT o_verdict smallint, OUT o_lsn bigint, OUT o_num bigint)
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
    DELETE FROM agent_episodes WHERE person = v_person;
    DELETE FROM rl_policies WHERE person = v_person;
    DELETE FROM user_states WHERE person = v_person;
    DELETE FROM users WHERE person = v_person;
    DELETE FROM persons WHERE num = v_person;
    INSERT INTO log (lsn, kind, removed, key) VALUES (o_lsn, 3, true, p_id);
END $$;

CREATE FUNCTION put_interaction(p_n integer, p_user text, p_item text, p_at timestamptz, p_type smallint,
                                p_watch_s integer, p_rating double precision, p_agent text, p_session text,
                                p_recommendation text, p_key text, p_device text, p_daypart text, p_region text,
                                p_mood text, p_simulated boolean, p_attribution text,
                                OUT o_verdict smallint, OUT o_lsn bigint, OUT o_num bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_person bigint;
    v_born bigint;
BEGIN
    SELECT num, born INTO v_person, v_born FROM persons WHERE id = p_user;
    IF FOUND AND p_key IS NOT NULL THEN
        SELECT lsn, item INTO o_lsn, o_num FROM interactions WHERE person = v_person AND idempotency = p_key;
        IF FOUND THEN
            o_verdict := 1;
            RETURN;
        END IF;
    END IF;
    SELECT num INTO o_num FROM items WHERE id = p_item;
    IF NOT FOUND THEN
        o_verdict := 2;
        RETURN;
    END IF;
    o_verdict := 0;
    o_lsn := lsn_of(p_n);
    IF v_person IS NULL THEN
        v_person := make_person(p_user, o_lsn);
    ELSIF v_born > o_lsn THEN
        PERFORM overtaken();
    END IF;
    INSERT INTO interactions (lsn, person, item, at, type, watch_s, rating, agent, session, recommendation,
                              idempotency, device, daypart, region, mood, simulated, attribution)
        VALUES (o_lsn, v_person, o_num, p_at, p_type, p_watch_s, p_rating, p_agent, p_session, p_recommendation,
                p_key, p_device, p_daypart, p_region, p_mood, p_simulated, p_attribution);
END $$;

-- p_since: the number of the first of the policies that stand side by side in this transaction; one log row says for
-- all of them that somebody's policies changed.
CREATE FUNCTION put_policy(p_n integer, p_since integer, p_agent text, p_user text, p_state_hash text, p_state text,
                           p_version bigint, p_actions text[], p_means double precision[],
                           p_variances double precision[], p_counts double precision[], p_versions bigint[],
                           OUT o_verdict smallint, OUT o_lsn bigint, OUT o_num bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_person bigint;
    v_born bigint;
BEGIN
    o_num := 0;
    SELECT num, born INTO v_person, v_born FROM persons WHERE id = p_user;
    IF NOT FOUND OR v_born > p_version THEN
        o_verdict := 5;
        RETURN;
    END IF;
    INSERT INTO rl_policies AS r (person, agent, state_hash, state, version, actions, means, variances, counts,
                                  versions)
        VALUES (v_person, p_agent, p_state_hash, p_state, p_version, p_actions, p_means, p_variances, p_counts,
                p_versions)
        ON CONFLICT (person, agent, state_hash) DO UPDATE SET state = excluded.state, version = excluded.version,
            actions = excluded.actions, means = excluded.means, variances = excluded.variances,
            counts = excluded.counts, versions = excluded.versions
        WHERE excluded.version >= r.version;
    IF NOT FOUND THEN
        o_verdict := 6;
        RETURN;
    END IF;
    o_verdict := 0;
    SELECT lsn INTO o_lsn FROM log WHERE lsn >= lsn_of(p_since) AND lsn < lsn_of(p_n) AND kind = 5
        AND person = v_person LIMIT 1;
    IF NOT FOUND THEN
        o_lsn := lsn_of(p_n);
        INSERT INTO log (lsn, kind, removed, person) VALUES (o_lsn, 5, false, v_person);
    END IF;
END $$;

CREATE FUNCTION put_episode(p_interaction bigint, p_user text, p_agent text, p_session text, p_state_hash text,
                            p_state text, p_next_state_hash text, p_action text, p_reward double precision,
                            p_done boolean, OUT o_verdict smallint, OUT o_lsn bigint, OUT o_num bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_person bigint;
    v_at timestamptz;
BEGIN
    SELECT i.person, i.at, i.item INTO v_person, v_at, o_num FROM interactions i JOIN persons p ON p.num = i.person
        WHERE i.lsn = p_interaction AND p.id = p_user;
    IF NOT FOUND THEN
        o_verdict := 7;
        RETURN;
    END IF;
    o_lsn := 0;
    o_verdict := 0;
    INSERT INTO agent_episodes (interaction, at, person, agent, session, state_hash, state, next_state_hash, item,
                                action, reward, done)
        VALUES (p_interaction, v_at, v_person, p_agent, p_session, p_state_hash, p_state, p_next_state_hash, o_num,
                p_action, p_reward, p_done) ON CONFLICT (interaction, at) DO NOTHING;
    IF NOT FOUND THEN
        o_verdict := 1;
        RETURN;
    END IF;
    INSERT INTO user_states AS s (person, agent, state_hash, state, session, interaction, at)
        VALUES (v_person, p_agent, p_state_hash, p_state, p_session, p_interaction, v_at)
        ON CONFLICT (person, agent) DO UPDATE SET state_hash = excluded.state_hash, state = excluded.state,
            session = excluded.session, interaction = excluded.interaction, at = excluded.at
        WHERE s.interaction < excluded.interaction;
END $$;

CREATE FUNCTION put_stats(p_num bigint, p_interactions double precision, p_reward_sum double precision,
                          p_last_at bigint, OUT o_verdict smallint, OUT o_lsn bigint, OUT o_num bigint)
LANGUAGE plpgsql AS $$
BEGIN
    o_num := p_num;
    PERFORM 1 FROM items WHERE num = p_num;
    o_verdict := CASE WHEN FOUND THEN 0 ELSE 2 END;
    IF o_verdict > 0 THEN
        RETURN;
    END IF;
    o_lsn := 0;
    INSERT INTO stats (num, interactions, reward_sum, last_at) VALUES (p_num, p_interactions, p_reward_sum, p_last_at)
        ON CONFLICT (num) DO UPDATE SET interactions = excluded.interactions, reward_sum = excluded.reward_sum,
            last_at = excluded.last_at;
END $$;

CREATE FUNCTION put_cursor(p_name text, p_lsn bigint, p_epoch bigint, OUT o_verdict smallint, OUT o_lsn bigint,
                           OUT o_num bigint)
LANGUAGE plpgsql AS $$
BEGIN
    o_verdict := 0;
    o_lsn := 0;
    o_num := 0;
    INSERT INTO cursors AS c (name, lsn, epoch) VALUES (p_name, p_lsn, p_epoch)
        ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch,
            lsn = CASE WHEN c.epoch = excluded.epoch THEN greatest(c.lsn, excluded.lsn) ELSE excluded.lsn END;
END $$;
