/* A client's end of its attachment; see attachment.h. */
#include "node/attachment.h"

#include "base/clock.h"
#include "node/sessions.h"

#include <errno.h>
#include <stdlib.h>

#define LOOKS_BETWEEN_CLOCKS 64u

struct lks_attachment {
    struct lks_lane *lane;
    struct lks_ingress_producer requests;
    struct lks_ingress_consumer replies;
    uint8_t buffer[LKS_INGRESS_COMMAND_MAX];
};

int lks_attachment_open(struct lks_attachment **attachment, struct lks_lane *lane)
{
    struct lks_attachment *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->lane = lane;
    struct lks_fabric *fabric = lks_lane_fabric(lane);
    const uint32_t number = lks_lane_number(lane);
    struct lks_ingress_offer offer;
    lks_ingress_consumer_init(&made->replies, fabric, number, LKS_CLIENT_RING_INCARNATION,
                              made->buffer);
    lks_ingress_consumer_offer(&made->replies, LKS_CLIENT_RING_TERM, &offer);
    lks_ingress_producer_init(&made->requests, fabric, number);
    lks_ingress_producer_open(&made->requests, &offer); /* of the same numbers at the other end */
    *attachment = made;
    return 0;
}

void lks_attachment_close(struct lks_attachment *attachment)
{
    if (attachment != NULL) {
        lks_lane_free(attachment->lane);
        free(attachment);
    }
}

int lks_attachment_push(struct lks_attachment *attachment,
                        const struct lks_attachment_request *request)
{
    const struct lks_ingress_command record = {
        .session = lks_session_make(attachment->requests.peer, (uint64_t)request->kind),
        .sequence = request->number,
        .data = request->data,
        .bytes = request->bytes};
    return lks_ingress_push(&attachment->requests, &record);
}

void lks_attachment_publish(struct lks_attachment *attachment)
{
    /* Broken: _is_alive says so. Busy: _wait, or the next one, tries again. */
    (void)lks_ingress_publish(&attachment->requests, true);
}

int lks_attachment_pop(struct lks_attachment *attachment, struct lks_attachment_reply *reply)
{
    struct lks_ingress_command record;
    const int rc = lks_ingress_pop(&attachment->replies, &record);
    (void)lks_ingress_return_credits(&attachment->replies);
    if (rc != 0) {
        return rc;
    }
    *reply = (struct lks_attachment_reply){.number = record.sequence,
                                           .status = lks_session_incarnation(record.session),
                                           .data = record.data,
                                           .bytes = record.bytes};
    return 0;
}

/* True: something has come within spin_ns. */
static bool spin(const struct lks_attachment *attachment, uint64_t spin_ns)
{
    const uint64_t until_ns = spin_ns != 0 ? lks_clock_monotonic_ns() + spin_ns : 0;
    while (spin_ns != 0) {
        for (uint32_t i = 0; i < LOOKS_BETWEEN_CLOCKS; i++) {
            if (lks_ingress_waits(&attachment->replies)) {
                return true;
            }
            lks_clock_relax();
        }
        if (lks_clock_monotonic_ns() >= until_ns) {
            return false;
        }
    }
    return lks_ingress_waits(&attachment->replies);
}

bool lks_attachment_wait(struct lks_attachment *attachment, uint64_t timeout_ns, uint64_t spin_ns)
{
    const bool all_spun = timeout_ns <= spin_ns;
    if (spin(attachment, all_spun ? timeout_ns : spin_ns) || all_spun) {
        return true;
    }
    const bool may_sleep = lks_lane_arm(attachment->lane);
    /* What a full lane has refused; if it is full still, its getting room ends the sleep. */
    (void)lks_ingress_publish(&attachment->requests, true);
    (void)lks_ingress_return_credits(&attachment->replies);
    if (!may_sleep || lks_ingress_waits(&attachment->replies)) {
        lks_lane_disarm(attachment->lane);
        return lks_lane_is_alive(attachment->lane);
    }
    lks_lane_sleep(attachment->lane, timeout_ns - spin_ns);
    return lks_lane_is_alive(attachment->lane);
}

bool lks_attachment_is_alive(struct lks_attachment *attachment)
{
    return lks_lane_is_alive(attachment->lane);
}
