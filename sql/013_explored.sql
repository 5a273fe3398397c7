-- How many places an answer gave away to learn: of each slate that is kept, and hour by hour. The store does not read bodies, so
-- who writes a slate says it. Slates from before say nothing, and have no places.

ALTER TABLE slates ADD COLUMN places integer NOT NULL DEFAULT 0, ADD COLUMN explored integer NOT NULL DEFAULT 0;
ALTER TABLE performance_metrics ADD COLUMN places bigint NOT NULL DEFAULT 0, ADD COLUMN explored bigint NOT NULL DEFAULT 0;

-- Verdict 1: it is there already. The one without the last two is for servers of before.
CREATE FUNCTION put_slate(p_n integer, p_id text, p_user text, p_agent text, p_at timestamptz, p_body bytea, p_places integer,
                          p_explored integer, OUT o_verdict smallint, OUT o_lsn bigint, OUT o_num bigint)
LANGUAGE plpgsql AS $$
BEGIN
    o_num := 0;
    o_lsn := 0;
    PERFORM 1 FROM slates WHERE id = p_id;
    o_verdict := CASE WHEN FOUND THEN 1 ELSE 0 END;
    IF o_verdict > 0 THEN
        RETURN;
    END IF;
    INSERT INTO slates (id, at, person, agent, body, places, explored)
        VALUES (p_id, p_at, make_person(p_user, lsn_of(p_n)), p_agent, p_body, p_places, p_explored);
END $$;

-- Many at once, each id once: the rows were copied into the session's table staged_slates, which says their places as well.
-- put_staged_slates is for servers of before, whose table does not.
CREATE FUNCTION put_staged_lists() RETURNS TABLE (o_n integer, o_verdict smallint, o_lsn bigint)
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
        INSERT INTO slates AS l (id, at, person, agent, body, places, explored)
            SELECT s.id, s.at, p.num, s.agent, s.body, s.places, s.explored
            FROM staged_slates s JOIN persons p ON p.id = s.person
            WHERE NOT EXISTS (SELECT 1 FROM slates l WHERE l.id = s.id)
            ON CONFLICT (id, at) DO NOTHING RETURNING l.id
    ) SELECT s.n, (CASE WHEN d.id IS NULL THEN 1 ELSE 0 END)::smallint, 0::bigint
      FROM staged_slates s LEFT JOIN done d ON d.id = s.id;
END $$;

-- As before, with places: an hour's never grow fewer, as its slates may be forgotten before it is.
CREATE OR REPLACE FUNCTION roll_up_performance(since timestamptz DEFAULT now() - interval '25 hours') RETURNS bigint
LANGUAGE sql AS $$
    WITH done AS (
        SELECT date_trunc('hour', e.at, 'UTC') AS hour, e.agent, count(*) AS episodes, count(DISTINCT e.person) AS people,
               count(DISTINCT e.session) AS sessions, count(*) FILTER (WHERE e.done) AS finished, sum(e.reward) AS reward_sum,
               avg(e.reward) AS reward_mean
        FROM agent_episodes e WHERE e.at >= date_trunc('hour', since, 'UTC') GROUP BY 1, 2
    ), shown AS (
        SELECT date_trunc('hour', s.at, 'UTC') AS hour, s.agent, count(*) AS slates, sum(s.places) AS places,
               sum(s.explored) AS explored
        FROM slates s WHERE s.at >= date_trunc('hour', since, 'UTC') GROUP BY 1, 2
    ), made AS (
        INSERT INTO performance_metrics AS m (hour, agent, episodes, people, sessions, finished, reward_sum, reward_mean,
                                              slates, places, explored)
        SELECT hour, agent, coalesce(d.episodes, 0), coalesce(d.people, 0), coalesce(d.sessions, 0), coalesce(d.finished, 0),
               coalesce(d.reward_sum, 0), coalesce(d.reward_mean, 0), coalesce(w.slates, 0), coalesce(w.places, 0),
               coalesce(w.explored, 0)
        FROM done d FULL JOIN shown w USING (hour, agent) ORDER BY 1, 2
        ON CONFLICT (hour, agent) DO UPDATE SET episodes = excluded.episodes, people = excluded.people,
            sessions = excluded.sessions, finished = excluded.finished, reward_sum = excluded.reward_sum,
            reward_mean = excluded.reward_mean, slates = greatest(m.slates, excluded.slates),
            places = greatest(m.places, excluded.places), explored = greatest(m.explored, excluded.explored)
        RETURNING 1
    ) SELECT count(*) FROM made
$$;
