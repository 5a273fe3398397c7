-- What is learned.
--
-- agent_episodes is partitioned by month. Partitions are made ahead (make_episode_partitions), what belongs to none is
-- in the default one, and old months can be taken out (detach_episodes) in one cheap step.

CREATE TABLE agent_episodes (
    interaction bigint NOT NULL,
    at timestamptz NOT NULL,              -- the interaction's, never the learner's own idea of it
    person bigint NOT NULL,
    agent text COLLATE "C" NOT NULL,
    session text,
    state_hash text COLLATE "C" NOT NULL,
    state text,
    next_state_hash text COLLATE "C",
    item bigint NOT NULL,
    action text COLLATE "C",
    reward double precision NOT NULL,
    done boolean NOT NULL,
    PRIMARY KEY (interaction, at)
) PARTITION BY RANGE (at);
CREATE TABLE agent_episodes_default PARTITION OF agent_episodes DEFAULT;
CREATE INDEX agent_episodes_person ON agent_episodes (person, interaction DESC);
CREATE INDEX agent_episodes_recent ON agent_episodes (agent, at DESC);

-- Everything believed of one (person, agent, state), as parallel arrays: one row is read and replaced as a whole.
CREATE TABLE rl_policies (
    person bigint NOT NULL REFERENCES persons,
    agent text COLLATE "C" NOT NULL,
    state_hash text COLLATE "C" NOT NULL,
    state text,
    version bigint NOT NULL,
    actions text[] NOT NULL,
    means double precision[] NOT NULL,
    variances double precision[] NOT NULL,
    counts double precision[] NOT NULL,
    versions bigint[] NOT NULL,
    PRIMARY KEY (person, agent, state_hash)
) WITH (fillfactor = 70);

-- The situation in which an agent last met a person.
CREATE TABLE user_states (
    person bigint NOT NULL REFERENCES persons,
    agent text COLLATE "C" NOT NULL,
    state_hash text COLLATE "C" NOT NULL,
    state text,
    session text,
    interaction bigint NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (person, agent)
) WITH (fillfactor = 70);

-- Which choice does well in which state, over everybody; made anew by learn_patterns. Holds nobody's name.
CREATE TABLE learned_patterns (
    agent text COLLATE "C" NOT NULL,
    state_hash text COLLATE "C" NOT NULL,
    state text,
    action text COLLATE "C" NOT NULL,
    episodes bigint NOT NULL,
    people bigint NOT NULL,
    reward_mean double precision NOT NULL,
    learned_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (agent, state_hash, action)
);

-- The rewards by themselves: a view, as a second copy could only disagree.
CREATE VIEW reward_signals AS
    SELECT interaction, at, person, item, agent, session, state_hash, action, reward, done FROM agent_episodes;

-- Hour by hour and agent by agent; filled by roll_up_performance.
CREATE TABLE performance_metrics (
    hour timestamptz NOT NULL,
    agent text COLLATE "C" NOT NULL,
    episodes bigint NOT NULL,
    people bigint NOT NULL,
    sessions bigint NOT NULL,
    finished bigint NOT NULL,
    reward_sum double precision NOT NULL,
    reward_mean double precision NOT NULL,
    PRIMARY KEY (hour, agent)
);

-- Makes the partitions of this month and `ahead` more. Rows of such a month that the default partition holds already
-- move along. Returns how many were made.
CREATE FUNCTION make_episode_partitions(ahead integer, today timestamptz DEFAULT now()) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    first_day timestamp := date_trunc('month', today AT TIME ZONE 'UTC');
    starts timestamptz;
    ends timestamptz;
    part text;
    made integer := 0;
BEGIN
    FOR i IN 0 .. least(ahead, 120) LOOP
        starts := (first_day + make_interval(months => i)) AT TIME ZONE 'UTC';
        ends := (first_day + make_interval(months => i + 1)) AT TIME ZONE 'UTC';
        part := 'agent_episodes_' || to_char(starts AT TIME ZONE 'UTC', 'YYYYMM');
        CONTINUE WHEN to_regclass(format('%I.%I', current_schema(), part)) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE agent_episodes INCLUDING ALL)', part);
        EXECUTE format('WITH moved AS (DELETE FROM agent_episodes_default WHERE at >= %L AND at < %L RETURNING *)'
                       ' INSERT INTO %I SELECT * FROM moved', starts, ends, part);
        EXECUTE format('ALTER TABLE agent_episodes ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                       part, starts, ends);
        made := made + 1;
    END LOOP;
    RETURN made;
END $$;

-- Takes the months that ended before `before` out of agent_episodes and returns their tables, which are the caller's
-- from then on: copy and drop them soon, since deleting a person no longer reaches them.
CREATE FUNCTION detach_episodes(before timestamptz) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
    part record;
BEGIN
    FOR part IN SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                WHERE i.inhparent = 'agent_episodes'::regclass AND c.relname ~ '^agent_episodes_[0-9]{6}$'
                ORDER BY 1 LOOP
        CONTINUE WHEN (to_date(right(part.name, 6), 'YYYYMM') + interval '1 month') AT TIME ZONE 'UTC' > before;
        EXECUTE format('ALTER TABLE agent_episodes DETACH PARTITION %I', part.name);
        RETURN NEXT part.name;
    END LOOP;
END $$;
