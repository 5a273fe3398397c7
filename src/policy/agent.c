/* Agents: who ranks for whom, and how much it may try.
 *
 * What an agent believes is learned (policies); how it uses that is set here: which learner ranks, how strongly it explores,
 * what share of a list it may give away to learn. All learners learn from every choice whatever is set, so that another
 * setting takes effect at once and with all the evidence, and learning again from the log gives the same whatever was set
 * meanwhile. */
#include "policy/policy.h"

policy_agent policy_agent_default(void) {
    return (policy_agent){.learner = POLICY_SOFTMAX, .strength = 1, .budget = 0.1};
}
