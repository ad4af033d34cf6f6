/*
 * A gateway that a test plays by hand: it stands in the place of node/attachment.c and of the
 * clock, so a client library linked with it meets exactly the interleavings and the times that the
 * test writes down. Time moves only where the test moves it, and while the client waits. One
 * gateway a process, reset for each test.
 */
#ifndef LKS_TESTS_UNIT_CLIENT_SCRIPTED_GATEWAY_H
#define LKS_TESTS_UNIT_CLIENT_SCRIPTED_GATEWAY_H

#include "lockstep/session.h"
#include "node/attachment.h"

#define SCRIPTED_REQUESTS_MAX 4096u
#define SCRIPTED_SESSION 42u /* the id that OPEN is answered with */

/* A request as it was pushed. */
struct scripted_request {
    uint32_t attachment; /* counted from 1 */
    uint32_t replica;
    uint64_t at_ns;
    enum lks_client_request kind;
    uint64_t number;
    struct lks_session_header header; /* of a call */
    uint8_t first; /* byte of the service's command; 0: there is none */
};

struct scripted_gateway {
    uint64_t now_ns;
    /* What is answered by itself when it is published: OPEN, TOUCH and CLOSE ... */
    bool answers_control;
    bool answers_calls; /* ... and all calls and reads, with "+OK" */
    bool full;          /* takes no request: its ring has no room */
    bool ended;         /* is noticed at the next wait */
    bool damaged;       /* what stands in its ring is no reply */
    int refusal[8];     /* of attaching, by replica */
    void (*on_wait)(uint64_t wait_ns); /* NULL: time passes */

    uint32_t attachments; /* so far */
    uint32_t replica;     /* attached to; 0: none */
    uint64_t slept_ns;    /* without an attachment */
    uint64_t waits;
    uint32_t count; /* requests but OPEN, TOUCH and CLOSE */
    struct scripted_request requests[SCRIPTED_REQUESTS_MAX];
    uint32_t controls_count;
    struct scripted_request controls[SCRIPTED_REQUESTS_MAX];
};

/* Of the present test. */
extern struct scripted_gateway g_gateway;

void scripted_gateway_reset(void);

/* Puts a reply into the client's ring: under the number of a request, with a status of enum
 * lks_client_said and these bytes. */
void scripted_gateway_say(uint64_t number, uint64_t said, const char *text);

/* To request `index`: the answer of its session, or of the read, with the service's `value`. */
void scripted_gateway_answer(uint32_t index, const char *value);

/* To request `index`: a status of enum lks_session_status alone. */
void scripted_gateway_status(uint32_t index, unsigned status);

#endif
