/* Addresses of servers. HOST:PORT is split by hand and strictly: a colon too many is an IPv6 address that somebody
 * forgot to put in brackets, and guessing which part is the port would connect to another machine. */
#include "remote.h"

#include <stdint.h>
#include <string.h>

enum { REMOTE_PORT_MAX = 65535, REMOTE_PORT_DIGITS = 5 };

/* 1..65535 in decimal digits only, without a leading zero, sign or space. */
static bool remote_port(const char *text, unsigned *port) {
    unsigned value = 0;
    size_t digits = 0;
    for (; text[digits] != '\0'; digits++) {
        if (text[digits] < '0' || text[digits] > '9' || digits >= REMOTE_PORT_DIGITS) return false;
        value = value * 10 + (unsigned)(text[digits] - '0');
    }
    if (digits == 0 || text[0] == '0' || value > REMOTE_PORT_MAX) return false;
    *port = value;
    return true;
}

static bool remote_host_char(char c, bool bracketed) {
    unsigned char u = (unsigned char)c;
    if (u <= ' ' || u == 0x7f || c == '[' || c == ']' || c == '/') return false;
    return bracketed || c != ':';
}

bool remote_split(const char *address, char *host, size_t host_cap, unsigned *port) {
    if (address == NULL) return false;
    bool bracketed = address[0] == '[';
    const char *begin = bracketed ? address + 1 : address, *end = begin;
    while (*end != '\0' && remote_host_char(*end, bracketed)) end++;
    size_t len = (size_t)(end - begin);
    if (len == 0 || len >= host_cap) return false;
    if (bracketed && *end++ != ']') return false;
    if (*end != ':' || !remote_port(end + 1, port)) return false;
    memcpy(host, begin, len);
    host[len] = '\0';
    return true;
}

unsigned remote_write_ms(const remote_options *o) {
    unsigned ms = o->write_timeout_ms != 0 ? o->write_timeout_ms : REMOTE_WRITE_TIMEOUT_MS;
    return ms > o->timeout_ms ? ms : o->timeout_ms;
}
