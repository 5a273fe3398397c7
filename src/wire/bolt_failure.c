/* bolt_failure: what the server's codes mean to us.
 *
 * A code has four parts, Neo.CLASS.CATEGORY.TITLE. The class tells whom to blame, with exceptions that every driver
 * knows: a server that is not the leader (any more) says ClientError although another attempt succeeds, and a
 * transaction that was ended on purpose says TransientError although it would only be ended again. The first row of
 * the table that matches decides; a prefix ends in a dot. */
#include "bolt_machine.h"

#include <string.h>

static const struct bolt_verdict {
    const char *code;
    bool retriable;
    int braid;
} bolt_verdicts[] = {
    /* ended on purpose, by somebody or by its own time-out */
    {"Neo.TransientError.Transaction.Terminated", false, BRAID_E_UNAVAILABLE},
    {"Neo.TransientError.Transaction.LockClientStopped", false, BRAID_E_DEADLINE},
    {"Neo.ClientError.Transaction.TransactionTimedOut", false, BRAID_E_DEADLINE},
    {"Neo.ClientError.Transaction.TransactionTimedOutClientConfiguration", false, BRAID_E_DEADLINE},
    {"Neo.ClientError.Transaction.LockClientStopped", false, BRAID_E_DEADLINE},
    {"Neo.ClientError.Transaction.Terminated", false, BRAID_E_UNAVAILABLE},
    {"Neo.TransientError.", true, BRAID_E_UNAVAILABLE},
    /* the wrong member of a cluster, for the moment */
    {"Neo.ClientError.Cluster.NotALeader", true, BRAID_E_UNAVAILABLE},
    {"Neo.ClientError.General.ForbiddenOnReadOnlyDatabase", true, BRAID_E_UNAVAILABLE},
    {"Neo.ClientError.Security.AuthorizationExpired", true, BRAID_E_UNAVAILABLE},
    /* ours to mend, but not by the statement */
    {"Neo.ClientError.Security.", false, BRAID_E_UNAVAILABLE},
    {"Neo.ClientError.Request.", false, BRAID_E_INTERNAL},
    {"Neo.ClientError.Database.DatabaseNotFound", false, BRAID_E_NOT_FOUND},
    {"Neo.ClientError.Database.", false, BRAID_E_UNAVAILABLE},
    {"Neo.ClientError.General.", false, BRAID_E_UNAVAILABLE},
    {"Neo.ClientError.Cluster.", false, BRAID_E_UNAVAILABLE},
    {"Neo.ClientError.Statement.EntityNotFound", false, BRAID_E_NOT_FOUND},
    {"Neo.ClientError.Schema.", false, BRAID_E_CONFLICT},
    {"Neo.ClientError.", false, BRAID_E_INVALID},
    {"Neo.DatabaseError.", false, BRAID_E_UNAVAILABLE},
};

static bool bolt_matches(const char *code, const char *pattern) {
    size_t n = strlen(pattern);
    return pattern[n - 1] == '.' ? strncmp(code, pattern, n) == 0 : strcmp(code, pattern) == 0;
}

int bolt_failure_judge(bolt_failure *f) {
    f->class = strncmp(f->code, "Neo.TransientError.", 19) == 0 ? BOLT_CLASS_TRANSIENT
               : strncmp(f->code, "Neo.ClientError.", 16) == 0  ? BOLT_CLASS_CLIENT
                                                                : BOLT_CLASS_DATABASE;
    f->retriable = false;
    for (size_t i = 0; i < sizeof bolt_verdicts / sizeof bolt_verdicts[0]; i++) {
        if (!bolt_matches(f->code, bolt_verdicts[i].code)) continue;
        f->retriable = bolt_verdicts[i].retriable;
        return bolt_verdicts[i].braid;
    }
    return BRAID_E_UNAVAILABLE;
}
