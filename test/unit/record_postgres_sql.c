/* The SQL side of the PostgreSQL record store (the files of sql/): what its functions and tables give to people and
 * tools that work on the database itself, seen next to what Braid writes through its own calls. Needs a server: see
 * record_postgres_test.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdio.h>

#include <cmocka.h>

#ifndef BRAID_HAVE_POSTGRES
int main(void) {
    printf("record: postgres sql skipped: built without libpq\n");
    return 0;
}
#else

#include "policy/policy.h"
#include "record_postgres_test.h"
#include "record_test.h"

static const char state_a[] = "v1;daypart=night;device=tv;mood=;region=CA";
static const char hash_a[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

typedef struct scene {
    postgres_place place;
    record_store *store;
    pg_session *raw;
} scene;

static int setup(void **state) {
    scene *s = calloc(1, sizeof *s);
    braid_error err = {0};
    *state = s;
    given_lsns.count = 0;
    if (!postgres_there()) return 0;
    postgres_place_make(&s->place, NULL);
    record_options o = postgres_record_options(&s->place);
    check(record_open(record_find("postgres"), &o, &s->store, &err) == BRAID_OK, err.message);
    s->raw = postgres_session(&s->place);
    return 0;
}

static int teardown(void **state) {
    scene *s = *state;
    pg_close(s->raw);
    record_close(s->store);
    if (postgres_there()) postgres_place_remove(&s->place);
    free(s);
    return 0;
}

static scene *there(void **state) {
    if (!postgres_there()) {
        print_message("BRAID_TEST_POSTGRES is not set\n");
        skip();
    }
    return *state;
}

/* The first column of all rows, a text, joined by blanks. */
static const char *column(scene *s, const char *sql) {
    static char text[4096];
    braid_error err = {0};
    PGresult *r = NULL;
    pg_params none;
    size_t len = 0;
    pg_params_init(&none);
    postgres_must(pg_exec(s->raw, sql, "", &none, 0, sql, &r, &err) == BRAID_OK, err.message);
    text[0] = '\0';
    for (int i = 0; i < pg_rows(r); i++) {
        pg_row row = {.r = r, .row = i};
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", i > 0 ? " " : "", pg_text(&row, 0, NULL));
    }
    PQclear(r);
    return text;
}

/* The SQLSTATE of a statement that fails. */
static const char *refusal(scene *s, const char *sql) {
    assert_int_not_equal(pg_exec(s->raw, sql, NULL, NULL, 0, sql, NULL, NULL), BRAID_OK);
    return pg_sqlstate(s->raw);
}

/* An interaction and its episode, `at` in Unix milliseconds. */
static uint64_t episode(scene *s, const char *person, const char *title, const char *state, double reward, bool done,
                        int64_t at) {
    uint64_t lsn = 0;
    assert_int_equal(put_interaction(s->store, person, title, NULL, at, &lsn), BRAID_OK);
    record_episode e = {.interaction_lsn = lsn,
                        .agent = "default",
                        .user = person,
                        .session = "s1",
                        .state_hash = hash_a,
                        .state = state,
                        .next_state_hash = "",
                        .action = title,
                        .reward = reward,
                        .done = done,
                        .at = at};
    record_change c = {.kind = RECORD_EPISODE, .episode = &e};
    assert_int_equal(write_one(s->store, &c, NULL), BRAID_OK);
    return lsn;
}

static int64_t ms_of(scene *s, const char *when) {
    char sql[128];
    snprintf(sql, sizeof sql, "SELECT (extract(epoch FROM timestamptz '%s') * 1000)::bigint", when);
    return postgres_number(s->raw, sql);
}

/* ---- partitions ---- */

static const char partitions[] = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
                                 " WHERE i.inhparent = 'agent_episodes'::regclass ORDER BY 1";

static void months_are_made_ahead_and_an_old_one_is_taken_out(void **state) {
    scene *s = there(state);
    assert_int_equal(
        postgres_number(s->raw, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'agent_episodes'::regclass"), 5);
    assert_int_equal(
        postgres_number(s->raw,
                        "SELECT count(*) FROM generate_series(0, 3) m WHERE to_regclass('agent_episodes_' ||"
                        " to_char(now() AT TIME ZONE 'UTC' + make_interval(months => m), 'YYYYMM')) IS NOT NULL"),
        4);
    assert_int_equal(postgres_number(s->raw, "SELECT make_episode_partitions(3)::bigint"), 0); /* they are there */

    /* What is older than all months is in the default one, and moves when its month is made. */
    put_item(s->store, "film", "Film", NULL, NULL);
    uint64_t old = episode(s, "ana", "film", state_a, 0.5, false, ms_of(s, "2020-02-10 12:00Z"));
    episode(s, "ana", "film", state_a, 0.7, true, ms_of(s, "2020-03-01 00:00Z"));
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM agent_episodes_default"), 2);
    assert_int_equal(postgres_number(s->raw, "SELECT make_episode_partitions(1, '2020-02-20Z')::bigint"), 2);
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM agent_episodes_default"), 0);
    assert_int_equal(postgres_number(s->raw, "SELECT interaction FROM agent_episodes_202002"), (int64_t)old);
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM agent_episodes_202003"), 1);

    /* A month goes only when all of it is before the limit. */
    assert_string_equal(column(s, "SELECT detach_episodes('2020-02-29 23:59Z')"), "");
    assert_string_equal(column(s, "SELECT detach_episodes('2020-03-01 00:00Z')"), "agent_episodes_202002");
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM agent_episodes"), 1);
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM agent_episodes_202002"),
                     1); /* still a table, the caller's */
    postgres_run(s->raw, "DROP TABLE agent_episodes_202002");
    assert_null(strstr(column(s, partitions), "202002"));
    assert_int_equal(drop_user(s->store, "ana"), BRAID_OK); /* reaches what is still attached */
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM agent_episodes"), 0);
}

/* ---- update_policy_thompson_sampling ---- */

static void assert_near(double a, double b) {
    if (!(fabs(a - b) < 1e-12)) fail_msg("%.17g is not %.17g", a, b);
}

static bool see_policy(void *ctx, const record_policy *row) {
    policy_posterior *p = ctx;
    assert_int_equal(row->action_count, 1);
    *p = (policy_posterior){row->actions[0].mean, row->actions[0].variance, row->actions[0].count};
    return true;
}

static void a_reward_taught_in_sql_is_what_the_learner_would_have_learned(void **state) {
    scene *s = there(state);
    policy_posterior want = policy_prior(), got = {0};
    char sql[256];
    assert_int_equal(put_user(s->store, "ana", "Ana"), BRAID_OK);
    for (int i = 0; i < 60; i++) { /* past the window of 50 */
        double reward = (i * 7 % 11) / 10.0;
        policy_update(&want, reward);
        snprintf(sql, sizeof sql,
                 "SELECT update_policy_thompson_sampling('default', 'ana', '%s', 'genres=drame', %.17g)", hash_a,
                 reward);
        postgres_run(s->raw, sql);
    }
    assert_int_equal(record_user_policies(s->store, "default", "ana", see_policy, &got, NULL), BRAID_OK);
    assert_near(got.mean, want.mean);
    assert_near(got.variance, want.variance);
    assert_near(got.count, 60);
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM log WHERE kind = 5"), 60); /* feeds hear of it */
}

static void a_reward_with_a_version_is_learned_once(void **state) {
    scene *s = there(state);
    const char once[] =
        "SELECT (count * 100 + mean * 10)::bigint FROM update_policy_thompson_sampling('default', '', '', 'a', 1, 77)";
    assert_int_equal(postgres_number(s->raw, once), 110); /* the population: '' */
    assert_int_equal(postgres_number(s->raw, once), 110); /* nothing changes, and it says what is believed */
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM log WHERE kind = 5"), 1);
    assert_int_equal(
        postgres_number(s->raw,
                        "SELECT count::bigint FROM update_policy_thompson_sampling('default', '', '', 'a', 1, 78)"),
        2);
    assert_int_equal(
        postgres_number(s->raw,
                        "SELECT count::bigint FROM update_policy_thompson_sampling('default', '', '', 'b', 0, 70)"),
        1);
    assert_int_equal(postgres_number(s->raw, "SELECT version FROM rl_policies"), 78);
}

static void a_reward_that_makes_no_sense_is_refused(void **state) {
    scene *s = there(state);
    static const char *const rewards[] = {"NULL", "'NaN'", "'Infinity'", "'-Infinity'"};
    char sql[160];
    for (size_t i = 0; i < 4; i++) {
        snprintf(sql, sizeof sql, "SELECT update_policy_thompson_sampling('default', '', '', 'a', %s)", rewards[i]);
        assert_string_equal(refusal(s, sql), "22023");
    }
    assert_string_equal(refusal(s, "SELECT update_policy_thompson_sampling('default', 'nobody', '', 'a', 1)"), "P0002");
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM rl_policies"), 0);
}

/* ---- find_similar_episodes ---- */

static void similar_episodes_are_ordered_by_likeness_then_reward_then_age(void **state) {
    scene *s = there(state);
    for (char id[2] = "a"; id[0] <= 'f'; id[0]++) put_item(s->store, id, id, NULL, NULL);
    episode(s, "ana", "a", "v1;daypart=night;device=tv;mood=;region=CA", 0.2, false, 1000);    /* the same: 1 */
    episode(s, "ana", "b", "v1;daypart=night;device=tv;mood=;region=CA", 0.9, false, 2000);    /* 1, better reward */
    episode(s, "ben", "c", "v1;daypart=night;device=tv;mood=joy;region=CA", 1.0, false, 3000); /* 4 of 5 parts */
    episode(s, "ben", "d", "v1;daypart=day;device=phone;mood=;region=CA", 1.0, false, 4000);   /* v1, region: 2 of 6 */
    episode(s, "ben", "e", "v1;daypart=day;device=phone;mood=;region=CA", 1.0, false, 5000);   /* the newer first */
    episode(s, "ben", "f", "other", 1.0, false, 6000);                                         /* nothing in common */
    static const char ask[] =
        "SELECT item FROM find_similar_episodes('default', 'v1;daypart=night;device=tv;mood=;region=CA'";
    char sql[256];
    snprintf(sql, sizeof sql, "%s)", ask);
    assert_string_equal(column(s, sql), "b a c e d");
    snprintf(sql, sizeof sql, "%s, 2)", ask);
    assert_string_equal(column(s, sql), "b a");
    snprintf(sql, sizeof sql, "%s, 10, 0.95)", ask);
    assert_string_equal(column(s, sql), "c e d");
    snprintf(sql, sizeof sql, "%s, 10, 0, 2)", ask); /* looks at the two latest only */
    assert_string_equal(column(s, sql), "e");
    snprintf(sql, sizeof sql, "%s, 0)", ask);
    assert_string_equal(column(s, sql), "");
    snprintf(sql, sizeof sql, "SELECT (similarity * 1000)::bigint::text || '/' || person %s", strstr(ask, "FROM"));
    strcat(sql, ")");
    assert_string_equal(column(s, sql), "1000/ana 1000/ana 800/ben 333/ben 333/ben");
    assert_int_equal(drop_item(s->store, "b"), BRAID_OK); /* its id is still known */
    snprintf(sql, sizeof sql, "%s, 1)", ask);
    assert_string_equal(column(s, sql), "b");
    assert_string_equal(column(s, "SELECT item FROM find_similar_episodes('nobody', 'v1;daypart=night')"), "");
}

/* ---- roll-ups and patterns ---- */

static void an_hour_is_rolled_up_and_made_anew(void **state) {
    scene *s = there(state);
    static const char rows[] =
        "SELECT to_char(hour, 'HH24') || ':' || episodes || '/' || people || '/' || sessions || '/' || finished || '/' ||"
        " round(reward_sum::numeric, 2) || '/' || round(reward_mean::numeric, 2) FROM performance_metrics ORDER BY hour";
    put_item(s->store, "film", "Film", NULL, NULL);
    episode(s, "ana", "film", state_a, 0.5, false, ms_of(s, "2021-05-05 10:00Z"));
    episode(s, "ana", "film", state_a, 1.0, true, ms_of(s, "2021-05-05 10:59:59.999Z"));
    episode(s, "ben", "film", state_a, 0.0, false, ms_of(s, "2021-05-05 11:00Z"));
    assert_int_equal(postgres_number(s->raw, "SELECT roll_up_performance('2021-05-05 10:30Z')"), 2); /* whole hours */
    assert_string_equal(column(s, rows), "10:2/1/1/1/1.50/0.75 11:1/1/1/0/0.00/0.00");
    episode(s, "eva", "film", state_a, 1.0, false, ms_of(s, "2021-05-05 11:30Z"));
    assert_int_equal(postgres_number(s->raw, "SELECT roll_up_performance('2021-05-05 11:00Z')"), 1);
    assert_string_equal(column(s, rows), "10:2/1/1/1/1.50/0.75 11:2/2/1/0/1.00/0.50");
    assert_int_equal(postgres_number(s->raw, "SELECT roll_up_performance()"), 0); /* nothing lately */
}

static void a_pattern_needs_three_people_and_names_none(void **state) {
    scene *s = there(state);
    int64_t now = ms_of(s, "now");
    put_item(s->store, "film", "Film", NULL, NULL);
    put_item(s->store, "other", "Other", NULL, NULL);
    for (int i = 0; i < 3; i++)
        episode(s, "ana", "other", state_a, 1.0, false, now - i); /* three episodes, one person */
    episode(s, "ana", "film", state_a, 0.4, false, now);
    episode(s, "ben", "film", state_a, 0.6, false, now);
    assert_int_equal(postgres_number(s->raw, "SELECT learn_patterns()"), 0);
    episode(s, "eva", "film", state_a, 0.8, false, now);
    assert_int_equal(postgres_number(s->raw, "SELECT learn_patterns()"), 1);
    assert_string_equal(
        column(s, "SELECT action || '/' || people || '/' || episodes || '/' || round(reward_mean::numeric, 2)"
                  " FROM learned_patterns"),
        "film/3/3/0.60");
    assert_string_equal(
        column(s, "SELECT column_name::text FROM information_schema.columns WHERE table_schema = current_schema()"
                  " AND table_name = 'learned_patterns' AND column_name IN ('person', 'user')"),
        "");
    drop_user(s->store, "eva"); /* then it is no pattern any more */
    assert_int_equal(postgres_number(s->raw, "SELECT learn_patterns()"), 0);
}

static void rewards_and_the_last_situation_are_there_to_be_read(void **state) {
    scene *s = there(state);
    put_item(s->store, "film", "Film", NULL, NULL);
    episode(s, "ana", "film", state_a, 0.25, false, 1000);
    episode(s, "ana", "film", "v1;device=phone", 0.75, true, 500); /* written later, though it is older */
    assert_int_equal(postgres_number(s->raw, "SELECT (sum(reward) * 100)::bigint FROM reward_signals"), 100);
    assert_string_equal(column(s, "SELECT state FROM user_states"), "v1;device=phone");
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM user_states"), 1);
    drop_user(s->store, "ana");
    assert_int_equal(
        postgres_number(s->raw, "SELECT (SELECT count(*) FROM user_states) + (SELECT count(*) FROM reward_signals)"),
        0);
}

/* ---- forgetting by months ---- */

static void put_own_of(scene *s, const char *agent, const char *key, int64_t at) {
    const float v[2] = {1, 0};
    record_episode e = {.agent = agent,
                        .user = "ana",
                        .session = "",
                        .state_hash = "",
                        .state = "",
                        .next_state_hash = "",
                        .action = "film",
                        .reward = 1,
                        .at = at,
                        .key = key,
                        .vector = v,
                        .dim = 2};
    record_change c = {.kind = RECORD_EPISODE, .episode = &e};
    assert_int_equal(write_one(s->store, &c, NULL), BRAID_OK);
}

static void put_own(scene *s, const char *key, int64_t at) {
    put_own_of(s, "default", key, at);
}

static const char *months_there(scene *s) {
    return column(
        s,
        "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE c.relname ~ '_2020..$'"
        " AND i.inhparent IN ('agent_episodes'::regclass, 'episode_states'::regclass) ORDER BY 1");
}

/* Three months of 2020 with their own tables, and a row in each. */
static void put_three_months(scene *s) {
    put_item(s->store, "film", "Film", NULL, NULL);
    assert_int_equal(postgres_number(s->raw, "SELECT make_months('agent_episodes', 2, '2020-02-20Z')::bigint"), 3);
    assert_int_equal(postgres_number(s->raw, "SELECT make_months('episode_states', 2, '2020-02-20Z')::bigint"), 3);
    put_own(s, "k1", ms_of(s, "2020-02-29 23:59Z"));
    put_own(s, "k2", ms_of(s, "2020-03-01 00:00Z"));
    put_own(s, "k3", ms_of(s, "2020-04-10 00:00Z"));
}

static void months_that_have_ended_are_forgotten_whole_with_states_and_keys(void **state) {
    scene *s = there(state);
    uint64_t removed = 9;
    put_three_months(s);
    assert_int_equal(record_forget(s->store,
                                   &(record_old){.kind = RECORD_EPISODE, .before = ms_of(s, "2020-02-29 23:59:59Z")},
                                   &removed, NULL),
                     BRAID_OK);
    assert_int_equal(removed, 0); /* the month is not over */
    assert_int_equal(record_forget(s->store,
                                   &(record_old){.kind = RECORD_EPISODE, .before = ms_of(s, "2020-04-30 12:00Z")},
                                   &removed, NULL),
                     BRAID_OK);
    assert_int_equal(removed, 2);
    assert_string_equal(months_there(s), "agent_episodes_202004 episode_states_202004");
    assert_int_equal(
        postgres_number(
            s->raw,
            "SELECT count(*) FROM pg_class WHERE relname ~ '_20200[23]$' AND relnamespace = current_schema()::regnamespace"),
        0);
    assert_string_equal(column(s, "SELECT key FROM episode_keys"), "k3");
    assert_int_equal(
        postgres_number(s->raw,
                        "SELECT (SELECT count(*) FROM agent_episodes) * 10 + (SELECT count(*) FROM episode_states)"),
        11);
}

static void a_month_goes_whole_only_when_it_is_old_for_every_agent(void **state) {
    scene *s = there(state);
    uint64_t removed = 9;
    record_agent_before kept[] = {{"long", ms_of(s, "2020-03-01Z")}, {"short", ms_of(s, "2020-04-09Z")}};
    record_old old = {.kind = RECORD_EPISODE, .before = ms_of(s, "2020-04-05Z"), .agents = kept, .agent_count = 2};
    put_three_months(s);
    put_own_of(s, "long", "k4", ms_of(s, "2020-02-20Z"));
    put_own_of(s, "long", "k5", ms_of(s, "2020-03-20Z"));
    put_own_of(s, "short", "k6", ms_of(s, "2020-04-08Z"));
    put_own_of(s, "short", "k7", ms_of(s, "2020-04-10Z"));
    put_own_of(s, "other", "k8", ms_of(s, "2020-03-31Z"));
    put_own_of(s, "other", "k9", ms_of(s, "2019-12-31Z")); /* in no month */
    assert_int_equal(record_forget(s->store, &old, &removed, NULL), BRAID_OK);
    assert_int_equal(removed, 6); /* February with k1 and k4; then k2, k6, k8 and k9 */
    assert_string_equal(months_there(s), "agent_episodes_202003 agent_episodes_202004 episode_states_202003 "
                                         "episode_states_202004");
    assert_string_equal(column(s, "SELECT key FROM episode_keys ORDER BY 1"), "k3 k5 k7");
    assert_int_equal(postgres_number(s->raw,
                                     "SELECT count(*) FROM episode_states v JOIN agent_episodes e ON e.at = v.at"
                                     " AND e.interaction = v.episode"),
                     3);
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM episode_states"), 3);
    kept[0].before = TIME_NONE; /* for ever: no month goes any more, the rows of others do */
    old.before = kept[1].before = ms_of(s, "2020-06-01Z");
    assert_int_equal(record_forget(s->store, &old, &removed, NULL), BRAID_OK);
    assert_int_equal(removed, 2);
    assert_string_equal(column(s, "SELECT key FROM episode_keys"), "k5");
    old.agent_count = 0;
    assert_int_equal(record_forget(s->store, &old, &removed, NULL), BRAID_OK);
    assert_int_equal(removed, 1);
    assert_string_equal(months_there(s), "");
}

typedef struct forgetting {
    record_store *store;
    int64_t before;
    const record_agent_before *agents;
    size_t agent_count;
    uint64_t removed;
    int code;
} forgetting;

static void *forget_now(void *arg) {
    forgetting *f = arg;
    record_old old = {.kind = RECORD_EPISODE, .before = f->before, .agents = f->agents, .agent_count = f->agent_count};
    f->code = record_forget(f->store, &old, &f->removed, NULL);
    return NULL;
}

/* The store forgets while another server, in a transaction that is still open, forgets the first two months. */
static void forget_beside_another(scene *s, forgetting *f) {
    pthread_t thread;
    put_three_months(s);
    postgres_must(pg_exec(s->raw, "BEGIN", NULL, NULL, 0, "begin", NULL, NULL) == BRAID_OK, "begin");
    assert_int_equal(postgres_number(s->raw, "SELECT forget_episodes('2020-04-01Z')"), 2);
    assert_int_equal(pthread_create(&thread, NULL, forget_now, f), 0);
    for (int i = 0;
         i < 6000 &&
         postgres_number(
             s->raw,
             "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))") == 0;
         i++)
        usleep(5000);
    postgres_must(pg_exec(s->raw, "COMMIT", NULL, NULL, 0, "commit", NULL, NULL) == BRAID_OK, "commit");
    pthread_join(thread, NULL);
    assert_int_equal(f->code, BRAID_OK);
}

static void two_servers_forget_at_once_and_neither_fails(void **state) {
    scene *s = there(state);
    forgetting f = {.store = s->store, .before = ms_of(s, "2020-04-30Z"), .removed = 9, .code = 1};
    forget_beside_another(s, &f);
    assert_int_equal(f.removed, 0); /* the other one had them */
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM agent_episodes"), 1);
}

static void so_do_those_that_forget_rows_of_an_agent(void **state) {
    scene *s = there(state);
    record_agent_before kept = {"default", ms_of(s, "2020-04-30Z")};
    forgetting f = {.store = s->store, .before = TIME_NONE, .agents = &kept, .agent_count = 1, .removed = 9, .code = 1};
    forget_beside_another(s, &f);
    assert_int_equal(f.removed, 1); /* what the other one left */
    assert_int_equal(postgres_number(s->raw, "SELECT count(*) FROM agent_episodes"), 0);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(months_are_made_ahead_and_an_old_one_is_taken_out),
        T(a_reward_taught_in_sql_is_what_the_learner_would_have_learned),
        T(a_reward_with_a_version_is_learned_once),
        T(a_reward_that_makes_no_sense_is_refused),
        T(similar_episodes_are_ordered_by_likeness_then_reward_then_age),
        T(an_hour_is_rolled_up_and_made_anew),
        T(a_pattern_needs_three_people_and_names_none),
        T(rewards_and_the_last_situation_are_there_to_be_read),
        T(months_that_have_ended_are_forgotten_whole_with_states_and_keys),
        T(a_month_goes_whole_only_when_it_is_old_for_every_agent),
        T(two_servers_forget_at_once_and_neither_fails),
        T(so_do_those_that_forget_rows_of_an_agent),
    };
    return cmocka_run_group_tests_name("record: PostgreSQL's functions", tests, NULL, NULL);
}

#endif
