/* The commands that clients send; see operation.h. */
#include "sim/operation.h"

#include "base/assert.h"
#include "services/kv/encode.h"
#include "services/kv/hash.h"
#include "sim/service.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ABSENT_MAX 20u    /* more names than a footprint has room for ... */
#define ABSENT_NAMES 8u   /* ... of fewer partitions */
#define ABSENT_KEY_BYTES 32u
#define WORDS_MAX (6u + ABSENT_MAX)
#define WORD_BYTES_MAX (LKS_SIM_LARGE_FILLER_BYTES_MAX + 32u)
#define CONTENDED_PPM 500000u /* how often the first key of a family is meant */
#define SHORT_BYTES_MAX 200u  /* most fillers are not longer */
#define SHORT_PPM 850000u
#define SHORT_OF_LARGE_PPM 300000u
#define LIFETIME_MAX_MS 60

enum family { REGISTER, COUNTER, TEXT, VOLATILE, CONDITIONAL, FAMILIES, ANY = FAMILIES };

static const struct {
    char letter;
    uint32_t first;
    uint32_t count;
} g_families[FAMILIES + 1] = {
    [REGISTER] = {'r', 0, LKS_SIM_REGISTERS},
    [COUNTER] = {'c', LKS_SIM_REGISTERS, LKS_SIM_COUNTERS},
    [TEXT] = {'t', LKS_SIM_REGISTERS + LKS_SIM_COUNTERS, LKS_SIM_TEXTS},
    [VOLATILE] = {'v', LKS_SIM_REGISTERS + LKS_SIM_COUNTERS + LKS_SIM_TEXTS, LKS_SIM_VOLATILES},
    [CONDITIONAL] = {'x', LKS_SIM_KEYS - LKS_SIM_CONDITIONALS, LKS_SIM_CONDITIONALS},
    [ANY] = {'?', 0, LKS_SIM_KEYS},
};

#define NOTHING (-1) /* nothing that the search could follow */

/* In words: K key, O other key, V value with its filler, N the argument, D a time to live; all else
 * stands for itself. */
static const struct row {
    const char *words;
    enum lks_kv_request request;
    enum lks_sim_model_kind kind;
    enum family family;
    int searched; /* enum lks_history_kind, or NOTHING */
    uint32_t weight;
} g_rows[] = {
    {"GET K", LKS_KV_REQUEST_GET, LKS_SIM_GET, REGISTER, LKS_HISTORY_GET, 12},
    {"SET K V", LKS_KV_REQUEST_SET, LKS_SIM_SET, REGISTER, LKS_HISTORY_SET, 12},
    {"DEL K", LKS_KV_REQUEST_DEL, LKS_SIM_DEL, REGISTER, LKS_HISTORY_DEL, 3},
    {"INCR K", LKS_KV_REQUEST_INCR, LKS_SIM_ADD_ONE, COUNTER, LKS_HISTORY_INCR, 10},
    {"DECR K", LKS_KV_REQUEST_DECR, LKS_SIM_SUBTRACT_ONE, COUNTER, LKS_HISTORY_INCR, 3},
    {"INCRBY K N", LKS_KV_REQUEST_INCRBY, LKS_SIM_ADD, COUNTER, LKS_HISTORY_INCR, 3},
    {"GET K", LKS_KV_REQUEST_GET, LKS_SIM_GET, COUNTER, LKS_HISTORY_GET, 3},
    {"DEL K", LKS_KV_REQUEST_DEL, LKS_SIM_DEL, COUNTER, LKS_HISTORY_DEL, 1},
    {"APPEND K V", LKS_KV_REQUEST_APPEND, LKS_SIM_APPEND, TEXT, LKS_HISTORY_INCR, 4},
    {"STRLEN K", LKS_KV_REQUEST_STRLEN, LKS_SIM_STRLEN, TEXT, LKS_HISTORY_GET, 2},
    {"GET K", LKS_KV_REQUEST_GET, LKS_SIM_GET, TEXT, LKS_HISTORY_GET, 2},
    {"DEL K", LKS_KV_REQUEST_DEL, LKS_SIM_DEL, TEXT, LKS_HISTORY_DEL, 2},
    {"SET K V NX", LKS_KV_REQUEST_SET, LKS_SIM_SET_ABSENT, CONDITIONAL, LKS_HISTORY_SET_ABSENT, 3},
    {"SET K V XX", LKS_KV_REQUEST_SET, LKS_SIM_SET_PRESENT, CONDITIONAL, LKS_HISTORY_SET_PRESENT,
     3},
    {"SET K V GET", LKS_KV_REQUEST_SET, LKS_SIM_SET_GET, CONDITIONAL, LKS_HISTORY_EXCHANGE, 3},
    {"GET K", LKS_KV_REQUEST_GET, LKS_SIM_GET, CONDITIONAL, LKS_HISTORY_GET, 2},
    {"EXISTS K", LKS_KV_REQUEST_EXISTS, LKS_SIM_EXISTS, CONDITIONAL, LKS_HISTORY_EXISTS, 2},
    {"DEL K", LKS_KV_REQUEST_DEL, LKS_SIM_DEL, CONDITIONAL, LKS_HISTORY_DEL, 2},
    {"SET K V PX D", LKS_KV_REQUEST_SET, LKS_SIM_SET_EXPIRING, VOLATILE, NOTHING, 5},
    {"SET K V KEEPTTL", LKS_KV_REQUEST_SET, LKS_SIM_SET_KEEPING, VOLATILE, NOTHING, 1},
    {"SET K V", LKS_KV_REQUEST_SET, LKS_SIM_SET, VOLATILE, NOTHING, 1},
    {"SET K V NX", LKS_KV_REQUEST_SET, LKS_SIM_SET_ABSENT, VOLATILE, NOTHING, 2},
    {"MSETNX K V O N", LKS_KV_REQUEST_MSETNX, LKS_SIM_SET_BOTH_ABSENT, VOLATILE, NOTHING, 3},
    {"GET K", LKS_KV_REQUEST_GET, LKS_SIM_GET, VOLATILE, NOTHING, 5},
    {"EXISTS K", LKS_KV_REQUEST_EXISTS, LKS_SIM_EXISTS, VOLATILE, NOTHING, 1},
    {"PEXPIRE K D", LKS_KV_REQUEST_PEXPIRE, LKS_SIM_EXPIRE, VOLATILE, NOTHING, 3},
    {"PERSIST K", LKS_KV_REQUEST_PERSIST, LKS_SIM_PERSIST, VOLATILE, NOTHING, 1},
    {"TTL K", LKS_KV_REQUEST_TTL, LKS_SIM_TTL, VOLATILE, NOTHING, 1},
    {"PTTL K", LKS_KV_REQUEST_PTTL, LKS_SIM_PTTL, VOLATILE, NOTHING, 2},
    {"DEL K", LKS_KV_REQUEST_DEL, LKS_SIM_DEL, VOLATILE, NOTHING, 1},
    {"EXISTS K O", LKS_KV_REQUEST_EXISTS, LKS_SIM_EXISTS, ANY, NOTHING, 1},
    {"DEL K O", LKS_KV_REQUEST_DEL, LKS_SIM_DEL, ANY, LKS_HISTORY_DEL, 1},
    {"DBSIZE", LKS_KV_REQUEST_DBSIZE, LKS_SIM_DBSIZE, ANY, NOTHING, 1},
    {"TIME", LKS_KV_REQUEST_TIME, LKS_SIM_TIME, ANY, NOTHING, 1},
    {"FLUSHALL", LKS_KV_REQUEST_FLUSHALL, LKS_SIM_FLUSHALL, ANY, LKS_HISTORY_DEL, 1},
};

static const struct row *row_of(const struct lks_sim_operation *operation)
{
    LKS_ASSERT(operation->row < LKS_COUNT_OF(g_rows));
    return &g_rows[operation->row];
}

static uint32_t draw_key(enum family family, struct lks_sim_random *random)
{
    const uint32_t count = g_families[family].count;
    const bool contended = lks_sim_random_chance(random, CONTENDED_PPM);
    const uint32_t place = (uint32_t)lks_sim_random_below(random, count);
    return g_families[family].first + (contended && family != ANY ? 0 : place);
}

void lks_sim_operation_draw(struct lks_sim_operation *operation, struct lks_sim_random *random,
                            int64_t argument, uint32_t filler_bytes_max)
{
    LKS_ASSERT(filler_bytes_max <= LKS_SIM_LARGE_FILLER_BYTES_MAX);
    const bool large = filler_bytes_max > LKS_SIM_FILLER_BYTES_MAX;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < LKS_COUNT_OF(g_rows); i++) {
        sum += g_rows[i].weight;
    }
    uint64_t chosen = lks_sim_random_below(random, sum);
    uint32_t row = 0;
    while (chosen >= g_rows[row].weight) {
        chosen -= g_rows[row].weight;
        row++;
    }
    if (lks_sim_random_chance(random, large ? SHORT_OF_LARGE_PPM : SHORT_PPM) &&
        filler_bytes_max > SHORT_BYTES_MAX) {
        filler_bytes_max = SHORT_BYTES_MAX;
    }
    *operation = (struct lks_sim_operation){
        .row = row,
        .key = draw_key(g_rows[row].family, random),
        .filler_bytes = (uint32_t)lks_sim_random_below(random, (uint64_t)filler_bytes_max + 1),
        .large = large,
        .argument = argument};
    const uint32_t step = 1 + (uint32_t)lks_sim_random_below(random, LKS_SIM_KEYS - 1);
    operation->other = (operation->key + step) % LKS_SIM_KEYS;
    if (g_rows[row].kind == LKS_SIM_SET_BOTH_ABSENT) { /* the search follows neither */
        const uint32_t first = g_families[g_rows[row].family].first;
        const uint32_t count = g_families[g_rows[row].family].count;
        operation->other = first + (operation->key - first + 1) % count;
    }
    if (large && lks_sim_operation_is_double(operation) &&
        g_rows[row].kind != LKS_SIM_SET_BOTH_ABSENT) {
        operation->absent = (uint32_t)lks_sim_random_below(random, ABSENT_MAX + 1);
    }
}

void lks_sim_operation_key(uint32_t key, char name[4])
{
    LKS_ASSERT(key < LKS_SIM_KEYS);
    uint32_t family = 0;
    while (key >= g_families[family].first + g_families[family].count) {
        family++;
    }
    name[0] = g_families[family].letter;
    name[1] = (char)('0' + (key - g_families[family].first));
    name[2] = '\0';
}

size_t lks_sim_operation_value(const struct lks_sim_operation *operation, char *value)
{
    const int length = snprintf(value, 32, "%" PRId64 ".", operation->argument);
    LKS_ASSERT(length > 0);
    memset(value + length, 'a' + (int)(operation->argument % 26), operation->filler_bytes);
    return (size_t)length + operation->filler_bytes;
}

uint32_t lks_sim_operation_value_max(const struct lks_sim_operation *operation)
{
    return operation->large ? LKS_SIM_LARGE_VALUE_BYTES_MAX : LKS_SIM_VALUE_BYTES_MAX;
}

uint64_t lks_sim_operation_lifetime_ms(const struct lks_sim_operation *operation)
{
    return 1 + (uint64_t)operation->argument * 7 % LIFETIME_MAX_MS;
}

/* Writes one word of a row's form; returns its length. */
static size_t write_word(const struct lks_sim_operation *operation, const char *form,
                         size_t form_bytes, char *word)
{
    switch (form_bytes == 1 ? form[0] : '\0') {
    case 'K':
        lks_sim_operation_key(operation->key, word);
        return strlen(word);
    case 'O':
        lks_sim_operation_key(operation->other, word);
        return strlen(word);
    case 'V':
        return lks_sim_operation_value(operation, word);
    case 'N':
        return (size_t)snprintf(word, 32, "%" PRId64, operation->argument);
    case 'D':
        return (size_t)snprintf(word, 32, "%" PRIu64, lks_sim_operation_lifetime_ms(operation));
    default:
        memcpy(word, form, form_bytes);
        return form_bytes;
    }
}

/* All words into `buffer`, one behind another; returns how many. */
static size_t write_words(const struct lks_sim_operation *operation, char *buffer,
                          struct lks_argument *words)
{
    const char *form = row_of(operation)->words;
    size_t count = 0;
    while (*form != '\0') {
        LKS_ASSERT(count < WORDS_MAX);
        const size_t form_bytes = strcspn(form, " ");
        words[count].data = buffer;
        words[count].bytes = write_word(operation, form, form_bytes, buffer);
        buffer += words[count].bytes + 1;
        count++;
        form += form_bytes;
        form += *form == ' ' ? 1 : 0;
    }
    for (uint32_t i = 0; i < operation->absent; i++) {
        memset(buffer, 'a' + (int)(i % ABSENT_NAMES), ABSENT_KEY_BYTES);
        words[count].data = buffer;
        words[count].bytes = ABSENT_KEY_BYTES;
        buffer += ABSENT_KEY_BYTES + 1;
        count++;
    }
    return count;
}

/* The partitions that a command can change. */
static uint64_t partitions_of(const struct lks_sim_operation *operation)
{
    const struct row *row = row_of(operation);
    char name[4];
    if (row->kind == LKS_SIM_FLUSHALL) {
        return UINT64_MAX;
    }
    lks_sim_operation_key(operation->key, name);
    uint64_t partitions = UINT64_C(1) << lks_kv_partition(lks_kv_hash(name, strlen(name)));
    lks_sim_operation_key(operation->other, name);
    partitions |= UINT64_C(1) << lks_kv_partition(lks_kv_hash(name, strlen(name)));
    return partitions;
}

size_t lks_sim_operation_encode(const struct lks_sim_operation *operation, uint64_t number,
                                uint8_t *bytes)
{
    char buffer[WORDS_MAX * 34u + WORD_BYTES_MAX];
    struct lks_argument words[WORDS_MAX];
    const struct lks_kv_arguments arguments = {.items = words,
                                               .count = write_words(operation, buffer, words),
                                               .value_bytes_max =
                                                   lks_sim_operation_value_max(operation)};
    const struct lks_sim_envelope envelope = {.number = htobe64(number),
                                              .partitions = partitions_of(operation)};
    struct lks_reply reply;
    lks_reply_init(&reply);
    memcpy(bytes, &envelope, sizeof envelope);
    const size_t encoded =
        lks_kv_encode(row_of(operation)->request, &arguments, bytes + sizeof envelope, &reply);
    LKS_ASSERT(encoded > 0);
    LKS_ASSERT(encoded + sizeof envelope <= LKS_SIM_COMMAND_BYTES_MAX);
    lks_reply_fini(&reply);
    return encoded + sizeof envelope;
}

void lks_sim_operation_print(const struct lks_sim_operation *operation, char *text, size_t bytes)
{
    char buffer[WORDS_MAX * 34u + WORD_BYTES_MAX];
    struct lks_argument words[WORDS_MAX];
    const size_t count = write_words(operation, buffer, words);
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < count && used < bytes; i++) {
        const int shown = words[i].bytes > 12 ? 12 : (int)words[i].bytes;
        used += (size_t)snprintf(text + used, bytes - used, "%s%.*s%s", i > 0 ? " " : "", shown,
                                 words[i].data, words[i].bytes > 12 ? "..." : "");
    }
}

enum lks_sim_model_kind lks_sim_operation_kind(const struct lks_sim_operation *operation)
{
    return row_of(operation)->kind;
}

bool lks_sim_operation_is_double(const struct lks_sim_operation *operation)
{
    return strstr(row_of(operation)->words, " O") != NULL;
}

bool lks_sim_operation_is_read(const struct lks_sim_operation *operation)
{
    switch (row_of(operation)->kind) {
    case LKS_SIM_GET:
    case LKS_SIM_EXISTS:
    case LKS_SIM_STRLEN:
    case LKS_SIM_DBSIZE:
    case LKS_SIM_TTL:
    case LKS_SIM_PTTL:
        return true;
    default:
        return false;
    }
}

void lks_sim_answer_read(struct lks_sim_answer *answer, const void *reply, size_t bytes)
{
    const char *text = reply;
    LKS_ASSERT(bytes >= 3);
    *answer = (struct lks_sim_answer){
        .known = true, .type = text[0], .hash = lks_kv_hash(reply, bytes), .bytes = bytes};
    if (text[0] == ':') {
        answer->integer = strtoll(text + 1, NULL, 10);
        answer->present = answer->integer != 0;
    } else if (text[0] == '$') {
        char *value = NULL;
        answer->present = true;
        answer->bytes = strtoull(text + 1, &value, 10);
        answer->integer = strtoll(value + 2, NULL, 10);
        text = value + 2;
    } else if (text[0] == '+') {
        answer->present = true;
    }
    const size_t rest = bytes - (size_t)(text - (const char *)reply);
    const size_t shown = rest < sizeof answer->text ? rest : sizeof answer->text - 1;
    memcpy(answer->text, text, shown);
    answer->text[strcspn(answer->text, "\r")] = '\0';
}

/* The number that the search compares: texts are known by their length. */
static int64_t measure(const struct row *row, const struct lks_sim_answer *answer)
{
    return row->family == TEXT && answer->type == '$' ? (int64_t)answer->bytes : answer->integer;
}

static int64_t argument_of(const struct lks_sim_operation *operation)
{
    char value[WORD_BYTES_MAX];
    switch (row_of(operation)->kind) {
    case LKS_SIM_ADD_ONE:
        return 1;
    case LKS_SIM_SUBTRACT_ONE:
        return -1;
    case LKS_SIM_APPEND:
        return (int64_t)lks_sim_operation_value(operation, value);
    default:
        return operation->argument;
    }
}

static bool is_volatile(uint32_t key)
{
    return key - g_families[VOLATILE].first < g_families[VOLATILE].count;
}

/* The two or all keys that one DEL or FLUSHALL removes, each by itself; volatile ones are not for
 * the search. */
static uint32_t project_removal(const struct lks_sim_operation *operation,
                                const struct lks_sim_answer *answer,
                                struct lks_history_operation *out)
{
    const bool all = row_of(operation)->kind == LKS_SIM_FLUSHALL;
    const uint32_t keys = all ? LKS_SIM_KEYS : 2;
    uint32_t count = 0;
    for (uint32_t i = 0; i < keys; i++) {
        const uint32_t key = all ? i : i == 0 ? operation->key : operation->other;
        if (!is_volatile(key)) {
            out[count++] = (struct lks_history_operation){.key = key,
                                                          .kind = LKS_HISTORY_DEL,
                                                          .known = answer->known,
                                                          .vague = all || answer->integer == 1,
                                                          .present = answer->integer == 2};
        }
    }
    return count;
}

uint32_t lks_sim_operation_project(const struct lks_sim_operation *operation,
                                   const struct lks_sim_answer *answer,
                                   struct lks_history_operation *out)
{
    const struct row *row = row_of(operation);
    if (row->searched == NOTHING) {
        return 0;
    }
    if (row->family == ANY) {
        return project_removal(operation, answer, out);
    }
    out[0] = (struct lks_history_operation){.key = operation->key,
                                            .kind = (enum lks_history_kind)row->searched,
                                            .known = answer->known,
                                            .present = answer->present,
                                            .argument = argument_of(operation),
                                            .value = measure(row, answer)};
    if (row->searched == LKS_HISTORY_GET && !answer->present) {
        out[0].value = 0;
    }
    if (row->kind == LKS_SIM_SET_ABSENT) {
        out[0].present = answer->type == '_'; /* it was there, so nothing was set */
    }
    /* APPEND beyond the limit is refused: the search takes it as a look at nothing. */
    return answer->type == '-' ? 0 : 1;
}
