/* A gateway and a leader joined by an ingress ring; see ingress_rig.h. */
#include "tests/unit/node/ingress_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void rig_new(struct ingress_rig *f, const struct fake_net_options *given)
{
    memset(f, 0, sizeof *f);
    struct fake_net_options options = *given;
    options.replicas = 2;
    options.inbox_bytes = LKS_REPLICA_INBOX_BYTES;
    options.outstanding_max = options.outstanding_max == 0 ? 64 : options.outstanding_max;
    options.seed = options.seed == 0 ? 1 : options.seed;
    f->net = fake_net_new(&options);
    f->buffer = malloc(LKS_INGRESS_COMMAND_MAX);
    f->data = malloc(LKS_INGRESS_COMMAND_MAX + 1);
    assert_non_null(f->buffer);
    assert_non_null(f->data);
    fake_net_join(f->net, GATEWAY, LEADER);
    lks_ingress_producer_init(&f->producer, fake_net_fabric(f->net, GATEWAY), LEADER);
    lks_ingress_consumer_init(&f->consumer, fake_net_fabric(f->net, LEADER), GATEWAY, 3,
                              f->buffer);
}

void rig_open(struct ingress_rig *f)
{
    rig_new(f, &(struct fake_net_options){0});
    lks_ingress_consumer_offer(&f->consumer, 1, &f->offer);
    lks_ingress_producer_open(&f->producer, &f->offer);
}

void rig_free(struct ingress_rig *f)
{
    fake_net_free(f->net);
    free(f->buffer);
    free(f->data);
}

/* The size of command n is part of its content: what is popped is compared in full. */
static uint32_t fill(uint8_t *data, uint64_t sequence, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        data[i] = (uint8_t)(sequence * 37 + i * 11 + (i >> 9));
    }
    return bytes;
}

int rig_push(struct ingress_rig *f, uint32_t bytes)
{
    const struct lks_ingress_command command = {
        .session = SESSION,
        .sequence = f->pushed + 1,
        .data = f->data,
        .bytes = fill(f->data, f->pushed + 1, bytes),
    };
    const int rc = lks_ingress_push(&f->producer, &command);
    f->pushed += rc == 0 ? 1 : 0;
    return rc;
}

void rig_push_through(struct ingress_rig *f, uint32_t bytes)
{
    int rc = rig_push(f, bytes);
    for (int i = 0; rc == -LKS_EBUSY && i < 10000; i++) {
        fake_net_deliver_all(f->net);
        rc = rig_push(f, bytes);
    }
    assert_int_equal(rc, 0);
    rc = lks_ingress_publish(&f->producer, false);
    for (int i = 0; rc == -LKS_EBUSY && i < 10000; i++) {
        fake_net_deliver_all(f->net);
        rc = lks_ingress_publish(&f->producer, false);
    }
    assert_int_equal(rc, 0);
    fake_net_deliver_all(f->net);
}

int rig_pop(struct ingress_rig *f)
{
    struct lks_ingress_command command;
    const int rc = lks_ingress_pop(&f->consumer, &command);
    if (rc != 0) {
        return rc;
    }
    assert_int_equal(command.session, SESSION);
    assert_int_equal(command.sequence, f->popped + 1);
    assert_true(command.sequence <= f->pushed);
    uint8_t *expected = malloc(command.bytes + 1);
    assert_non_null(expected);
    fill(expected, command.sequence, command.bytes);
    assert_memory_equal(command.data, expected, command.bytes);
    free(expected);
    f->popped++;
    return 0;
}

uint8_t *rig_ring(struct ingress_rig *f)
{
    uint8_t *inbox = lks_fabric_inbox(fake_net_fabric(f->net, LEADER), GATEWAY);
    return inbox + LKS_INGRESS_RING_OFFSET;
}

struct lks_ingress_words *rig_words(struct ingress_rig *f, uint32_t replica)
{
    uint8_t *inbox =
        lks_fabric_inbox(fake_net_fabric(f->net, replica), GATEWAY + LEADER - replica);
    return (struct lks_ingress_words *)(void *)(inbox + LKS_INGRESS_OFFSET);
}
