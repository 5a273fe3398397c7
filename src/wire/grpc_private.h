/* What the files of the channel share; private to them. */
#ifndef WIRE_GRPC_PRIVATE_H
#define WIRE_GRPC_PRIVATE_H

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include "wire/grpc_channel.h"

/* The channel to the server, or NULL with the error. */
grpc_channel *rpc_connect(const rpc_options *options, braid_error *err);
/* The value of the "authorization" header in memory from malloc(); *out NULL when none is to be sent. */
int rpc_authorization(const rpc_options *options, char **out, braid_error *err);

/* What a status that is not OK means; *again: worth another try. */
int rpc_status_error(const rpc_channel *c, const char *method, grpc_status_code status, const char *details,
                     bool *again, braid_error *err);

#endif
