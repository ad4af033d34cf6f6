/* The history, replayed in the order of the log; see order.h. */
#include "sim/checkers/order.h"

#include "base/assert.h"

#include <inttypes.h>

static bool answers(struct lks_sim_order *order, const struct lks_history_operation *operation)
{
    const bool known = operation->known;
    bool *present = &order->keys[operation->key].present;
    int64_t *value = &order->keys[operation->key].value;
    bool right = true;
    switch (operation->kind) {
    case LKS_HISTORY_GET:
        right = operation->present == *present && (!*present || operation->value == *value);
        break;
    case LKS_HISTORY_SET:
        *present = true;
        *value = operation->argument;
        break;
    case LKS_HISTORY_INCR:
        *value = (*present ? *value : 0) + operation->argument;
        *present = true;
        right = operation->value == *value;
        break;
    case LKS_HISTORY_DEL:
        right = operation->present == *present;
        *present = false;
        break;
    }
    return right || !known;
}

void lks_sim_order_next(struct lks_sim_order *order, const struct lks_sim_ordered *next)
{
    const struct lks_history_operation *operation = next->operation;
    LKS_ASSERT(operation->key < sizeof order->keys / sizeof order->keys[0]);
    LKS_ASSERT(next->index > order->latest_index);
    order->latest_index = next->index;
    if (!answers(order, operation)) {
        lks_sim_verdict_break(order->verdict, "linearizability",
                              "the command at index %" PRIu64 " (key %" PRIu64 ", kind %d) was "
                              "answered with %" PRId64 ", which its place in the log denies",
                              next->index, operation->key, (int)operation->kind,
                              operation->value);
    }
    if (operation->known && operation->return_ns < order->latest_call_ns) {
        lks_sim_verdict_break(order->verdict, "linearizability",
                              "the command at index %" PRIu64 " had returned at %" PRIu64
                              " ns; one before it was called at %" PRIu64 " ns",
                              next->index, operation->return_ns, order->latest_call_ns);
    }
    if (operation->call_ns > order->latest_call_ns) {
        order->latest_call_ns = operation->call_ns;
    }
}
