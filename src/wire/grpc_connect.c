/* How a gRPC channel is made: address, credentials, and the settings that decide how fast a dead server is noticed and
 * a living one found again.
 *
 * gRPC's own back-off between connections grows to two minutes and its service config may ask DNS; both are set
 * aside. A proxy from the environment is not used: these are servers of one's own. Each channel has its own
 * connection, so that two stores on one server do not share a fate. */
#include "wire/grpc_private.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RPC_HOST_BYTES = 256,
    RPC_CA_BYTES_MAX = 4 << 20,
    RPC_SECRET_BYTES_MAX = 4096,
    RPC_CONNECT_MS_FIRST = 100, /* between the first two attempts to connect */
    RPC_CONNECT_MS_MAX = 1000,
    RPC_CONNECT_MS_ATTEMPT = 2000, /* what one attempt may take */
    RPC_PING_MS = 10000,           /* a silent connection is asked; servers allow one in five seconds */
    RPC_PING_ANSWER_MS = 4000
};

static bool given(const char *text) {
    return text != NULL && text[0] != '\0';
}

static int read_file(const char *path, const char *store, char **out, braid_error *err) {
    *out = NULL;
    FILE *f = fopen(path, "rb");
    if (f == NULL) return error_set(err, BRAID_E_INVALID, store, "no certificates to trust can be read from %s", path);
    char *text = malloc(RPC_CA_BYTES_MAX + 1);
    size_t len = text != NULL ? fread(text, 1, RPC_CA_BYTES_MAX + 1, f) : 0;
    bool failed = ferror(f) != 0;
    fclose(f);
    if (text == NULL) return error_set(err, BRAID_E_NO_MEMORY, store, "memory ran out");
    if (failed || len > RPC_CA_BYTES_MAX) {
        free(text);
        return error_set(err, BRAID_E_INVALID, store, "%s cannot be read or is larger than %d bytes", path,
                         RPC_CA_BYTES_MAX);
    }
    text[len] = '\0';
    if (strstr(text, "-----BEGIN") == NULL) {
        free(text);
        return error_set(err, BRAID_E_INVALID, store, "%s holds no certificate in PEM form", path);
    }
    *out = text;
    return BRAID_OK;
}

/* TLS with a certificate that nobody looks at: for tests. */
static grpc_channel_credentials *insecure_tls(void) {
    grpc_tls_credentials_options *options = grpc_tls_credentials_options_create();
    grpc_tls_certificate_verifier *verifier = grpc_tls_certificate_verifier_no_op_create();
    grpc_tls_credentials_options_set_verify_server_cert(options, 0);
    grpc_tls_credentials_options_set_check_call_host(options, 0);
    grpc_tls_credentials_options_set_certificate_verifier(options, verifier);
    grpc_tls_certificate_verifier_release(verifier);
    return grpc_tls_credentials_create(options);
}

static int make_credentials(const rpc_options *o, grpc_channel_credentials **out, braid_error *err) {
    const remote_options *remote = o->remote;
    char *ca = NULL;
    if (!remote->tls) {
        *out = grpc_insecure_credentials_create();
    } else if (remote->tls_insecure) {
        *out = insecure_tls();
    } else {
        int code = given(remote->tls_ca) ? read_file(remote->tls_ca, o->store, &ca, err) : BRAID_OK;
        if (code != BRAID_OK) return code;
        *out = grpc_ssl_credentials_create(ca, NULL, NULL, NULL);
        free(ca);
    }
    if (*out == NULL)
        return error_set(err, BRAID_E_INVALID, o->store, "%s: TLS cannot be set up with these certificates",
                         remote->address);
    return BRAID_OK;
}

static grpc_arg integer_arg(const char *key, int value) {
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = value};
}

grpc_channel *rpc_connect(const rpc_options *o, braid_error *err) {
    char host[RPC_HOST_BYTES], target[RPC_HOST_BYTES + 32];
    unsigned port = 0;
    if (!remote_split(o->remote->address, host, sizeof host, &port)) {
        error_set(err, BRAID_E_INVALID, o->store, "address \"%s\" is not HOST:PORT",
                  o->remote->address != NULL ? o->remote->address : "");
        return NULL;
    }
    snprintf(target, sizeof target, strchr(host, ':') != NULL ? "dns:///[%s]:%u" : "dns:///%s:%u", host, port);
    grpc_channel_credentials *credentials = NULL;
    if (make_credentials(o, &credentials, err) != BRAID_OK) return NULL;
    grpc_arg list[] = {
        integer_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)o->answer_bytes_max),
        integer_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1),
        integer_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, RPC_CONNECT_MS_FIRST),
        integer_arg(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, RPC_CONNECT_MS_ATTEMPT),
        integer_arg(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, RPC_CONNECT_MS_MAX),
        integer_arg(GRPC_ARG_KEEPALIVE_TIME_MS, RPC_PING_MS),
        integer_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, RPC_PING_ANSWER_MS),
        integer_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        integer_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        integer_arg(GRPC_ARG_ENABLE_RETRIES, 0),
        integer_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
        integer_arg(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
        integer_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
    };
    grpc_channel_args args = {sizeof list / sizeof list[0], list};
    grpc_channel *channel = grpc_channel_create(target, credentials, &args);
    grpc_channel_credentials_release(credentials);
    if (channel == NULL) error_set(err, BRAID_E_NO_MEMORY, o->store, "%s: no channel could be made", target);
    return channel;
}

int rpc_authorization(const rpc_options *o, char **out, braid_error *err) {
    const remote_options *r = o->remote;
    char secret[2 * RPC_SECRET_BYTES_MAX + 2];
    *out = NULL;
    if (!given(r->token) && !given(r->user)) return BRAID_OK;
    int len = given(r->token)
                  ? snprintf(secret, sizeof secret, "%s", r->token)
                  : snprintf(secret, sizeof secret, "%s:%s", r->user, given(r->password) ? r->password : "");
    int code = BRAID_OK;
    if (len < 0 || (size_t)len >= sizeof secret)
        code = error_set(err, BRAID_E_INVALID, o->store, "user and password, or the token, are longer than %d bytes",
                         RPC_SECRET_BYTES_MAX);
    else if ((*out = malloc((size_t)len * 4 / 3 + 8)) == NULL)
        code = error_set(err, BRAID_E_NO_MEMORY, o->store, "memory ran out");
    else
        EVP_EncodeBlock((unsigned char *)*out, (const unsigned char *)secret, len);
    explicit_bzero(secret, sizeof secret);
    return code;
}
