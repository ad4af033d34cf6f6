/* Calls and their answers; see lockstep/client.h and internal.h. */
#include "base/clock.h"
#include "client/library/internal.h"

#include <errno.h>
#include <stdlib.h>

#define REPLICAS_DEFAULT 7u
#define TIMEOUT_DEFAULT_NS (10 * LKS_NS_PER_S)
#define LEASE_DEFAULT_MS 60000u
#define CLOSE_NS LKS_NS_PER_S
#define ATTACH_MAX_NS (250 * LKS_NS_PER_MS)

_Static_assert(LKS_CLIENT_OUTSTANDING_MAX == LKS_SESSION_WINDOW, "replies are kept for all");
_Static_assert(LKS_CLIENT_COMMAND_MAX + sizeof(struct lks_session_header) <=
                   LKS_INGRESS_COMMAND_MAX,
               "a command fits a record");

const char *lks_client_status_text(int status)
{
    switch (status) {
    case LKS_CLIENT_OK:
        return "done";
    case LKS_CLIENT_BUSY:
        return "as many calls as may be are unanswered: poll first";
    case LKS_CLIENT_TOO_BIG:
        return "no effect: the command is longer than the cluster's entry_bytes_max";
    case LKS_CLIENT_NOT_A_READ:
        return "no effect: the command changes something: make it a call";
    case LKS_CLIENT_TIMEOUT:
        return "no answer in time: the command may take effect yet, once";
    case LKS_CLIENT_REPLY_LOST:
        return "the command took effect, once; its reply was not kept";
    case LKS_CLIENT_REPLY_TOO_BIG:
        return "the reply is too long for a client on the fabric: ask over TCP";
    case LKS_CLIENT_SESSION_LOST:
        return "no effect: the session has ended: connect anew";
    case LKS_CLIENT_OUTCOME_UNKNOWN:
        return "the session ended meanwhile: whether the command took effect cannot be known";
    case LKS_CLIENT_SESSIONS_FULL:
        return "the cluster has as many clients as it may: close some, or wait for their leases";
    case LKS_CLIENT_REFUSED:
        return "the replica does not take this client: use one version, and one user, or over RDMA "
               "the cluster's client_key";
    case LKS_CLIENT_FORBIDDEN:
        return "no effect: the replica's configuration does not allow this command: set "
               "`debug_commands: yes` there";
    default:
        return lks_error_text(status);
    }
}

/* ---- calls ---------------------------------------------------------------------------------- */

void lks_client_tell(struct lks_client *client, struct lks_client_call *call, int status,
                     const void *reply, size_t bytes)
{
    const lks_client_answered answered = call->answered;
    call->answered = NULL;
    client->ended++;
    if (answered != NULL) { /* it may give more: the call is not looked at any more */
        answered(call->ctx, status, status == LKS_CLIENT_OK ? reply : NULL,
                 status == LKS_CLIENT_OK ? bytes : 0);
    }
}

void lks_client_finish(struct lks_client *client, struct lks_client_call *call, int status,
                       const void *reply, size_t bytes)
{
    const bool told = lks_client_is_skipped(call);
    call->done = true;
    while (client->head < client->tail && lks_client_call_at(client, client->head)->done) {
        client->head++;
    }
    if (!told) {
        lks_client_tell(client, call, status, reply, bytes);
    }
}

static int reserve(struct lks_client_call *call, size_t bytes)
{
    if (bytes > call->message_capacity) {
        uint8_t *grown = realloc(call->message, bytes);
        if (grown == NULL) {
            return -ENOMEM;
        }
        call->message = grown;
        call->message_capacity = bytes;
    }
    call->message_bytes = bytes;
    return 0;
}

/* Takes a call into the ring. */
static int take(struct lks_client *client, bool write, const void *command, size_t bytes,
                struct lks_client_call **taken)
{
    const size_t before = write ? sizeof(struct lks_session_header) : 0;
    if (bytes > LKS_CLIENT_COMMAND_MAX) {
        return LKS_CLIENT_TOO_BIG;
    }
    if (bytes == 0 || lks_session_is_command(command, bytes)) {
        return -EINVAL; /* no service's command */
    }
    if (write && client->lost) {
        return LKS_CLIENT_SESSION_LOST;
    }
    if (client->tail - client->head == LKS_CLIENT_OUTSTANDING_MAX) {
        return LKS_CLIENT_BUSY;
    }
    struct lks_client_call *call = lks_client_call_at(client, client->tail);
    if (reserve(call, before + bytes) != 0) {
        return -ENOMEM;
    }
    memcpy(call->message + before, command, bytes);
    call->write = write;
    call->done = false;
    call->sendings = 0;
    call->number = 0;
    call->sequence = write ? ++client->sequences : 0;
    client->tail++;
    *taken = call;
    return 0;
}

static int give(struct lks_client *client, bool write, const struct lks_client_answer *command,
                lks_client_answered answered, void *ctx)
{
    struct lks_client_call *call = NULL;
    const int rc = take(client, write, command->data, command->bytes, &call);
    if (rc == 0) {
        call->answered = answered;
        call->ctx = ctx;
    }
    return rc;
}

int lks_client_call_async(struct lks_client *client, const void *command, size_t bytes,
                          lks_client_answered answered, void *ctx)
{
    const struct lks_client_answer given = {.data = (void *)(uintptr_t)command, .bytes = bytes};
    return give(client, true, &given, answered, ctx);
}

int lks_client_read_async(struct lks_client *client, const void *command, size_t bytes,
                          lks_client_answered answered, void *ctx)
{
    const struct lks_client_answer given = {.data = (void *)(uintptr_t)command, .bytes = bytes};
    return give(client, false, &given, answered, ctx);
}

int lks_client_poll(struct lks_client *client, uint64_t wait_ns)
{
    const uint64_t began_ns = lks_clock_monotonic_ns();
    const uint64_t ended = client->ended;
    client->until_ns = wait_ns <= UINT64_MAX - began_ns ? began_ns + wait_ns : UINT64_MAX;
    for (;;) {
        lks_client_exchange(client);
        const uint64_t spent_ns = lks_clock_monotonic_ns() - began_ns;
        if (client->ended > ended || spent_ns >= wait_ns) {
            return (int)(client->ended - ended);
        }
        lks_client_wait(client, wait_ns - spent_ns);
    }
}

/* ---- one at a time -------------------------------------------------------------------------- */

struct waiting {
    struct lks_client_answer *answer;
    bool done;
    int status;
};

static void on_answer(void *ctx, int status, const void *reply, size_t bytes)
{
    struct waiting *waiting = ctx;
    struct lks_client_answer *answer = waiting->answer;
    waiting->done = true;
    waiting->status = status;
    answer->bytes = 0;
    if (bytes > answer->capacity) {
        void *grown = realloc(answer->data, bytes);
        if (grown == NULL) {
            waiting->status = LKS_CLIENT_REPLY_LOST;
            return;
        }
        answer->data = grown;
        answer->capacity = bytes;
    }
    if (bytes > 0) {
        memcpy(answer->data, reply, bytes);
        answer->bytes = bytes;
    }
}

/* The caller has given up: whatever comes is for nobody. */
static void abandon(struct lks_client *client, const struct waiting *waiting)
{
    for (uint64_t at = client->head; at < client->tail; at++) {
        struct lks_client_call *call = lks_client_call_at(client, at);
        if (call->answered == on_answer && call->ctx == waiting) {
            call->answered = NULL;
        }
    }
}

static int give_and_wait(struct lks_client *client, bool write,
                         const struct lks_client_answer *command,
                         struct lks_client_answer *answer)
{
    struct waiting waiting = {.answer = answer};
    const uint64_t until_ns = lks_clock_monotonic_ns() + client->options.timeout_ns;
    answer->bytes = 0;
    int rc = give(client, write, command, on_answer, &waiting);
    for (uint64_t now_ns = lks_clock_monotonic_ns(); rc == LKS_CLIENT_BUSY && now_ns < until_ns;
         now_ns = lks_clock_monotonic_ns()) {
        (void)lks_client_poll(client, until_ns - now_ns);
        rc = give(client, write, command, on_answer, &waiting);
    }
    if (rc != 0) {
        return rc;
    }
    for (;;) {
        const uint64_t now_ns = lks_clock_monotonic_ns();
        if (waiting.done) {
            return waiting.status;
        }
        if (now_ns >= until_ns) {
            abandon(client, &waiting);
            return LKS_CLIENT_TIMEOUT;
        }
        (void)lks_client_poll(client, until_ns - now_ns);
    }
}

int lks_client_call(struct lks_client *client, const void *command, size_t bytes,
                    struct lks_client_answer *answer)
{
    const struct lks_client_answer given = {.data = (void *)(uintptr_t)command, .bytes = bytes};
    return give_and_wait(client, true, &given, answer);
}

int lks_client_read(struct lks_client *client, const void *command, size_t bytes,
                    struct lks_client_answer *answer)
{
    const struct lks_client_answer given = {.data = (void *)(uintptr_t)command, .bytes = bytes};
    return give_and_wait(client, false, &given, answer);
}

/* ---- life ----------------------------------------------------------------------------------- */

static int check_options(struct lks_client_options *options)
{
    options->replicas = options->replicas != 0 ? options->replicas : REPLICAS_DEFAULT;
    options->first = options->first != 0 ? options->first : 1;
    options->timeout_ns = options->timeout_ns != 0 ? options->timeout_ns : TIMEOUT_DEFAULT_NS;
    options->lease_ms = options->lease_ms != 0 ? options->lease_ms : LEASE_DEFAULT_MS;
    const bool sound = options->replicas <= REPLICAS_DEFAULT &&
                       options->first <= options->replicas &&
                       options->lease_ms >= LKS_SESSION_LEASE_MS_MIN &&
                       options->lease_ms <= LKS_SESSION_LEASE_MS_MAX;
    return sound ? 0 : -EINVAL;
}

static void release(struct lks_client *client)
{
    lks_attachment_close(client->attachment);
    for (uint32_t i = 0; i < LKS_CLIENT_OUTSTANDING_MAX; i++) {
        free(client->calls[i].message);
    }
    free((char *)(uintptr_t)client->options.directory);
    free(client->places);
    free(client);
}

static int open_session(struct lks_client *client)
{
    const uint64_t until_ns = lks_clock_monotonic_ns() + client->options.timeout_ns;
    client->until_ns = until_ns;
    while (client->session == 0) {
        const uint64_t now_ns = lks_clock_monotonic_ns();
        if (client->full) {
            return LKS_CLIENT_SESSIONS_FULL;
        }
        if (lks_client_is_refused(client)) {
            return LKS_CLIENT_REFUSED;
        }
        if (now_ns >= until_ns) {
            return client->attachments != 0               ? LKS_CLIENT_TIMEOUT
                   : client->refused_by != 0              ? LKS_CLIENT_REFUSED
                   : client->attach_status == -LKS_EBUSY ? LKS_CLIENT_SESSIONS_FULL
                                                          : client->attach_status;
        }
        lks_client_exchange(client);
        const uint64_t then_ns = lks_clock_monotonic_ns(); /* attaching may have taken long */
        if (client->session == 0 && then_ns < until_ns) {
            lks_client_wait(client, until_ns - then_ns);
        }
    }
    return 0;
}

static int attach_shm(const struct lks_client *client, uint32_t replica, uint64_t timeout_ns,
                      struct lks_attachment **attachment)
{
    const struct lks_attachment_shm_options options = {.directory = client->options.directory,
                                                       .replica = replica,
                                                       .timeout_ns = timeout_ns};
    return lks_attachment_open_shm(attachment, &options);
}

static const struct lks_client_way g_shm = {.attach_max_ns = ATTACH_MAX_NS, .attach = attach_shm};

int lks_client_connect_by(struct lks_client **client, const struct lks_client_options *options,
                          const struct lks_client_way *way, void *places)
{
    struct lks_client *made = calloc(1, sizeof *made);
    if (made == NULL) {
        free(places);
        return -ENOMEM;
    }
    made->options = *options;
    made->options.directory = NULL;
    made->way = way;
    made->places = places;
    int rc = check_options(&made->options);
    if (rc == 0 && options->directory != NULL) {
        made->options.directory = strdup(options->directory);
        rc = made->options.directory != NULL ? 0 : -ENOMEM;
    }
    if (rc == 0) {
        rc = lks_client_draw_nonce(made);
    }
    if (rc == 0) {
        made->replica = made->options.first - 1; /* the next one is tried */
        rc = open_session(made);
    }
    if (rc != 0) {
        release(made);
        return rc;
    }
    *client = made;
    return 0;
}

int lks_client_connect(struct lks_client **client, const struct lks_client_options *options)
{
    return options->directory != NULL ? lks_client_connect_by(client, options, &g_shm, NULL)
                                      : -EINVAL;
}

void lks_client_close(struct lks_client *client)
{
    if (client == NULL) {
        return;
    }
    uint64_t now_ns = lks_clock_monotonic_ns();
    const uint64_t until_ns = now_ns + CLOSE_NS;
    client->until_ns = until_ns;
    for (uint64_t at = client->head; at < client->tail; at++) {
        lks_client_call_at(client, at)->answered = NULL;
    }
    /* Behind what is unanswered, which takes effect or not as it may. */
    bool asked = false;
    for (; !client->lost && now_ns < until_ns; now_ns = lks_clock_monotonic_ns()) {
        if (!asked && client->control.kind == 0 && client->head == client->tail) {
            client->control = (struct lks_client_control){.kind = LKS_SESSION_CLOSE};
            asked = true;
        } else if (asked && client->control.kind == 0) {
            break;
        }
        lks_client_exchange(client);
        if (client->control.kind != 0 || client->head != client->tail) {
            const uint64_t then_ns = lks_clock_monotonic_ns();
            lks_client_wait(client, then_ns < until_ns ? until_ns - then_ns : 0);
        }
    }
    release(client);
}

void lks_client_state(const struct lks_client *client, struct lks_client_state *state)
{
    *state = (struct lks_client_state){
        .replica = client->attachment != NULL ? client->replica : 0,
        .outstanding = (uint32_t)(client->tail - client->head),
        .session_lost = client->lost,
        .attachments = client->attachments,
        .repeated = client->repeated,
    };
}
