/* Writes and reads partitions of the key-value service in steps; see snapshot.h. */
#include "services/kv/snapshot.h"

#include "services/kv/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define MAGIC UINT32_C(0x31534B4C) /* "LKS1" */
#define FLAG_LAST 1u
#define EXPIRES (1u << 31) /* 8 bytes of when stand between record and key */
#define RECORDS_PER_COLLECT 16u

struct head {
    uint64_t checksum;
    uint32_t magic;
    uint16_t partition;
    uint16_t flags;
    uint64_t before;
    uint32_t count;
    uint32_t zero;
};

struct record {
    uint32_t key_bytes; /* and EXPIRES */
    uint32_t value_bytes;
};

_Static_assert(sizeof(struct head) == 32, "a chunk begins with 32 bytes");
_Static_assert(offsetof(struct head, magic) == 8, "the checksum begins a head");
_Static_assert(offsetof(struct head, before) == 16, "numbers of records end a head");
_Static_assert(sizeof(struct record) == 8, "a record begins with 8 bytes");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "snapshots are little-endian");

/* A chunk being filled; `bytes` of the state's buffer, the head included, are in use. */
struct output {
    struct lks_kv *kv;
    const struct lks_snapshot_writer *writer;
    struct lks_kv_progress *progress;
    uint32_t partition;
    uint32_t count;
    size_t bytes;
};

static uint64_t checksum(const void *chunk, size_t bytes, uint64_t chain)
{
    const size_t begin = offsetof(struct head, magic);
    return XXH3_64bits_withSeed((const char *)chunk + begin, bytes - begin, chain);
}

static int write_chunk(struct output *output, uint16_t flags)
{
    struct lks_kv_progress *progress = output->progress;
    char *chunk = output->kv->chunk;
    struct head head = {
        .magic = MAGIC,
        .partition = (uint16_t)output->partition,
        .flags = flags,
        .before = progress->records,
        .count = output->count,
    };
    memcpy(chunk, &head, sizeof head);
    head.checksum = checksum(chunk, output->bytes, progress->chain);
    memcpy(chunk, &head.checksum, sizeof head.checksum);
    const int result = output->writer->write(output->writer->ctx, chunk, output->bytes);
    progress->chain = head.checksum;
    progress->records += output->count;
    output->count = 0;
    output->bytes = sizeof head;
    return result;
}

static char *put(char *out, const void *data, size_t bytes)
{
    memcpy(out, data, bytes);
    return out + bytes;
}

static int put_entry(void *ctx, struct lks_kv_entry *entry, uint64_t expires_ms)
{
    struct output *output = ctx;
    const struct record record = {entry->key_bytes | (expires_ms != 0 ? EXPIRES : 0),
                                  entry->value_bytes};
    const size_t expiry_bytes = expires_ms != 0 ? sizeof expires_ms : 0;
    const size_t bytes =
        sizeof record + expiry_bytes + (size_t)entry->key_bytes + entry->value_bytes;
    int result = 0;
    if (output->count > 0 && bytes > output->kv->chunk_capacity - output->bytes) {
        result = write_chunk(output, 0);
    }
    if (result == 0 && sizeof(struct head) + bytes > output->kv->chunk_capacity) {
        char *grown = realloc(output->kv->chunk, sizeof(struct head) + bytes);
        if (grown == NULL) {
            return -ENOMEM;
        }
        output->kv->chunk = grown;
        output->kv->chunk_capacity = sizeof(struct head) + bytes;
    }
    if (result == 0) {
        char *out = put(output->kv->chunk + output->bytes, &record, sizeof record);
        out = put(out, &expires_ms, expiry_bytes);
        out = put(out, lks_kv_entry_key(entry), entry->key_bytes);
        (void)put(out, lks_kv_entry_value(entry), entry->value_bytes);
        output->bytes += bytes;
        output->count++;
    }
    return result;
}

/* A chunk that was grown for one long record shrinks again, so that others are not as long. */
static void shrink_chunk(struct lks_kv *kv)
{
    if (kv->chunk_capacity > LKS_SNAPSHOT_CHUNK_BYTES) {
        char *shrunk = realloc(kv->chunk, LKS_SNAPSHOT_CHUNK_BYTES);
        kv->chunk = shrunk != NULL ? shrunk : kv->chunk;
        kv->chunk_capacity = LKS_SNAPSHOT_CHUNK_BYTES;
    }
}

uint64_t lks_kv_snapshot_begin(void *state, uint32_t partition)
{
    struct lks_kv *kv = state;
    struct lks_kv_table *table = &kv->partitions[partition];
    lks_kv_table_thaw(table);
    lks_kv_table_freeze(table);
    kv->progress[partition] = (struct lks_kv_progress){.writing = true};
    return sizeof(struct head) + table->data_bytes + table->count * sizeof(struct record) +
           table->timers.count * sizeof(uint64_t);
}

int lks_kv_snapshot_step(void *state, uint32_t partition,
                         const struct lks_snapshot_writer *writer, size_t bytes_max, bool *done)
{
    struct lks_kv *kv = state;
    struct lks_kv_progress *progress = &kv->progress[partition];
    struct output output = {kv, writer, progress, partition, 0, sizeof(struct head)};
    bool all = false;
    int result = lks_kv_table_visit_frozen(&kv->partitions[partition], bytes_max, put_entry,
                                           &output, &all);
    const bool last = all && !progress->complete;
    if (result == 0 && (output.count > 0 || last)) {
        result = write_chunk(&output, last ? FLAG_LAST : 0);
    }
    shrink_chunk(kv);
    if (result == 0) {
        progress->complete = all;
        *done = all;
    }
    return result;
}

void lks_kv_snapshot_end(void *state, uint32_t partition)
{
    struct lks_kv *kv = state;
    lks_kv_table_thaw(&kv->partitions[partition]);
    kv->progress[partition] = (struct lks_kv_progress){0};
    kv->litter = true;
}

uint64_t lks_kv_snapshot_kept(void *state)
{
    const struct lks_kv *kv = state;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < LKS_KV_PARTITIONS; i++) {
        bytes += kv->partitions[i].kept_bytes;
    }
    return bytes;
}

void lks_kv_restore_begin(void *state, uint32_t partition)
{
    struct lks_kv *kv = state;
    lks_kv_table_thaw(&kv->partitions[partition]);
    lks_kv_table_empty(&kv->partitions[partition]);
    kv->litter = true;
    kv->progress[partition] = (struct lks_kv_progress){.reading = true};
}

static int give_up(struct lks_kv *kv, uint32_t partition, int result)
{
    lks_kv_table_empty(&kv->partitions[partition]);
    kv->litter = true;
    kv->progress[partition] = (struct lks_kv_progress){0};
    return result;
}

struct input {
    struct lks_kv *kv;
    uint32_t partition;
    const char *in;
    const char *end;
};

static bool take(struct input *input, void *out, size_t bytes)
{
    if ((size_t)(input->end - input->in) < bytes) {
        return false;
    }
    memcpy(out, input->in, bytes);
    input->in += bytes;
    return true;
}

/* Takes one record; false: it is not one of this partition. */
static bool take_record(struct input *input)
{
    struct lks_kv_table *table = &input->kv->partitions[input->partition];
    struct record record;
    uint64_t expires_ms = 0;
    if (!take(input, &record, sizeof record) ||
        ((record.key_bytes & EXPIRES) != 0 &&
         (!take(input, &expires_ms, sizeof expires_ms) || expires_ms == 0))) {
        return false;
    }
    const size_t key_bytes = record.key_bytes & ~EXPIRES;
    const size_t left = (size_t)(input->end - input->in);
    if (key_bytes > left || record.value_bytes > left - key_bytes) {
        return false;
    }
    const char *key = input->in;
    const uint64_t hash = lks_kv_hash(key, key_bytes);
    if (lks_kv_partition(hash) != input->partition ||
        lks_kv_table_find(table, hash, key, key_bytes) != NULL) {
        return false;
    }
    struct lks_kv_entry *entry = lks_kv_table_set(table, NULL, hash, key, key_bytes,
                                                  key + key_bytes, record.value_bytes);
    if (expires_ms != 0) {
        (void)lks_kv_table_set_expiry(table, entry, expires_ms);
        lks_kv_note_expiry(input->kv, expires_ms);
    }
    input->in = key + key_bytes + record.value_bytes;
    return true;
}

static bool head_fits(const struct head *head, uint32_t partition,
                      const struct lks_kv_progress *progress)
{
    return progress->reading && !progress->complete && head->magic == MAGIC &&
           head->partition == partition && (head->flags & ~FLAG_LAST) == 0 && head->zero == 0 &&
           head->before == progress->records;
}

int lks_kv_restore_chunk(void *state, uint32_t partition, const void *data, size_t bytes)
{
    struct lks_kv *kv = state;
    struct lks_kv_table *table = &kv->partitions[partition];
    struct lks_kv_progress *progress = &kv->progress[partition];
    struct head head;
    if (bytes < sizeof head) {
        return give_up(kv, partition, -EBADMSG);
    }
    memcpy(&head, data, sizeof head);
    if (!head_fits(&head, partition, progress) ||
        head.checksum != checksum(data, bytes, progress->chain)) {
        return give_up(kv, partition, -EBADMSG);
    }
    for (uint32_t i = 0; i <= head.count / RECORDS_PER_COLLECT; i++) {
        (void)lks_kv_table_collect(table); /* what was there before goes faster than this comes */
    }
    struct input input = {kv, partition, (const char *)data + sizeof head,
                          (const char *)data + bytes};
    for (uint32_t i = 0; i < head.count; i++) {
        if (!take_record(&input)) {
            return give_up(kv, partition, -EBADMSG);
        }
    }
    if (input.in != input.end) {
        return give_up(kv, partition, -EBADMSG);
    }
    progress->chain = head.checksum;
    progress->records += head.count;
    progress->complete = (head.flags & FLAG_LAST) != 0;
    return 0;
}

int lks_kv_restore_end(void *state, uint32_t partition)
{
    struct lks_kv *kv = state;
    struct lks_kv_progress *progress = &kv->progress[partition];
    if (!progress->reading || !progress->complete) {
        return give_up(kv, partition, -EBADMSG);
    }
    *progress = (struct lks_kv_progress){0};
    return 0;
}
