/* The history, replayed in the order of the log; see order.h. */
#include "sim/checkers/order.h"

#include "base/assert.h"

#include <inttypes.h>

static void compare(struct lks_sim_order *order, const struct lks_sim_ordered *next,
                    const struct lks_sim_answer *expected)
{
    const struct lks_sim_answer *got = &next->call->answer;
    /* The texts of errors are the service's own affair. */
    const bool same = got->type == expected->type &&
                      (got->type == '-' ||
                       (got->hash == expected->hash && got->bytes == expected->bytes));
    if (!got->known || same) {
        return;
    }
    char words[64];
    lks_sim_operation_print(&next->call->operation, words, sizeof words);
    lks_sim_verdict_break(order->verdict, "linearizability",
                          "command %" PRIu64 ", %s, at index %" PRIu64 " was answered with %s; "
                          "by its place in the log it is %s",
                          next->number, words, next->index, got->text, expected->text);
}

void lks_sim_order_next(struct lks_sim_order *order, const struct lks_sim_ordered *next)
{
    const struct lks_sim_call *call = next->call;
    LKS_ASSERT(next->index > order->latest_index);
    order->latest_index = next->index;
    order->verdict->checks++;
    struct lks_sim_answer expected;
    lks_sim_model_apply(&order->model, &call->operation, next->time_ns, &expected);
    compare(order, next, &expected);
    if (call->answer.known && call->return_ns < order->latest_call_ns) {
        lks_sim_verdict_break(order->verdict, "linearizability",
                              "command %" PRIu64 " at index %" PRIu64 " had returned at %.6f ms; "
                              "one before it was called at %.6f ms",
                              next->number, next->index, (double)call->return_ns / 1e6,
                              (double)order->latest_call_ns / 1e6);
    }
    if (next->time_ns < order->latest_time_ns) {
        lks_sim_verdict_break(order->verdict, "logged time never goes back",
                              "entry %" PRIu64 " carries %" PRIu64 " ns; one before it %" PRIu64,
                              next->index, next->time_ns, order->latest_time_ns);
    }
    order->latest_time_ns = next->time_ns;
    if (call->call_ns > order->latest_call_ns) {
        order->latest_call_ns = call->call_ns;
    }
    if (call->refused) {
        lks_sim_verdict_break(order->verdict, "refused is not executed",
                              "command %" PRIu64 " was refused; it stands at index %" PRIu64,
                              next->number, next->index);
    }
}
