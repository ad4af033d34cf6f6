/*
 * Runs on the host: has one command carried out by an agent (agent.c) in a guest of the lab, prints
 * what it prints, and ends with its exit status.
 *
 * Usage: call --socket PATH [--timeout SECONDS] FOLDER [NAME=VALUE]... -- COMMAND...
 * Exit status: the command's, or 124 if the time limit passed, 125 if the guest does not answer.
 * If this process ends early, however it does, the guest kills the command.
 */
#include "soft-roce/guest/frame.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { STATUS_TIMEOUT = 124, STATUS_BROKEN = 125 };

struct call {
    int socket;
    int64_t deadline_ms; /* on the monotonic clock; INT64_MAX: none */
    char hello[8];
    char payload[LKS_FRAME_BYTES_MAX];
};

static void quit(int status, const char *format, ...)
    __attribute__((noreturn, format(printf, 2, 3)));

static void quit(int status, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fprintf(stderr, "lab: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(status);
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void connect_to(struct call *call, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(address.sun_path))
        quit(STATUS_BROKEN, "%s: longer than %zu bytes", path, sizeof(address.sun_path) - 1);
    memcpy(address.sun_path, path, strlen(path));
    call->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (call->socket < 0 ||
        connect(call->socket, (struct sockaddr *)&address, sizeof(address)) != 0)
        quit(STATUS_BROKEN, "%s: %s: the guest does not run", path, strerror(errno));
}

static void send_all(struct call *call, const void *bytes, size_t count)
{
    for (size_t done = 0; done < count;) {
        ssize_t sent = send(call->socket, (const char *)bytes + done, count - done, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            quit(STATUS_BROKEN, "the guest went away (%s)", strerror(errno));
        if (sent > 0)
            done += (size_t)sent;
    }
}

static void send_frame(struct call *call, uint32_t kind, const void *payload, size_t bytes)
{
    struct lks_frame_head head = {kind, (uint32_t)bytes};

    send_all(call, &head, sizeof(head));
    send_all(call, payload, bytes);
}

static void receive_all(struct call *call, void *bytes, size_t count)
{
    for (size_t done = 0; done < count;) {
        struct pollfd watched = {call->socket, POLLIN, 0};
        int64_t left_ms = call->deadline_ms - now_ms();
        if (left_ms <= 0)
            quit(STATUS_TIMEOUT, "time limit passed");
        poll(&watched, 1, left_ms < 1000 ? (int)left_ms : 1000);
        if (watched.revents == 0)
            continue;
        ssize_t got = recv(call->socket, (char *)bytes + done, count - done, 0);
        if (got == 0 || (got < 0 && errno != EINTR))
            quit(STATUS_BROKEN, "the guest went away while the command ran");
        if (got > 0)
            done += (size_t)got;
    }
}

static void write_all(int file, const char *bytes, size_t count)
{
    for (size_t done = 0; done < count;) {
        ssize_t written = write(file, bytes + done, count - done);
        if (written < 0 && errno != EINTR)
            quit(STATUS_BROKEN, "write: %s", strerror(errno));
        if (written > 0)
            done += (size_t)written;
    }
}

/* Skips what an earlier command has left in the stream, up to the answer to our greeting. */
static void greet(struct call *call)
{
    char last[sizeof(struct lks_frame_head) + sizeof(call->hello)] = {0};
    struct lks_frame_head head = {LKS_FRAME_HELLO, sizeof(call->hello)};
    char wanted[sizeof(last)];

    if (getrandom(call->hello, sizeof(call->hello), 0) != (ssize_t)sizeof(call->hello))
        quit(STATUS_BROKEN, "getrandom: %s", strerror(errno));
    memcpy(wanted, &head, sizeof(head));
    memcpy(wanted + sizeof(head), call->hello, sizeof(call->hello));
    send_frame(call, LKS_FRAME_HELLO, call->hello, sizeof(call->hello));
    while (memcmp(last, wanted, sizeof(last)) != 0) {
        memmove(last, last + 1, sizeof(last) - 1);
        receive_all(call, last + sizeof(last) - 1, 1);
    }
}

static size_t append(struct call *call, size_t at, const char *text)
{
    size_t bytes = strlen(text) + 1;

    if (at + bytes > sizeof(call->payload))
        quit(STATUS_BROKEN, "command and environment: longer than %zu bytes",
             sizeof(call->payload));
    memcpy(call->payload + at, text, bytes);
    return at + bytes;
}

/* WORDS: FOLDER [NAME=VALUE]... -- COMMAND... */
static void send_command(struct call *call, char **words)
{
    size_t bytes = append(call, 0, words[0]);
    int variables = 0;
    char number[16];

    while (words[1 + variables] != NULL && strcmp(words[1 + variables], "--") != 0)
        variables++;
    if (words[1 + variables] == NULL || words[2 + variables] == NULL)
        quit(2, "call: no command");
    snprintf(number, sizeof(number), "%d", variables);
    bytes = append(call, bytes, number);
    for (int i = 0; i < variables; i++)
        bytes = append(call, bytes, words[1 + i]);
    for (char **word = words + 2 + variables; *word != NULL; word++)
        bytes = append(call, bytes, *word);
    send_frame(call, LKS_FRAME_RUN, call->payload, bytes);
}

static int follow(struct call *call)
{
    for (;;) {
        struct lks_frame_head head;
        uint32_t status;
        receive_all(call, &head, sizeof(head));
        if (head.bytes > sizeof(call->payload))
            quit(STATUS_BROKEN, "the guest sent a frame of %u bytes", head.bytes);
        receive_all(call, call->payload, head.bytes);
        switch (head.kind) {
        case LKS_FRAME_OUTPUT:
            write_all(STDOUT_FILENO, call->payload, head.bytes);
            break;
        case LKS_FRAME_ERROR:
            write_all(STDERR_FILENO, call->payload, head.bytes);
            break;
        case LKS_FRAME_EXIT:
            memcpy(&status, call->payload, sizeof(status));
            return (int)status;
        default:
            quit(STATUS_BROKEN, "the guest sent a frame of kind 0x%x", head.kind);
        }
    }
}

int main(int argc, char **argv)
{
    static struct call call = {.deadline_ms = INT64_MAX};
    const char *path = NULL;
    int at = 1;

    for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2) {
        if (strcmp(argv[at], "--socket") == 0)
            path = argv[at + 1];
        else if (strcmp(argv[at], "--timeout") == 0)
            call.deadline_ms = now_ms() + atoll(argv[at + 1]) * 1000;
        else
            break;
    }
    if (path == NULL || at + 2 >= argc) {
        fprintf(stderr, "usage: call --socket PATH [--timeout SECONDS] FOLDER [NAME=VALUE]... "
                        "-- COMMAND...\n");
        return 2;
    }
    connect_to(&call, path);
    greet(&call);
    send_command(&call, argv + at);
    return follow(&call);
}
