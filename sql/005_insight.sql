-- Learning and looking back in SQL, for people and tools that work on the database itself.

-- What one more reward of an action teaches: the arithmetic of Braid's own learner (a plain average; a variance of
-- single rewards that follows with weight 1/min(n, 50); the prior is mean 0.5, variance 0.08). Creates the row, the
-- action or the population's policy (p_user '') where they are not there. A reward at or below the version that last
-- moved the action changes nothing, so the same reward is never learned twice; without p_version it always counts.
CREATE FUNCTION update_policy_thompson_sampling(p_agent text, p_user text, p_state_hash text, p_action text,
                                                p_reward double precision, p_version bigint DEFAULT NULL,
                                                OUT mean double precision, OUT variance double precision,
                                                OUT count double precision)
LANGUAGE plpgsql AS $$
DECLARE
    v_person bigint;
    v_row rl_policies;
    v_at integer;
    v_version bigint;
    v_away double precision;
BEGIN
    IF p_reward IS NULL OR p_reward IN ('NaN', 'Infinity', '-Infinity') THEN
        RAISE EXCEPTION 'a reward is a finite number' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT num INTO v_person FROM persons WHERE id = p_user FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no user %', p_user USING ERRCODE = 'no_data_found';
    END IF;
    INSERT INTO rl_policies (person, agent, state_hash, version, actions, means, variances, counts, versions)
        VALUES (v_person, p_agent, p_state_hash, 0, '{}', '{}', '{}', '{}', '{}')
        ON CONFLICT (person, agent, state_hash) DO NOTHING;
    SELECT * INTO v_row FROM rl_policies r WHERE r.person = v_person AND r.agent = p_agent
        AND r.state_hash = p_state_hash FOR UPDATE;
    v_at := coalesce(array_position(v_row.actions, p_action), cardinality(v_row.actions) + 1);
    v_version := coalesce(p_version, v_row.versions[v_at], v_row.version);
    mean := coalesce(v_row.means[v_at], 0.5);
    variance := coalesce(v_row.variances[v_at], 0.08);
    count := coalesce(v_row.counts[v_at], 0);
    IF p_version <= v_row.versions[v_at] THEN
        RETURN;
    END IF;
    v_away := p_reward - mean;
    count := count + 1;
    variance := variance + (v_away * v_away - variance) / least(count, 50);
    mean := mean + v_away / count;
    v_row.actions[v_at] := p_action;
    v_row.means[v_at] := mean;
    v_row.variances[v_at] := variance;
    v_row.counts[v_at] := count;
    v_row.versions[v_at] := v_version;
    UPDATE rl_policies r SET actions = v_row.actions, means = v_row.means, variances = v_row.variances,
        counts = v_row.counts, versions = v_row.versions, version = greatest(r.version, v_version)
        WHERE r.person = v_person AND r.agent = p_agent AND r.state_hash = p_state_hash;
    INSERT INTO log (lsn, kind, removed, person)
        SELECT coalesce(max(l.lsn), lsn_of(0)) + 1, 5, false, v_person FROM log l WHERE l.lsn >= lsn_of(0);
END $$;

-- Episodes of an agent in states like the given one ("v1;daypart=night;device=tv;mood=;region=CA"), best first: the
-- share of the parts of the two states that agree (Jaccard), then the reward, then the newer. Looks at the agent's
-- latest `p_look` episodes.
CREATE FUNCTION find_similar_episodes(p_agent text, p_state text, p_limit integer DEFAULT 10,
                                      p_reward_min double precision DEFAULT '-Infinity', p_look integer DEFAULT 10000)
RETURNS TABLE (interaction bigint, at timestamptz, person text, state text, item text, reward double precision,
               similarity double precision)
LANGUAGE sql STABLE AS $$
    WITH wanted AS (
        SELECT array_agg(DISTINCT part) AS parts FROM unnest(string_to_array(p_state, ';')) part WHERE part !~ '=$'
    ), recent AS (
        SELECT e.* FROM agent_episodes e WHERE e.agent = p_agent ORDER BY e.at DESC LIMIT p_look
    ), states AS (
        SELECT s.state, coalesce(
                   (SELECT count(*) FILTER (WHERE part = ANY (w.parts))::double precision
                           / nullif(count(*) + cardinality(w.parts) - count(*) FILTER (WHERE part = ANY (w.parts)), 0)
                    FROM (SELECT DISTINCT part FROM unnest(string_to_array(s.state, ';')) part WHERE part !~ '=$') p),
                   0) AS similarity
        FROM (SELECT DISTINCT r.state FROM recent r) s CROSS JOIN wanted w
    )
    SELECT r.interaction, r.at, p.id, r.state, coalesce(t.id, g.id), r.reward, s.similarity
    FROM recent r JOIN states s ON s.state IS NOT DISTINCT FROM r.state JOIN persons p ON p.num = r.person
        LEFT JOIN items t ON t.num = r.item LEFT JOIN items_gone g ON t.num IS NULL AND g.num = r.item
    WHERE r.reward >= p_reward_min AND s.similarity > 0
    ORDER BY s.similarity DESC, r.reward DESC, r.interaction DESC LIMIT greatest(p_limit, 0)
$$;

-- Makes performance_metrics of the hours from `since` on anew. Returns the number of rows.
CREATE FUNCTION roll_up_performance(since timestamptz DEFAULT now() - interval '25 hours') RETURNS bigint
LANGUAGE sql AS $$
    WITH made AS (
        INSERT INTO performance_metrics AS m (hour, agent, episodes, people, sessions, finished, reward_sum,
                                              reward_mean)
        SELECT date_trunc('hour', e.at, 'UTC'), e.agent, count(*), count(DISTINCT e.person), count(DISTINCT e.session),
               count(*) FILTER (WHERE e.done), sum(e.reward), avg(e.reward)
        FROM agent_episodes e WHERE e.at >= date_trunc('hour', since, 'UTC') GROUP BY 1, 2
        ON CONFLICT (hour, agent) DO UPDATE SET episodes = excluded.episodes, people = excluded.people,
            sessions = excluded.sessions, finished = excluded.finished, reward_sum = excluded.reward_sum,
            reward_mean = excluded.reward_mean
        RETURNING 1
    ) SELECT count(*) FROM made
$$;

-- Makes learned_patterns anew from the episodes since then: only what at least p_people people have shown. The rows are
-- counted before the first is written, so that the transaction gets its number late and holds up no consumer.
CREATE FUNCTION learn_patterns(since timestamptz DEFAULT now() - interval '90 days', p_people integer DEFAULT 3)
RETURNS bigint LANGUAGE sql AS $$
    INSERT INTO learned_patterns AS l (agent, state_hash, state, action, episodes, people, reward_mean)
        SELECT e.agent, e.state_hash, max(e.state), coalesce(e.action, ''), count(*), count(DISTINCT e.person),
               avg(e.reward)
        FROM agent_episodes e WHERE e.at >= since GROUP BY e.agent, e.state_hash, coalesce(e.action, '')
        HAVING count(DISTINCT e.person) >= p_people
        ON CONFLICT (agent, state_hash, action) DO UPDATE SET state = excluded.state, episodes = excluded.episodes,
            people = excluded.people, reward_mean = excluded.reward_mean, learned_at = excluded.learned_at;
    DELETE FROM learned_patterns WHERE learned_at < now();
    SELECT count(*) FROM learned_patterns
$$;
