/* A gateway that a test plays by hand; see scripted_gateway.h. */
#include "tests/unit/client/scripted_gateway.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLIES_MAX 512u
#define REPLY_BYTES_MAX 64u

struct lks_attachment {
    uint32_t ordinal;
};

struct said {
    uint64_t number;
    uint64_t status;
    uint32_t bytes;
    char data[REPLY_BYTES_MAX];
};

struct scripted_gateway g_gateway;
static struct said g_said[REPLIES_MAX];
static uint32_t g_said_count;
static uint32_t g_said_taken;
static uint32_t g_published; /* requests, and of control */
static uint32_t g_published_controls;

static void check(bool holds, const char *what)
{
    if (!holds) { /* not cmocka's: it is called from inside the library */
        fprintf(stderr, "scripted gateway: %s\n", what);
        abort();
    }
}

void scripted_gateway_reset(void)
{
    memset(&g_gateway, 0, sizeof g_gateway);
    g_gateway.now_ns = LKS_NS_PER_S;
    g_gateway.answers_control = true;
    g_said_count = g_said_taken = g_published = g_published_controls = 0;
}

/* ---- the clock ------------------------------------------------------------------------------ */

uint64_t lks_clock_monotonic_ns(void)
{
    return g_gateway.now_ns;
}

uint64_t lks_clock_realtime_ns(void)
{
    return g_gateway.now_ns;
}

void lks_clock_sleep_ns(uint64_t ns)
{
    g_gateway.now_ns += ns;
    g_gateway.slept_ns += ns;
}

/* ---- what the gateway says ------------------------------------------------------------------ */

void scripted_gateway_say(uint64_t number, uint64_t said, const char *text)
{
    check(g_said_count < REPLIES_MAX && strlen(text) < REPLY_BYTES_MAX, "a reply has no room");
    struct said *here = &g_said[g_said_count++];
    *here = (struct said){.number = number, .status = said, .bytes = (uint32_t)strlen(text)};
    memcpy(here->data, text, here->bytes);
}

void scripted_gateway_answer(uint32_t index, const char *value)
{
    char text[REPLY_BYTES_MAX];
    check(index < g_gateway.count, "no such request");
    const struct scripted_request *request = &g_gateway.requests[index];
    (void)snprintf(text, sizeof text, "%s%s",
                   request->kind == LKS_CLIENT_REQUEST_CALL ? LKS_SESSION_OK_PREFIX : "", value);
    scripted_gateway_say(request->number, LKS_CLIENT_SAID_OK, text);
}

void scripted_gateway_status(uint32_t index, unsigned status)
{
    char text[16];
    check(index < g_gateway.count, "no such request");
    (void)snprintf(text, sizeof text, "*1\r\n:%u\r\n", status);
    scripted_gateway_say(g_gateway.requests[index].number, LKS_CLIENT_SAID_OK, text);
}

/* ---- in the place of node/attachment.c ------------------------------------------------------ */

int lks_attachment_open_shm(struct lks_attachment **attachment,
                            const struct lks_attachment_shm_options *options)
{
    check(g_gateway.replica == 0, "two attachments at a time");
    if (g_gateway.refusal[options->replica] != 0) {
        return g_gateway.refusal[options->replica];
    }
    struct lks_attachment *made = calloc(1, sizeof *made);
    check(made != NULL, "no memory");
    g_gateway.attachments++;
    g_gateway.replica = options->replica;
    g_gateway.ended = g_gateway.damaged = false;
    g_said_count = g_said_taken = 0; /* what the last one said is gone */
    g_published = g_gateway.count;
    g_published_controls = g_gateway.controls_count;
    made->ordinal = g_gateway.attachments;
    *attachment = made;
    return 0;
}

void lks_attachment_close(struct lks_attachment *attachment)
{
    if (attachment != NULL) {
        check(attachment->ordinal == g_gateway.attachments, "not the present attachment");
        g_gateway.replica = 0;
        free(attachment);
    }
}

static bool is_control(const struct lks_session_header *header)
{
    return header->kind == LKS_SESSION_OPEN || header->kind == LKS_SESSION_TOUCH ||
           header->kind == LKS_SESSION_CLOSE;
}

int lks_attachment_push(struct lks_attachment *attachment,
                        const struct lks_attachment_request *request)
{
    struct scripted_request made = {.attachment = attachment->ordinal,
                                    .replica = g_gateway.replica,
                                    .at_ns = g_gateway.now_ns,
                                    .kind = request->kind,
                                    .number = request->number};
    size_t before = 0;
    if (g_gateway.full) {
        return -LKS_EBUSY;
    }
    if (request->kind == LKS_CLIENT_REQUEST_CALL) {
        check(lks_session_decode(request->data, request->bytes, &made.header),
              "a call is no command of a session");
        before = sizeof made.header;
    }
    made.first = request->bytes > before ? ((const uint8_t *)request->data)[before] : 0;
    const bool control = request->kind == LKS_CLIENT_REQUEST_CALL && is_control(&made.header);
    uint32_t *count = control ? &g_gateway.controls_count : &g_gateway.count;
    check(*count < SCRIPTED_REQUESTS_MAX, "a request has no room");
    (control ? g_gateway.controls : g_gateway.requests)[*count] = made;
    ++*count;
    return 0;
}

static void answer_control(const struct scripted_request *request)
{
    char text[REPLY_BYTES_MAX];
    if (request->header.kind == LKS_SESSION_OPEN) {
        (void)snprintf(text, sizeof text, LKS_SESSION_OK_PREFIX ":%u\r\n", SCRIPTED_SESSION);
    } else {
        (void)snprintf(text, sizeof text, LKS_SESSION_OK_PREFIX "_\r\n");
    }
    scripted_gateway_say(request->number, LKS_CLIENT_SAID_OK, text);
}

void lks_attachment_publish(struct lks_attachment *attachment)
{
    (void)attachment;
    for (; g_published_controls < g_gateway.controls_count; g_published_controls++) {
        if (g_gateway.answers_control) {
            answer_control(&g_gateway.controls[g_published_controls]);
        }
    }
    for (; g_published < g_gateway.count; g_published++) {
        if (g_gateway.answers_calls) {
            scripted_gateway_answer(g_published, "+OK\r\n");
        }
    }
}

int lks_attachment_pop(struct lks_attachment *attachment, struct lks_attachment_reply *reply)
{
    (void)attachment;
    if (g_gateway.damaged) {
        return -EBADMSG;
    }
    if (g_said_taken == g_said_count) {
        g_said_taken = g_said_count = 0;
        return -ENODATA;
    }
    const struct said *here = &g_said[g_said_taken++];
    *reply = (struct lks_attachment_reply){.number = here->number,
                                           .status = here->status,
                                           .data = here->data,
                                           .bytes = here->bytes};
    return 0;
}

bool lks_attachment_wait(struct lks_attachment *attachment, uint64_t timeout_ns, uint64_t spin_ns)
{
    (void)attachment;
    (void)spin_ns;
    g_gateway.waits++;
    if (g_said_taken < g_said_count) {
        return true;
    }
    if (g_gateway.on_wait != NULL) {
        g_gateway.on_wait(timeout_ns);
    }
    if (!g_gateway.ended && g_said_taken == g_said_count) {
        g_gateway.now_ns += timeout_ns;
    }
    return !g_gateway.ended;
}

bool lks_attachment_is_alive(struct lks_attachment *attachment)
{
    (void)attachment;
    return !g_gateway.ended;
}
