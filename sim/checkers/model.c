/* The reference model; see model.h. */
#include "sim/checkers/model.h"

#include "base/assert.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_US UINT64_C(1000)
#define US_PER_S UINT64_C(1000000)
#define NS_PER_MS UINT64_C(1000000)
#define REPLY_BYTES_MAX (LKS_SIM_LARGE_VALUE_BYTES_MAX + 64u)

struct reply {
    char bytes[REPLY_BYTES_MAX];
    size_t count;
};

static void say(struct reply *reply, const char *text)
{
    reply->count = strlen(text);
    memcpy(reply->bytes, text, reply->count);
}

static void say_integer(struct reply *reply, int64_t value)
{
    reply->count = (size_t)snprintf(reply->bytes, sizeof reply->bytes, ":%" PRId64 "\r\n", value);
}

static bool is_there(const struct lks_sim_model *model, uint32_t key, uint64_t time_ns)
{
    const uint64_t expires_ms = model->keys[key].expires_ms;
    return model->keys[key].present && (expires_ms == 0 || time_ns / NS_PER_MS <= expires_ms);
}

static void say_value(struct reply *reply, const struct lks_sim_model *model, uint32_t key,
                      uint64_t time_ns)
{
    if (!is_there(model, key, time_ns)) {
        say(reply, "_\r\n");
        return;
    }
    const uint32_t bytes = model->keys[key].bytes;
    const int head = snprintf(reply->bytes, 16, "$%" PRIu32 "\r\n", bytes);
    memcpy(reply->bytes + head, model->keys[key].value, bytes);
    memcpy(reply->bytes + head + bytes, "\r\n", 2);
    reply->count = (size_t)head + bytes + 2;
}

static void say_time(struct reply *reply, uint64_t time_ns)
{
    char seconds[24];
    char rest[24];
    const uint64_t us = time_ns / NS_PER_US;
    const int a = snprintf(seconds, sizeof seconds, "%" PRIu64, us / US_PER_S);
    const int b = snprintf(rest, sizeof rest, "%" PRIu64, us % US_PER_S);
    reply->count = (size_t)snprintf(reply->bytes, sizeof reply->bytes,
                                    "*2\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", a, seconds, b, rest);
}

static void set(struct lks_sim_model *model, const struct lks_sim_operation *operation)
{
    model->keys[operation->key].present = true;
    model->keys[operation->key].expires_ms = 0;
    model->keys[operation->key].bytes =
        (uint32_t)lks_sim_operation_value(operation, model->keys[operation->key].value);
}

static void append(struct lks_sim_model *model, const struct lks_sim_operation *operation,
                   struct reply *reply)
{
    char value[LKS_SIM_LARGE_FILLER_BYTES_MAX + 32];
    const uint32_t key = operation->key;
    const size_t added = lks_sim_operation_value(operation, value);
    const size_t before = model->keys[key].present ? model->keys[key].bytes : 0;
    if (before + added > lks_sim_operation_value_max(operation)) {
        say(reply, "-ERR\r\n");
        return;
    }
    memcpy(model->keys[key].value + before, value, added);
    model->keys[key].present = true;
    model->keys[key].bytes = (uint32_t)(before + added);
    say_integer(reply, (int64_t)(before + added));
}

static void add(struct lks_sim_model *model, uint32_t key, int64_t amount, struct reply *reply)
{
    char text[32] = "0";
    if (model->keys[key].present) {
        LKS_ASSERT(model->keys[key].bytes < sizeof text);
        memcpy(text, model->keys[key].value, model->keys[key].bytes);
        text[model->keys[key].bytes] = '\0';
    }
    const int64_t value = strtoll(text, NULL, 10) + amount;
    model->keys[key].present = true;
    model->keys[key].bytes =
        (uint32_t)snprintf(model->keys[key].value, sizeof text, "%" PRId64, value);
    say_integer(reply, value);
}

static bool take_away(struct lks_sim_model *model, uint32_t key)
{
    const bool present = model->keys[key].present;
    model->keys[key].present = false;
    model->keys[key].bytes = 0;
    model->keys[key].expires_ms = 0;
    return present;
}

static void set_if(struct lks_sim_model *model, const struct lks_sim_operation *operation,
                   bool present, struct reply *reply)
{
    if (model->keys[operation->key].present != present) {
        say(reply, "_\r\n");
        return;
    }
    set(model, operation);
    say(reply, "+OK\r\n");
}

/* The second key's value is the argument alone. */
static bool set_both(struct lks_sim_model *model, const struct lks_sim_operation *operation)
{
    const uint32_t other = operation->other;
    if (model->keys[operation->key].present || model->keys[other].present) {
        return false;
    }
    set(model, operation);
    model->keys[other].present = true;
    model->keys[other].expires_ms = 0;
    model->keys[other].bytes = (uint32_t)snprintf(
        model->keys[other].value, sizeof model->keys[other].value, "%" PRId64,
        operation->argument);
    return true;
}

static int64_t count_present(const struct lks_sim_model *model, uint64_t time_ns)
{
    int64_t count = 0;
    for (uint32_t key = 0; key < LKS_SIM_KEYS; key++) {
        count += is_there(model, key, time_ns);
    }
    return count;
}

static void remove_keys(struct lks_sim_model *model, const struct lks_sim_operation *operation,
                        struct reply *reply)
{
    int64_t count = take_away(model, operation->key);
    if (lks_sim_operation_is_double(operation)) {
        count += take_away(model, operation->other);
    }
    say_integer(reply, count);
}

static void remove_all(struct lks_sim_model *model, struct reply *reply)
{
    for (uint32_t key = 0; key < LKS_SIM_KEYS; key++) {
        (void)take_away(model, key);
    }
    say(reply, "+OK\r\n");
}

/* -2: there is no such key; -1: it never expires. */
static int64_t time_left_ms(const struct lks_sim_model *model, uint32_t key, uint64_t time_ns)
{
    if (!is_there(model, key, time_ns)) {
        return -2;
    }
    const uint64_t expires_ms = model->keys[key].expires_ms;
    return expires_ms == 0 ? -1 : (int64_t)(expires_ms - time_ns / NS_PER_MS);
}

static void set_expiring(struct lks_sim_model *model, const struct lks_sim_operation *operation,
                         uint64_t time_ns)
{
    set(model, operation);
    model->keys[operation->key].expires_ms =
        time_ns / NS_PER_MS + lks_sim_operation_lifetime_ms(operation);
}

static void set_keeping(struct lks_sim_model *model, const struct lks_sim_operation *operation)
{
    const uint64_t expires_ms = model->keys[operation->key].expires_ms;
    set(model, operation);
    model->keys[operation->key].expires_ms = expires_ms;
}

static bool expire(struct lks_sim_model *model, const struct lks_sim_operation *operation,
                   uint64_t time_ns)
{
    const uint32_t key = operation->key;
    if (model->keys[key].present) {
        model->keys[key].expires_ms =
            time_ns / NS_PER_MS + lks_sim_operation_lifetime_ms(operation);
    }
    return model->keys[key].present;
}

static bool persist(struct lks_sim_model *model, uint32_t key)
{
    const bool expires = model->keys[key].expires_ms != 0;
    model->keys[key].expires_ms = 0;
    return expires;
}

/* What the time of an entry makes go, before the entry. */
static void pass_time(struct lks_sim_model *model, uint64_t time_ns)
{
    for (uint32_t key = 0; key < LKS_SIM_KEYS; key++) {
        if (!is_there(model, key, time_ns)) {
            (void)take_away(model, key);
        }
    }
}

static void look(const struct lks_sim_model *model, const struct lks_sim_operation *operation,
                 uint64_t time_ns, struct reply *reply)
{
    const uint32_t key = operation->key;
    const int64_t left = time_left_ms(model, key, time_ns);
    switch (lks_sim_operation_kind(operation)) {
    case LKS_SIM_EXISTS:
        say_integer(reply, is_there(model, key, time_ns) +
                               (lks_sim_operation_is_double(operation) &&
                                is_there(model, operation->other, time_ns)));
        return;
    case LKS_SIM_STRLEN:
        say_integer(reply, is_there(model, key, time_ns) ? model->keys[key].bytes : 0);
        return;
    case LKS_SIM_DBSIZE:
        say_integer(reply, count_present(model, time_ns));
        return;
    case LKS_SIM_TTL:
        say_integer(reply, left < 0 ? left : (left + 500) / 1000);
        return;
    case LKS_SIM_PTTL:
        say_integer(reply, left);
        return;
    case LKS_SIM_TIME:
        say_time(reply, time_ns);
        return;
    default:
        say_value(reply, model, key, time_ns);
        return;
    }
}

void lks_sim_model_apply(struct lks_sim_model *model, const struct lks_sim_operation *operation,
                         uint64_t time_ns, struct lks_sim_answer *expected)
{
    struct reply reply; /* large: only what is said is set */
    reply.count = 0;
    if (!lks_sim_operation_is_read(operation)) {
        pass_time(model, time_ns);
    }
    switch (lks_sim_operation_kind(operation)) {
    case LKS_SIM_SET:
        set(model, operation);
        say(&reply, "+OK\r\n");
        break;
    case LKS_SIM_SET_ABSENT:
        set_if(model, operation, false, &reply);
        break;
    case LKS_SIM_SET_PRESENT:
        set_if(model, operation, true, &reply);
        break;
    case LKS_SIM_SET_GET:
        say_value(&reply, model, operation->key, time_ns);
        set(model, operation);
        break;
    case LKS_SIM_SET_BOTH_ABSENT:
        say_integer(&reply, set_both(model, operation));
        break;
    case LKS_SIM_SET_EXPIRING:
        set_expiring(model, operation, time_ns);
        say(&reply, "+OK\r\n");
        break;
    case LKS_SIM_SET_KEEPING:
        set_keeping(model, operation);
        say(&reply, "+OK\r\n");
        break;
    case LKS_SIM_EXPIRE:
        say_integer(&reply, expire(model, operation, time_ns));
        break;
    case LKS_SIM_PERSIST:
        say_integer(&reply, persist(model, operation->key));
        break;
    case LKS_SIM_APPEND:
        append(model, operation, &reply);
        break;
    case LKS_SIM_ADD:
        add(model, operation->key, operation->argument, &reply);
        break;
    case LKS_SIM_ADD_ONE:
        add(model, operation->key, 1, &reply);
        break;
    case LKS_SIM_SUBTRACT_ONE:
        add(model, operation->key, -1, &reply);
        break;
    case LKS_SIM_DEL:
        remove_keys(model, operation, &reply);
        break;
    case LKS_SIM_FLUSHALL:
        remove_all(model, &reply);
        break;
    default:
        look(model, operation, time_ns, &reply);
        break;
    }
    lks_sim_answer_read(expected, reply.bytes, reply.count);
}
