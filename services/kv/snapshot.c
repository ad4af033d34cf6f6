/*
 * Writes and reads one partition of the key-value service; see state.h. Little-endian:
 *
 *   head    64 bytes: magic, version, partition, number of partitions, entries, bytes of all
 *           records, and the XXH3 of all that
 *   records each: key bytes (4), value bytes (4), key, value; in no order
 *   tail    8 bytes: XXH3 of all records
 *
 * Nothing read is trusted: a head must be whole before anything in it is used, a record must fit
 * in what the head announced, a key must belong to this partition and come once.
 */
#include "services/kv/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define MAGIC UINT64_C(0x31564B534B434F4C) /* "LOCKSKV1" */
#define VERSION 1u
#define CHUNK_BYTES (64u << 10)

struct head {
    uint64_t magic;
    uint32_t version;
    uint32_t partition;
    uint32_t partitions;
    uint32_t reserved;
    uint64_t count;
    uint64_t records_bytes;
    uint64_t unused[2];
    uint64_t checksum; /* of all before */
};

struct record {
    uint32_t key_bytes;
    uint32_t value_bytes;
};

_Static_assert(sizeof(struct head) == 64, "the head is 64 bytes");
_Static_assert(offsetof(struct head, checksum) == 56, "the checksum ends the head");
_Static_assert(sizeof(struct record) == 8, "a record begins with 8 bytes");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "snapshots are little-endian");

/* Collects what is written into chunks and adds it to the checksum. */
struct output {
    const struct lks_snapshot_writer *writer;
    XXH3_state_t checksum;
    size_t used;
    unsigned char chunk[CHUNK_BYTES];
};

static uint64_t head_checksum(const struct head *head)
{
    return XXH3_64bits(head, offsetof(struct head, checksum));
}

static int flush(struct output *output)
{
    const size_t bytes = output->used;
    output->used = 0;
    return bytes > 0 ? output->writer->write(output->writer->ctx, output->chunk, bytes) : 0;
}

static int put(struct output *output, const void *data, size_t bytes)
{
    (void)XXH3_64bits_update(&output->checksum, data, bytes);
    if (bytes > CHUNK_BYTES - output->used) {
        const int result = flush(output);
        if (result != 0) {
            return result;
        }
        if (bytes > CHUNK_BYTES) {
            return output->writer->write(output->writer->ctx, data, bytes);
        }
    }
    if (bytes > 0) {
        memcpy(output->chunk + output->used, data, bytes);
    }
    output->used += bytes;
    return 0;
}

static int put_entry(void *ctx, struct lks_kv_entry *entry)
{
    struct output *output = ctx;
    const struct record record = {entry->key_bytes, entry->value_bytes};
    int result = put(output, &record, sizeof record);
    if (result == 0) {
        result = put(output, lks_kv_entry_key(entry), entry->key_bytes);
    }
    if (result == 0) {
        result = put(output, lks_kv_entry_value(entry), entry->value_bytes);
    }
    return result;
}

static int add_bytes(void *ctx, struct lks_kv_entry *entry)
{
    uint64_t *total = ctx;
    *total += sizeof(struct record) + entry->key_bytes + entry->value_bytes;
    return 0;
}

int lks_kv_snapshot(void *state, uint32_t partition, const struct lks_snapshot_writer *writer)
{
    const struct lks_kv *kv = state;
    const struct lks_kv_table *table = &kv->partitions[partition];
    struct head head = {.magic = MAGIC,
                        .version = VERSION,
                        .partition = partition,
                        .partitions = LKS_KV_PARTITIONS,
                        .count = table->count};
    (void)lks_kv_table_each(table, add_bytes, &head.records_bytes);
    head.checksum = head_checksum(&head);
    struct output *output = malloc(sizeof *output);
    if (output == NULL) {
        return -ENOMEM;
    }
    output->writer = writer;
    output->used = 0;
    (void)XXH3_64bits_reset(&output->checksum);
    int result = writer->write(writer->ctx, &head, sizeof head);
    if (result == 0) {
        result = lks_kv_table_each(table, put_entry, output);
    }
    if (result == 0) {
        result = flush(output);
    }
    if (result == 0) {
        const uint64_t tail = XXH3_64bits_digest(&output->checksum);
        result = writer->write(writer->ctx, &tail, sizeof tail);
    }
    free(output);
    return result;
}

/* A partition being read; the buffer grows to the longest record. */
struct input {
    const struct lks_snapshot_reader *reader;
    XXH3_state_t checksum;
    uint64_t left; /* bytes of records still to come */
    size_t capacity;
    char *buffer;
};

/* Reads bytes that the head announced into the buffer. */
static int take(struct input *input, size_t bytes)
{
    if (bytes > input->left) {
        return -EBADMSG;
    }
    if (bytes > input->capacity) {
        char *grown = realloc(input->buffer, bytes);
        if (grown == NULL) {
            return -ENOMEM;
        }
        input->buffer = grown;
        input->capacity = bytes;
    }
    const int result =
        bytes > 0 ? input->reader->read(input->reader->ctx, input->buffer, bytes) : 0;
    if (result == 0) {
        (void)XXH3_64bits_update(&input->checksum, input->buffer, bytes);
        input->left -= bytes;
    }
    return result;
}

static int take_record(uint32_t partition, struct input *input, struct lks_kv_table *table)
{
    struct record record;
    int result = take(input, sizeof record);
    if (result != 0) {
        return result;
    }
    memcpy(&record, input->buffer, sizeof record);
    result = take(input, (size_t)record.key_bytes + record.value_bytes);
    if (result != 0) {
        return result;
    }
    const uint64_t hash = lks_kv_hash(input->buffer, record.key_bytes);
    if (lks_kv_partition(hash) != partition ||
        lks_kv_table_find(table, hash, input->buffer, record.key_bytes) != NULL) {
        return -EBADMSG;
    }
    lks_kv_table_set(table, NULL, hash, input->buffer, record.key_bytes,
                     input->buffer + record.key_bytes, record.value_bytes);
    return 0;
}

static int read_head(const struct lks_snapshot_reader *reader, uint32_t partition,
                     struct head *head)
{
    const int result = reader->read(reader->ctx, head, sizeof *head);
    if (result != 0) {
        return result;
    }
    const bool good = head->checksum == head_checksum(head) && head->magic == MAGIC &&
                      head->version == VERSION && head->partition == partition &&
                      head->partitions == LKS_KV_PARTITIONS;
    return good ? 0 : -EBADMSG;
}

static int read_records(const struct head *head, struct input *input, struct lks_kv_table *table)
{
    int result = 0;
    for (uint64_t i = 0; result == 0 && i < head->count; i++) {
        result = take_record(head->partition, input, table);
    }
    uint64_t tail = 0;
    if (result == 0 && input->left > 0) {
        result = -EBADMSG;
    }
    if (result == 0) {
        result = input->reader->read(input->reader->ctx, &tail, sizeof tail);
    }
    if (result == 0 && tail != XXH3_64bits_digest(&input->checksum)) {
        result = -EBADMSG;
    }
    return result;
}

int lks_kv_restore(void *state, uint32_t partition, const struct lks_snapshot_reader *reader)
{
    struct lks_kv *kv = state;
    struct lks_kv_table *table = &kv->partitions[partition];
    lks_kv_table_fini(table);
    struct head head;
    int result = read_head(reader, partition, &head);
    if (result != 0) {
        return result;
    }
    struct input *input = calloc(1, sizeof *input);
    if (input == NULL) {
        return -ENOMEM;
    }
    input->reader = reader;
    input->left = head.records_bytes;
    (void)XXH3_64bits_reset(&input->checksum);
    result = read_records(&head, input, table);
    if (result != 0) {
        lks_kv_table_fini(table);
    }
    free(input->buffer);
    free(input);
    return result;
}
