/* What the environment says of an engine that the tests may use (`scripts/engines.sh env` prints it). */
#ifndef TEST_SUPPORT_ENGINE_ENV_H
#define TEST_SUPPORT_ENGINE_ENV_H

/* BRAID_TEST_<ENGINE>_<WHAT>, or the address itself when `what` is ""; "" when it is not set. */
const char *test_engine(const char *engine, const char *what);
/* The password: the first line of the file that ..._PASSWORD_FILE names, else ..._PASSWORD; "" when neither is set. The
 * text lives as long as the program. */
const char *test_engine_password(const char *engine);

#endif
