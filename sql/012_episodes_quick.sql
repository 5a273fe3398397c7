-- Episodes of their own at the price of a COPY.
--
-- user_states becomes a view: the latest episode of a person and an agent says in which situation they met. As a table it was
-- written once more for every episode, and a second copy could only disagree; a person's index of agent_episodes answers it.
-- Nobody's situation outlives the episodes that are kept of them (option episodes.days).
--
-- Several callers' episodes are admitted by one question. So a key may come twice in it: the first that names a known item
-- is written, the others are told its number, as if they had come one after another.

-- Servers of before still call keep_user_states; there is nothing left for it to do.

CREATE OR REPLACE FUNCTION keep_user_states(p_n integer) RETURNS void LANGUAGE sql AS $$ SELECT $$;
DROP TABLE user_states;
CREATE VIEW user_states AS
    SELECT DISTINCT ON (person, agent) person, agent, state_hash, state, session, interaction, at
    FROM agent_episodes ORDER BY person, agent, interaction DESC;

CREATE OR REPLACE FUNCTION put_episode(p_n integer, p_interaction bigint, p_user text, p_agent text, p_session text, p_state_hash text,
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
END $$;

-- What episodes of their own are to be written: numbers, people (made where they are new) and items of each, or its verdict.
CREATE OR REPLACE FUNCTION admit_episodes(p_n integer[], p_users text[], p_items text[], p_keys text[])
RETURNS TABLE (o_n integer, o_verdict smallint, o_episode bigint, o_person bigint, o_item bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_base bigint := lsn_of(0);
BEGIN
    IF EXISTS (SELECT 1 FROM unnest(p_users) AS w (id) LEFT JOIN persons p ON p.id = w.id WHERE p.num IS NULL) THEN
        INSERT INTO persons (num, id, born)
            SELECT nextval('person_numbers'), u.id, v_base + u.n
            FROM (SELECT w.id, min(w.n) AS n FROM unnest(p_users, p_items, p_n) AS w (id, item, n) JOIN items i ON i.id = w.item
                  GROUP BY w.id ORDER BY w.id) u
            WHERE NOT EXISTS (SELECT 1 FROM persons p WHERE p.id = u.id)
            ON CONFLICT (id) DO NOTHING;
    END IF;
    IF cardinality(array_remove(p_keys, NULL)) = 0 THEN
        RETURN QUERY SELECT w.n, (CASE WHEN i.num IS NULL THEN 2 ELSE 0 END)::smallint,
                            CASE WHEN i.num IS NULL THEN 0 ELSE v_base + w.n END, coalesce(p.num, 0), coalesce(i.num, 0)
            FROM unnest(p_n, p_users, p_items) AS w (n, id, item)
            LEFT JOIN persons p ON p.id = w.id LEFT JOIN items i ON i.id = w.item;
        RETURN;
    END IF;
    RETURN QUERY WITH rows AS (
        SELECT w.n, w.key, p.num AS person, i.num AS item,
               min(w.n) FILTER (WHERE i.num IS NOT NULL) OVER (PARTITION BY p.num, w.key) AS first
        FROM unnest(p_n, p_users, p_items, p_keys) AS w (n, id, item, key)
        LEFT JOIN persons p ON p.id = w.id LEFT JOIN items i ON i.id = w.item
    ), judged AS (
        SELECT r.n, r.key, r.person, r.item,
               CASE WHEN r.key IS NULL THEN NULL WHEN k.episode IS NOT NULL THEN k.episode
                    WHEN r.first < r.n THEN v_base + r.first END AS known
        FROM rows r LEFT JOIN episode_keys k ON k.person = r.person AND k.key = r.key
    ), kept AS (
        INSERT INTO episode_keys (person, key, episode)
            SELECT j.person, j.key, v_base + j.n FROM judged j
            WHERE j.key IS NOT NULL AND j.item IS NOT NULL AND j.known IS NULL
            ORDER BY j.person, j.key
    ) SELECT j.n, (CASE WHEN j.known IS NOT NULL THEN 1 WHEN j.item IS NULL THEN 2 ELSE 0 END)::smallint,
             CASE WHEN j.known IS NOT NULL THEN j.known WHEN j.item IS NULL THEN 0 ELSE v_base + j.n END,
             coalesce(j.person, 0), coalesce(j.item, 0)
      FROM judged j;
END $$;

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
    DELETE FROM users WHERE person = v_person;
    DELETE FROM persons WHERE num = v_person;
    INSERT INTO log (lsn, kind, removed, key) VALUES (o_lsn, 3, true, p_id);
END $$;
