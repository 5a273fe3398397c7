/* The lexical embedder: the same everywhere, forgiving of accents and slips, deaf to stop words. */
#include <math.h>

#include "model_test.h"

#include "embed/embed.h"

enum { DIM = 384 };

static embedder *e;

static int open_embedder(void **state) {
    (void)state;
    return embed_open(embed_find("hashing"), DIM, &e, NULL);
}

static int close_embedder(void **state) {
    (void)state;
    embed_close(e);
    return 0;
}

static void embed(const char *text, float *out) {
    braid_error err = {0};
    if (embed_text(e, text, strlen(text), out, &err)) {
        fail_msg("%s", err.message);
    }
}

static double dot(const float *x, const float *y) {
    double sum = 0;
    for (int i = 0; i < DIM; i++) {
        sum += (double)x[i] * y[i];
    }
    return sum;
}

static double likeness(const char *x, const char *y) {
    float vx[DIM], vy[DIM];
    embed(x, vx);
    embed(y, vy);
    return dot(vx, vy);
}

static void the_registry_knows_hashing_only(void **state) {
    (void)state;
    assert_non_null(embed_find("hashing"));
    assert_null(embed_find("Hashing"));
    assert_null(embed_find(""));
    assert_string_equal(embed_name(e), "hashing");
    assert_false(embed_find("hashing")->semantic);
}

/* Written down on x86-64; another machine or version must find the same bits. */
static void the_values_are_the_same_on_every_machine(void **state) {
    (void)state;
    static const struct {
        int at;
        float value;
    } golden[] = {
        {0, 0x1.9ecb3p-4f},    {1, 0}, {69, -0x1.5ecad6p-3f}, {183, -0x1.5ecad6p-3f}, {252, 0x1.ccee9p-3f},
        {345, -0x1.9ecb3p-4f},
    };
    float v[DIM];
    embed("Les Misérables : l'évadé du bagne, le bagne et l'exil", v);
    uint64_t digest = 1469598103934665603u;
    for (int i = 0; i < DIM; i++) {
        uint32_t bits;
        memcpy(&bits, &v[i], sizeof bits);
        digest = (digest ^ bits) * 1099511628211u;
    }
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
        if (v[golden[i].at] != golden[i].value) {
            fail_msg("dimension %d is %a, digest 0x%llx", golden[i].at, (double)v[golden[i].at],
                     (unsigned long long)digest);
        }
    }
    assert_true(digest == UINT64_C(0xeddfe31221f60a27));
}

static void vectors_have_length_1_and_texts_without_words_none(void **state) {
    (void)state;
    static const char *const words[] = {
        "a", "le", "x", "9", "œ", "東京", "Ночь", "l'", "a a a a a a a a a a a a a a a a a a a a"};
    static const char *const none[] = {"", " ", "!?…", "\n\t", "— « » —", "\xCC\x81"};
    float v[DIM];
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        embed(words[i], v);
        assert_true(fabs(dot(v, v) - 1) < 1e-5);
    }
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        embed(none[i], v);
        for (int d = 0; d < DIM; d++) {
            assert_true(v[d] == 0);
        }
    }
}

static void case_accents_and_punctuation_do_not_matter(void **state) {
    (void)state;
    assert_true(likeness("Les Misérables", "LES MISERABLES!") > 0.9999);
    assert_true(likeness("Œdipe roi", "oedipe, ROI") > 0.9999);
    assert_true(likeness("Cœur de pirate", "coeur de pirate") > 0.9999);
    assert_true(likeness("Ame\xCC\x81lie", "Amélie") > 0.9999);
}

static void a_slip_of_one_letter_ranks_above_unrelated_texts(void **state) {
    (void)state;
    static const char *const titles[] = {
        "Les Misérables", "Hiroshima mon amour", "Casablanca", "Persepolis",    "La Jetée",  "Metropolis", "Le Mépris",
        "Vertigo",        "Incendies",           "Timbuktu",   "Cléo de 5 à 7", "Nosferatu",
    };
    static const char *const slips[] = {
        "les miserbles", "hirosima mon amour", "cassablanca", "persopolis",    "la jetee",   "metroplois", "le mepri",
        "vertgio",       "incendie",           "tombuktu",    "cleo de 5 a 7", "nosferattu",
    };
    enum { TITLES = sizeof titles / sizeof titles[0] };
    for (size_t i = 0; i < TITLES; i++) {
        double right = likeness(slips[i], titles[i]);
        assert_true(right > 0.3);
        for (size_t j = 0; j < TITLES; j++) {
            double wrong = j == i ? 0 : likeness(slips[i], titles[j]);
            if (wrong >= right) {
                fail_msg("\"%s\": %g for \"%s\", %g for \"%s\"", slips[i], right, titles[i], wrong, titles[j]);
            }
        }
    }
}

static void stop_words_carry_little(void **state) {
    (void)state;
    assert_true(likeness("l'histoire de la guerre", "histoire guerre") > 0.98);
    assert_true(likeness("the story of the war", "story war") > 0.98);
    assert_true(fabs(likeness("dans les rues de la ville", "avec les chiens de la ferme")) < 0.15);
    assert_true(fabs(likeness("it was in the house of the dead", "it was in the forest of the bear")) < 0.2);
}

static void repeating_a_word_is_sub_linear(void **state) {
    (void)state;
    char text[4096] = "guerre";
    double once = likeness("guerre et paix", "guerre");
    for (int i = 0; i < 99; i++) {
        strcat(text, " guerre");
    }
    strcat(text, " paix");
    double hundred = likeness(text, "paix");
    assert_true(once > 0.5);
    assert_true(hundred > 0.1); /* 1:100 linearly would be 0.01 */
}

static void unrelated_texts_are_nearly_orthogonal(void **state) {
    (void)state;
    rng r = test_rng("orthogonal");
    double sum = 0;
    for (int i = 0; i < 200; i++) {
        char x[64], y[64];
        for (int j = 0; j < 40; j++) {
            x[j] = j % 8 == 7 ? ' ' : (char)('a' + rng_below(&r, 26));
            y[j] = j % 8 == 7 ? ' ' : (char)('a' + rng_below(&r, 26));
        }
        x[40] = y[40] = '\0';
        sum += likeness(x, y);
    }
    assert_true(fabs(sum / 200) < 0.02);
}

static void any_utf8_is_embedded_and_anything_else_refused(void **state) {
    (void)state;
    rng r = test_rng("texts");
    arena *a = arena_new(4096);
    float v[DIM];
    for (int i = 0; i < 300; i++) {
        arena_reset(a);
        embed(random_text(&r, a, 0, 2000, true), v);
        double length = dot(v, v);
        assert_true(length == 0 || fabs(length - 1) < 1e-5);
    }
    arena_free(a);
    braid_error err = {0};
    assert_refused(embed_text(e, "a\xff", 2, v, &err), &err, BRAID_E_UTF8, "UTF-8");
    char *big = malloc(MODEL_TEXT_BYTES_MAX + 1);
    memset(big, 'x', MODEL_TEXT_BYTES_MAX + 1);
    assert_int_equal(embed_text(e, big, MODEL_TEXT_BYTES_MAX, v, NULL), BRAID_OK);
    for (size_t i = 0; i < MODEL_TEXT_BYTES_MAX; i++) {
        big[i] = i % 3 == 2 ? ' ' : (char)('a' + rng_below(&r, 26)); /* as many features as fit */
    }
    assert_int_equal(embed_text(e, big, MODEL_TEXT_BYTES_MAX, v, NULL), BRAID_OK);
    err = (braid_error){0};
    assert_refused(embed_text(e, big, MODEL_TEXT_BYTES_MAX + 1, v, &err), &err, BRAID_E_TOO_LARGE, "65537");
    free(big);
}

static void any_dimension_up_to_the_limit_works(void **state) {
    (void)state;
    float v[MODEL_DIM_MAX];
    for (uint32_t dim = 1; dim <= MODEL_DIM_MAX; dim = dim < 20 ? dim + 1 : dim * 2) {
        embedder *other;
        assert_int_equal(embed_open(embed_find("hashing"), dim, &other, NULL), BRAID_OK);
        double square = 0;
        assert_int_equal(embed_text(other, "aa bb", 5, v, NULL), BRAID_OK);
        for (uint32_t i = 0; i < dim; i++) {
            square += (double)v[i] * v[i];
        }
        assert_true(fabs(square - 1) < 1e-5);
        embed_close(other);
    }
    embedder *none = (embedder *)v;
    braid_error err = {0};
    assert_refused(embed_open(embed_find("hashing"), 0, &none, &err), &err, BRAID_E_DIMENSION, "1..4096");
    assert_null(none);
    assert_int_equal(embed_open(embed_find("hashing"), MODEL_DIM_MAX + 1, &none, NULL), BRAID_E_DIMENSION);
    embed_close(NULL);
}

/* ---- items ---- */

static void embed_json(const char *text, float *out) {
    arena *a = arena_new(4096);
    json_t *json = parse(text);
    item *it;
    braid_error err = {0};
    if (item_from_json(json, &test_limits, a, &it, &err) || embed_item(e, it, out, &err)) {
        fail_msg("%s", err.message);
    }
    item_release(it);
    json_decref(json);
    arena_free(a);
}

static const char *const films[] = {
    "{\"id\":\"1\",\"title\":\"Les Misérables\",\"genres\":[\"drame\"],\"themes\":[\"justice\",\"exil\"],"
    "\"people\":[{\"name\":\"Harry "
    "Baur\",\"role\":\"cast\"}],\"synopsis\":\"Un ancien forçat élève une orpheline pendant qu'un policier le "
    "poursuit à travers la ville.\"}",
    "{\"id\":\"2\",\"title\":\"Metropolis\",\"genres\":[\"science-fiction\"],\"themes\":[\"travail\",\"machine\"],"
    "\"people\":[\"Fritz Lang\"],"
    "\"synopsis\":\"Dans une ville du futur, les ouvriers vivent sous terre et une machine à visage de femme les "
    "soulève.\"}",
    "{\"id\":\"3\",\"title\":\"Nanook of the North\",\"genres\":[\"documentaire\"],\"themes\":[\"nature\","
    "\"famille\"],\"people\":[\"Robert "
    "Flaherty\"],\"synopsis\":\"A year in the life of a hunter and his family in the Canadian Arctic.\"}",
};

static void an_item_is_found_by_each_of_its_fields(void **state) {
    (void)state;
    static const struct {
        const char *query;
        int film;
    } cases[] = {
        {"miserables", 0},  {"harry baur", 0},          {"exil", 0},       {"forçat orpheline", 0},
        {"drames", 0},      {"métropolis", 1},          {"Fritz Lang", 1}, {"science fiction", 1},
        {"machines", 1},    {"ouvriers sous terre", 1}, {"nanouk", 2},     {"flaherty", 2},
        {"documentary", 2}, {"arctic hunter", 2},       {"nature", 2},
    };
    float v[3][DIM], q[DIM];
    for (int i = 0; i < 3; i++) {
        embed_json(films[i], v[i]);
        assert_true(fabs(dot(v[i], v[i]) - 1) < 1e-5);
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        embed(cases[i].query, q);
        for (int film = 0; film < 3; film++) {
            if (film != cases[i].film && dot(q, v[film]) >= dot(q, v[cases[i].film])) {
                fail_msg("\"%s\" finds film %d (%g) before %d (%g)", cases[i].query, film, dot(q, v[film]),
                         cases[i].film, dot(q, v[cases[i].film]));
            }
        }
    }
}

static void a_title_weighs_more_than_a_mood_or_a_word_of_the_synopsis(void **state) {
    (void)state;
    float title[DIM], synopsis[DIM], q[DIM];
    embed_json("{\"id\":\"1\",\"title\":\"Solaris\",\"synopsis\":\"Un psychologue arrive dans une station "
               "lointaine.\"}",
               title);
    embed_json("{\"id\":\"2\",\"title\":\"Stalker\",\"synopsis\":\"Trois hommes parlent de Solaris en marchant dans "
               "la zone.\"}",
               synopsis);
    embed("solaris", q);
    assert_true(dot(q, title) > 2 * dot(q, synopsis));
    float mood[DIM];
    embed_json("{\"id\":\"3\",\"title\":\"Stalker\",\"moods\":[\"solaris\"],\"synopsis\":\"Un psychologue arrive.\"}",
               mood);
    assert_true(dot(q, title) > 2 * dot(q, mood));
    assert_true(dot(q, mood) > 0.1);
}

static void an_item_without_words_is_zero(void **state) {
    (void)state;
    float v[DIM];
    embed_json("{\"id\":\"x\",\"title\":\"…\",\"year\":1990}", v);
    for (int i = 0; i < DIM; i++) {
        assert_true(v[i] == 0);
    }
}

int main(void) {
#define WITH_EMBEDDER(test) cmocka_unit_test_setup_teardown(test, open_embedder, close_embedder)
    const struct CMUnitTest tests[] = {
        WITH_EMBEDDER(the_registry_knows_hashing_only),
        WITH_EMBEDDER(the_values_are_the_same_on_every_machine),
        WITH_EMBEDDER(vectors_have_length_1_and_texts_without_words_none),
        WITH_EMBEDDER(case_accents_and_punctuation_do_not_matter),
        WITH_EMBEDDER(a_slip_of_one_letter_ranks_above_unrelated_texts),
        WITH_EMBEDDER(stop_words_carry_little),
        WITH_EMBEDDER(repeating_a_word_is_sub_linear),
        WITH_EMBEDDER(unrelated_texts_are_nearly_orthogonal),
        WITH_EMBEDDER(any_utf8_is_embedded_and_anything_else_refused),
        WITH_EMBEDDER(any_dimension_up_to_the_limit_works),
        WITH_EMBEDDER(an_item_is_found_by_each_of_its_fields),
        WITH_EMBEDDER(a_title_weighs_more_than_a_mood_or_a_word_of_the_synopsis),
        WITH_EMBEDDER(an_item_without_words_is_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
