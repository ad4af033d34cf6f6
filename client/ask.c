/* Asks one replica for INFO over its client port; see ask.h. */
#include "client/ask.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct exchange {
    int fd;
    uint64_t deadline_ns;
};

static int wait_for(const struct exchange *exchange, short events)
{
    for (;;) {
        const uint64_t now_ns = lks_clock_monotonic_ns();
        if (now_ns >= exchange->deadline_ns) {
            return -ETIMEDOUT;
        }
        struct pollfd watched = {.fd = exchange->fd, .events = events};
        const uint64_t left_ms = (exchange->deadline_ns - now_ns) / LKS_NS_PER_MS + 1;
        const int ready = poll(&watched, 1, (int)left_ms);
        if (ready > 0) {
            return 0;
        }
        if (ready < 0 && errno != EINTR) {
            return -errno;
        }
    }
}

static int start_connect(const struct exchange *exchange, const char *address, uint16_t port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int rc = 0;
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1) {
        rc = connect(exchange->fd, (const struct sockaddr *)&v4, sizeof v4);
    } else if (inet_pton(AF_INET6, address, &v6.sin6_addr) == 1) {
        rc = connect(exchange->fd, (const struct sockaddr *)&v6, sizeof v6);
    } else {
        return -EINVAL;
    }
    return rc == 0 || errno == EINPROGRESS ? 0 : -errno;
}

static int connect_to(struct exchange *exchange, const char *address, uint16_t port)
{
    int rc = start_connect(exchange, address, port);
    if (rc == 0) {
        rc = wait_for(exchange, POLLOUT);
    }
    int failure = 0;
    socklen_t bytes = sizeof failure;
    if (rc == 0 && getsockopt(exchange->fd, SOL_SOCKET, SO_ERROR, &failure, &bytes) != 0) {
        rc = -errno;
    }
    return rc != 0 ? rc : -failure;
}

static int send_all(const struct exchange *exchange, const char *data, size_t bytes)
{
    size_t sent = 0;
    while (sent < bytes) {
        const ssize_t part = send(exchange->fd, data + sent, bytes - sent, MSG_NOSIGNAL);
        if (part >= 0) {
            sent += (size_t)part;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR) {
            return -errno;
        }
        const int rc = wait_for(exchange, POLLOUT);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* Where the text of a complete answer begins; 0: more bytes are needed; -EBADMSG. */
static int find_text(const char *data, size_t bytes, size_t *text_bytes)
{
    const char *line_end = memchr(data, '\n', bytes);
    const char type = bytes > 0 ? data[0] : '$';
    if (strchr("$=+-", type) == NULL || type == '\0') {
        return -EBADMSG;
    }
    const bool bulk = type == '$' || type == '=';
    if (line_end == NULL) {
        return bytes > (bulk ? 32 : LKS_ASK_TEXT_MAX - 1) ? -EBADMSG : 0;
    }
    if (!bulk) {
        const size_t length = (size_t)(line_end - data);
        *text_bytes = length - 1 - (data[length - 1] == '\r' ? 1 : 0);
        return length >= LKS_ASK_TEXT_MAX ? -EBADMSG : 1;
    }
    char *end = NULL;
    const unsigned long length = strtoul(data + 1, &end, 10);
    const size_t begin = (size_t)(line_end - data) + 1;
    if (end == data + 1 || *end != '\r' || length >= LKS_ASK_TEXT_MAX) {
        return -EBADMSG;
    }
    if (bytes < begin + length + 2) {
        return 0;
    }
    *text_bytes = length;
    return (int)begin;
}

/* *type: the answer's first byte. */
static int receive_text(const struct exchange *exchange, char text[LKS_ASK_TEXT_MAX], char *type)
{
    char data[LKS_ASK_TEXT_MAX + 64];
    size_t bytes = 0;
    while (bytes < sizeof data - 1) {
        const ssize_t part = recv(exchange->fd, data + bytes, sizeof data - 1 - bytes, 0);
        if (part == 0) {
            return -ECONNRESET;
        }
        if (part < 0 && errno != EAGAIN && errno != EINTR) {
            return -errno;
        }
        if (part < 0) {
            const int rc = wait_for(exchange, POLLIN);
            if (rc != 0) {
                return rc;
            }
            continue;
        }
        bytes += (size_t)part;
        data[bytes] = '\0';
        size_t text_bytes = 0;
        const int begin = find_text(data, bytes, &text_bytes);
        if (begin < 0) {
            return begin;
        }
        if (begin > 0) {
            memcpy(text, data + begin, text_bytes);
            text[text_bytes] = '\0';
            *type = data[0];
            return 0;
        }
    }
    return -EBADMSG;
}

/* One request, one answer, one connection. */
static int ask(const char *address, uint16_t port, const char *request, size_t bytes,
               uint64_t timeout_ns, char text[LKS_ASK_TEXT_MAX], char *type)
{
    struct exchange exchange = {.deadline_ns = lks_clock_monotonic_ns() + timeout_ns};
    const int family = strchr(address, ':') != NULL ? AF_INET6 : AF_INET;
    exchange.fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (exchange.fd < 0) {
        return -errno;
    }
    int rc = connect_to(&exchange, address, port);
    if (rc == 0) {
        rc = send_all(&exchange, request, bytes);
    }
    if (rc == 0) {
        rc = receive_text(&exchange, text, type);
    }
    (void)close(exchange.fd);
    return rc;
}

/* The command as RESP; its length, or 0 where it does not fit. */
static size_t encode(const char *const *args, char *request, size_t bytes_max)
{
    size_t count = 0;
    while (args[count] != NULL) {
        count++;
    }
    size_t bytes = (size_t)snprintf(request, bytes_max, "*%zu\r\n", count);
    for (size_t i = 0; i < count && count <= LKS_ASK_ARGS_MAX; i++) {
        const int length = snprintf(request + bytes, bytes_max - bytes, "$%zu\r\n%s\r\n",
                                    strlen(args[i]), args[i]);
        if (length < 0 || (size_t)length >= bytes_max - bytes) {
            return 0;
        }
        bytes += (size_t)length;
    }
    return count <= LKS_ASK_ARGS_MAX ? bytes : 0;
}

int lks_ask_command(const char *address, uint16_t port, const char *const *args,
                    uint64_t timeout_ns, char text[LKS_ASK_TEXT_MAX], struct lks_error *err)
{
    char request[512];
    char type = 0;
    const size_t bytes = encode(args, request, sizeof request);
    const int rc = bytes != 0 ? ask(address, port, request, bytes, timeout_ns, text, &type)
                              : -EINVAL;
    if (rc == -EBADMSG) {
        return lks_error_set(err, rc, "what listens there does not answer as a replica does");
    }
    if (rc != 0) {
        return lks_error_set(err, rc, "%s", lks_error_text(rc));
    }
    return type == '-' ? lks_error_set(err, -EPROTO, "%.400s", text) : 0;
}

int lks_ask_info(const char *address, uint16_t port, const char *section, uint64_t timeout_ns,
                 char text[LKS_ASK_TEXT_MAX], struct lks_error *err)
{
    const char *const args[] = {"INFO", section, NULL};
    const int rc = lks_ask_command(address, port, args, timeout_ns, text, err);
    return rc == -EPROTO ? lks_error_set(err, -EBADMSG, "what listens there does not answer as a "
                                         "replica does")
                         : rc;
}

bool lks_ask_value(const char *text, const char *key, char *value, size_t value_bytes)
{
    const size_t key_bytes = strlen(key);
    value[0] = '\0';
    for (const char *line = text; *line != '\0';) {
        const size_t length = strcspn(line, "\r\n");
        if (length > key_bytes && line[key_bytes] == ':' && memcmp(line, key, key_bytes) == 0) {
            (void)snprintf(value, value_bytes, "%.*s", (int)(length - key_bytes - 1),
                           line + key_bytes + 1);
            return true;
        }
        line += length;
        line += strspn(line, "\r\n");
    }
    return false;
}

uint64_t lks_ask_number(const char *text, const char *key)
{
    char value[32];
    if (!lks_ask_value(text, key, value, sizeof value)) {
        return 0;
    }
    return strtoull(value, NULL, 10);
}
