-- Roll-ups also say how often something was shown, and a person's episodes are read in the order of their time.

ALTER TABLE performance_metrics ADD COLUMN slates bigint NOT NULL DEFAULT 0;

-- Makes performance_metrics of the hours from `since` on anew. Returns the number of rows. An hour's slates never grow fewer,
-- as they may be forgotten before it is. Rows are written in one order, so that two servers do not wait for each other.
CREATE OR REPLACE FUNCTION roll_up_performance(since timestamptz DEFAULT now() - interval '25 hours') RETURNS bigint
LANGUAGE sql AS $$
    WITH done AS (
        SELECT date_trunc('hour', e.at, 'UTC') AS hour, e.agent, count(*) AS episodes, count(DISTINCT e.person) AS people,
               count(DISTINCT e.session) AS sessions, count(*) FILTER (WHERE e.done) AS finished, sum(e.reward) AS reward_sum,
               avg(e.reward) AS reward_mean
        FROM agent_episodes e WHERE e.at >= date_trunc('hour', since, 'UTC') GROUP BY 1, 2
    ), shown AS (
        SELECT date_trunc('hour', s.at, 'UTC') AS hour, s.agent, count(*) AS slates
        FROM slates s WHERE s.at >= date_trunc('hour', since, 'UTC') GROUP BY 1, 2
    ), made AS (
        INSERT INTO performance_metrics AS m (hour, agent, episodes, people, sessions, finished, reward_sum, reward_mean,
                                              slates)
        SELECT hour, agent, coalesce(d.episodes, 0), coalesce(d.people, 0), coalesce(d.sessions, 0), coalesce(d.finished, 0),
               coalesce(d.reward_sum, 0), coalesce(d.reward_mean, 0), coalesce(w.slates, 0)
        FROM done d FULL JOIN shown w USING (hour, agent) ORDER BY 1, 2
        ON CONFLICT (hour, agent) DO UPDATE SET episodes = excluded.episodes, people = excluded.people,
            sessions = excluded.sessions, finished = excluded.finished, reward_sum = excluded.reward_sum,
            reward_mean = excluded.reward_mean, slates = greatest(m.slates, excluded.slates)
        RETURNING 1
    ) SELECT count(*) FROM made
$$;

DROP INDEX agent_episodes_person;
CREATE INDEX agent_episodes_person ON agent_episodes (person, at DESC, interaction DESC);
