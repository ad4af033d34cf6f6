/*
 * The ingress ring; see ingress.h.
 *
 * Positions count lines of 64 bytes since the offer; a word holds one, modulo 2^40, below a tag
 * of the epoch, so that a word of another epoch is no word at all. Records are written first, the
 * tail word after them by a write of its own; the fabric shows it only after the records. The
 * head word goes the other way, into the gateway's inbox, once an eighth of the ring was taken.
 */
#include "node/ingress.h"

#include "base/assert.h"
#include "base/crc32c.h"
#include "node/sessions.h"

#include <errno.h>
#include <string.h>

#define RING_LINES ((uint64_t)LKS_INGRESS_RING_BYTES / LKS_INGRESS_ALIGN)
#define CREDIT_LINES (RING_LINES / 8) /* given back at once, at least */
#define LINES_MASK ((UINT64_C(1) << 40) - 1)

/* 12 bits of the leader's incarnation, 12 bits of its count of offers. */
static uint64_t word_of(uint64_t epoch, uint64_t lines)
{
    const uint64_t tag = (epoch >> 32 & 0xFFF) << 12 | (epoch & 0xFFF);
    return tag << 40 | (lines & LINES_MASK);
}

/* Lines that a word says lie beyond `from`; 0 if the word is not of this epoch. */
static uint64_t lines_beyond(uint64_t word, uint64_t epoch, uint64_t from)
{
    return (word & ~LINES_MASK) == word_of(epoch, 0) ? (word - from) & LINES_MASK : 0;
}

static uint64_t record_lines(uint32_t bytes)
{
    return (sizeof(struct lks_ingress_header) + (uint64_t)bytes + LKS_INGRESS_ALIGN - 1) /
           LKS_INGRESS_ALIGN;
}

static uint32_t header_checksum(const struct lks_ingress_header *header)
{
    return lks_crc32c(0, (const uint8_t *)header + sizeof header->checksum,
                      sizeof *header - sizeof header->checksum);
}

static const struct lks_ingress_words *own_words(const struct lks_fabric *fabric, uint32_t peer)
{
    const uint8_t *inbox = lks_fabric_inbox(fabric, peer);
    return (const struct lks_ingress_words *)(const void *)(inbox + LKS_INGRESS_OFFSET);
}

/* ---- the gateway's end --------------------------------------------------------------------- */

void lks_ingress_producer_init(struct lks_ingress_producer *producer, struct lks_fabric *fabric,
                               uint32_t peer)
{
    memset(producer, 0, sizeof *producer);
    producer->fabric = fabric;
    producer->peer = peer;
}

void lks_ingress_producer_open(struct lks_ingress_producer *producer,
                               const struct lks_ingress_offer *offer)
{
    producer->open = true;
    producer->term = offer->term;
    producer->epoch = offer->epoch;
    producer->written = 0;
    producer->published = 0;
    producer->taken = 0;
    producer->place = 0;
    producer->unfinished_sequence = 0;
    producer->unfinished_bytes = 0;
    producer->staged_place = 0;
    producer->staged_bytes = 0;
}

void lks_ingress_producer_close(struct lks_ingress_producer *producer)
{
    producer->open = false;
}

static int post(struct lks_ingress_producer *producer, uint64_t offset, const void *source,
                uint64_t bytes, uint32_t flags)
{
    const int rc = lks_fabric_write_inbox(producer->fabric, producer->peer, offset, source, bytes,
                                          LKS_FABRIC_INLINE | flags, 0);
    LKS_ASSERT(rc == 0 || rc == -LKS_EBUSY || rc == -LKS_EBROKEN);
    if (rc == -LKS_EBROKEN) {
        producer->open = false;
    }
    return rc;
}

/* The word that shows it follows: nobody looks at it before. */
static int post_staged(struct lks_ingress_producer *producer)
{
    if (producer->staged_bytes == 0) {
        return 0;
    }
    const int rc = post(producer, LKS_INGRESS_RING_OFFSET + producer->staged_place,
                        producer->staged, producer->staged_bytes, LKS_FABRIC_MORE);
    if (rc == 0) {
        producer->staged_bytes = 0;
    }
    return rc;
}

/* Takes bytes of the record at `place` over into the staged ones, until `end` of the record is
 * reached; source holds them from `begin` on, NULL stands for zeros. Small neighbouring records
 * so travel in one write. On an error unfinished_bytes says how far it came. */
static int stage_until(struct lks_ingress_producer *producer, uint32_t begin, uint32_t end,
                       const uint8_t *source)
{
    while (producer->unfinished_bytes < end) {
        if (producer->staged_bytes == LKS_FABRIC_INLINE_MAX) {
            const int rc = post_staged(producer);
            if (rc != 0) {
                return rc;
            }
        }
        if (producer->staged_bytes == 0) {
            producer->staged_place = producer->place + producer->unfinished_bytes;
        }
        const uint32_t room = LKS_FABRIC_INLINE_MAX - producer->staged_bytes;
        const uint32_t rest = end - producer->unfinished_bytes;
        const uint32_t bytes = rest < room ? rest : room;
        uint8_t *to = producer->staged + producer->staged_bytes;
        if (source != NULL) {
            memcpy(to, source + (producer->unfinished_bytes - begin), bytes);
        } else {
            memset(to, 0, bytes);
        }
        producer->staged_bytes += bytes;
        producer->unfinished_bytes += bytes;
    }
    return 0;
}

/* Believes the leader's head word only as far as it was shown records. */
static void take_credits(struct lks_ingress_producer *producer)
{
    const uint64_t word = lks_word_read(&own_words(producer->fabric, producer->peer)->head);
    const uint64_t more = lines_beyond(word, producer->epoch, producer->taken);
    if (more <= producer->published - producer->taken) {
        producer->taken += more;
    }
}

static bool has_credit(struct lks_ingress_producer *producer, uint64_t lines)
{
    if (producer->written + lines - producer->taken > RING_LINES) {
        take_credits(producer);
    }
    return producer->written + lines - producer->taken <= RING_LINES;
}

/* Leads the reader from `place` back to the beginning of the ring. */
static int write_skip(struct lks_ingress_producer *producer)
{
    int rc = post_staged(producer);
    if (rc != 0) {
        return rc;
    }
    struct lks_ingress_header skip = {.bytes = LKS_INGRESS_SKIP, .epoch = producer->epoch};
    skip.checksum = header_checksum(&skip);
    rc = post(producer, LKS_INGRESS_RING_OFFSET + producer->place, &skip, sizeof skip,
              LKS_FABRIC_MORE);
    if (rc == 0) {
        producer->written += (LKS_INGRESS_RING_BYTES - producer->place) / LKS_INGRESS_ALIGN;
        producer->place = 0;
    }
    return rc;
}

/* Gives up a record of which only a part was written; nothing of it was shown. */
static void abandon_record(struct lks_ingress_producer *producer)
{
    if (producer->staged_bytes > 0) { /* whole records may be staged in front of it */
        producer->staged_bytes =
            producer->staged_place < producer->place ? producer->place - producer->staged_place : 0;
    }
    producer->unfinished_sequence = 0;
}

/* Makes sure of credit and of one piece of the ring for a record. */
static int begin_record(struct lks_ingress_producer *producer, uint64_t lines)
{
    const uint64_t rest = (LKS_INGRESS_RING_BYTES - producer->place) / LKS_INGRESS_ALIGN;
    if (!has_credit(producer, rest < lines ? rest + lines : lines)) {
        return -LKS_EBUSY;
    }
    return rest < lines ? write_skip(producer) : 0;
}

static void make_header(const struct lks_ingress_producer *producer,
                        const struct lks_ingress_command *command,
                        struct lks_ingress_header *header)
{
    *header = (struct lks_ingress_header){.bytes = command->bytes,
                                          .epoch = producer->epoch,
                                          .session = command->session,
                                          .sequence = command->sequence};
    header->checksum = lks_crc32c(header_checksum(header), command->data, command->bytes);
}

/* A record is written on from where it stopped, where what is there already is of this command. */
static bool is_unfinished(const struct lks_ingress_producer *producer,
                          const struct lks_ingress_command *command)
{
    struct lks_ingress_header header;
    if (producer->unfinished_sequence != command->sequence) {
        return false;
    }
    make_header(producer, command, &header);
    return header.checksum == producer->unfinished_checksum;
}

static int write_record(struct lks_ingress_producer *producer,
                        const struct lks_ingress_command *command, uint32_t lines_bytes)
{
    const uint32_t head = sizeof(struct lks_ingress_header);
    if (producer->unfinished_bytes < head) {
        struct lks_ingress_header header;
        make_header(producer, command, &header);
        producer->unfinished_checksum = header.checksum;
        const int rc = stage_until(producer, 0, head, (const uint8_t *)&header);
        if (rc != 0) {
            return rc;
        }
    }
    const int rc = stage_until(producer, head, head + command->bytes, command->data);
    return rc != 0 ? rc : stage_until(producer, 0, lines_bytes, NULL);
}

int lks_ingress_push(struct lks_ingress_producer *producer,
                     const struct lks_ingress_command *command)
{
    LKS_ASSERT(command->sequence > 0);
    if (command->bytes > LKS_INGRESS_COMMAND_MAX) {
        return -LKS_ETOOBIG;
    }
    if (!producer->open) {
        return -LKS_EBROKEN;
    }
    const uint64_t lines = record_lines(command->bytes);
    if (!is_unfinished(producer, command)) {
        abandon_record(producer); /* nothing of it was shown */
        const int rc = begin_record(producer, lines);
        if (rc != 0) {
            return rc;
        }
        producer->unfinished_sequence = command->sequence;
        producer->unfinished_bytes = 0;
    }
    const uint32_t bytes = (uint32_t)lines * LKS_INGRESS_ALIGN;
    int rc = write_record(producer, command, bytes);
    if (rc == 0 && producer->place + bytes == LKS_INGRESS_RING_BYTES) {
        rc = post_staged(producer); /* what follows lies elsewhere */
    }
    if (rc != 0) {
        return rc;
    }
    producer->written += lines;
    producer->place += bytes;
    if (producer->place == LKS_INGRESS_RING_BYTES) {
        producer->place = 0;
    }
    producer->unfinished_sequence = 0;
    producer->pushed++;
    return 0;
}

int lks_ingress_publish(struct lks_ingress_producer *producer, bool wake)
{
    if (!producer->open) {
        return -LKS_EBROKEN;
    }
    if (producer->written == producer->published) {
        return 0;
    }
    int rc = post_staged(producer);
    if (rc != 0) {
        return rc;
    }
    const uint64_t word = word_of(producer->epoch, producer->written);
    rc = post(producer, LKS_INGRESS_OFFSET + offsetof(struct lks_ingress_words, tail), &word,
              sizeof word, wake ? LKS_FABRIC_WAKE : 0);
    if (rc == 0) {
        producer->published = producer->written;
    }
    return rc;
}

/* ---- the leader's end ---------------------------------------------------------------------- */

void lks_ingress_consumer_init(struct lks_ingress_consumer *consumer, struct lks_fabric *fabric,
                               uint32_t peer, uint64_t incarnation, void *buffer)
{
    LKS_ASSERT(incarnation > 0);
    memset(consumer, 0, sizeof *consumer);
    consumer->fabric = fabric;
    consumer->peer = peer;
    consumer->incarnation = incarnation;
    consumer->buffer = buffer;
}

void lks_ingress_consumer_offer(struct lks_ingress_consumer *consumer, uint64_t term,
                                struct lks_ingress_offer *offer)
{
    consumer->offers++;
    consumer->open = true;
    consumer->term = term;
    consumer->epoch = consumer->incarnation << 32 | (consumer->offers & UINT32_MAX);
    consumer->taken = 0;
    consumer->available = 0;
    consumer->returned = 0;
    consumer->place = 0;
    offer->term = term;
    offer->epoch = consumer->epoch;
}

void lks_ingress_consumer_close(struct lks_ingress_consumer *consumer)
{
    consumer->open = false;
}

static int damaged(struct lks_ingress_consumer *consumer)
{
    consumer->open = false;
    consumer->damaged++;
    return -EBADMSG;
}

bool lks_ingress_waits(const struct lks_ingress_consumer *consumer)
{
    if (!consumer->open || consumer->taken != consumer->available) {
        return consumer->open;
    }
    const uint64_t word = lks_word_read(&own_words(consumer->fabric, consumer->peer)->tail);
    return lines_beyond(word, consumer->epoch, consumer->available) != 0;
}

/* The tail word may have moved on; it never says more than the gateway has credits for. */
static int read_tail(struct lks_ingress_consumer *consumer)
{
    const uint64_t word = lks_word_read(&own_words(consumer->fabric, consumer->peer)->tail);
    const uint64_t more = lines_beyond(word, consumer->epoch, consumer->available);
    if (consumer->available + more - consumer->returned > RING_LINES) {
        return damaged(consumer);
    }
    consumer->available += more;
    return more > 0 ? 0 : -ENODATA;
}

static void advance(struct lks_ingress_consumer *consumer, uint64_t lines)
{
    consumer->taken += lines;
    consumer->place += (uint32_t)lines * LKS_INGRESS_ALIGN;
    if (consumer->place == LKS_INGRESS_RING_BYTES) {
        consumer->place = 0;
    }
}

/* The header at `place`, copied and checked as far as it can be without the command: 0, or
 * -EBADMSG. lines: how many the record takes. */
static int read_header(const struct lks_ingress_consumer *consumer, const uint8_t *record,
                       struct lks_ingress_header *header, uint64_t *lines)
{
    memcpy(header, record, sizeof *header);
    if (header->epoch != consumer->epoch) {
        return -EBADMSG;
    }
    const uint64_t rest = (LKS_INGRESS_RING_BYTES - consumer->place) / LKS_INGRESS_ALIGN;
    if (header->bytes == LKS_INGRESS_SKIP) {
        *lines = rest;
        if (header_checksum(header) != header->checksum) {
            return -EBADMSG;
        }
    } else if (header->bytes <= LKS_INGRESS_COMMAND_MAX) {
        *lines = record_lines(header->bytes);
    } else {
        return -EBADMSG;
    }
    return *lines <= rest && *lines <= consumer->available - consumer->taken ? 0 : -EBADMSG;
}

/* Copies the command out, then checks the copy. */
static int read_command(struct lks_ingress_consumer *consumer, const uint8_t *record,
                        const struct lks_ingress_header *header)
{
    memcpy(consumer->buffer, record + sizeof *header, header->bytes);
    if (lks_crc32c(header_checksum(header), consumer->buffer, header->bytes) !=
        header->checksum) {
        return -EBADMSG;
    }
    /* A gateway speaks for itself only. */
    return lks_session_replica(header->session) == consumer->peer &&
                   lks_session_incarnation(header->session) != 0 && header->sequence != 0
               ? 0
               : -EBADMSG;
}

int lks_ingress_pop(struct lks_ingress_consumer *consumer, struct lks_ingress_command *command)
{
    if (!consumer->open) {
        return -ENODATA;
    }
    const uint8_t *inbox = lks_fabric_inbox(consumer->fabric, consumer->peer);
    for (int skips = 0; skips < 2; skips++) {
        if (consumer->taken == consumer->available) {
            const int rc = read_tail(consumer);
            if (rc != 0) {
                return rc;
            }
        }
        const uint8_t *record = inbox + LKS_INGRESS_RING_OFFSET + consumer->place;
        struct lks_ingress_header header;
        uint64_t lines = 0;
        if (read_header(consumer, record, &header, &lines) != 0) {
            return damaged(consumer);
        }
        if (header.bytes == LKS_INGRESS_SKIP) {
            advance(consumer, lines);
            continue;
        }
        if (read_command(consumer, record, &header) != 0) {
            return damaged(consumer);
        }
        advance(consumer, lines);
        consumer->popped++;
        command->session = header.session;
        command->sequence = header.sequence;
        command->data = consumer->buffer;
        command->bytes = header.bytes;
        return 0;
    }
    return damaged(consumer); /* two skips, one behind the other */
}

int lks_ingress_return_credits(struct lks_ingress_consumer *consumer)
{
    if (!consumer->open || consumer->taken - consumer->returned < CREDIT_LINES) {
        return 0;
    }
    const uint64_t word = word_of(consumer->epoch, consumer->taken);
    const int rc = lks_fabric_write_inbox(
        consumer->fabric, consumer->peer,
        LKS_INGRESS_OFFSET + offsetof(struct lks_ingress_words, head), &word, sizeof word,
        LKS_FABRIC_INLINE | LKS_FABRIC_WAKE, 0);
    LKS_ASSERT(rc == 0 || rc == -LKS_EBUSY || rc == -LKS_EBROKEN);
    if (rc == 0) {
        consumer->returned = consumer->taken;
    } else if (rc == -LKS_EBROKEN) {
        consumer->open = false;
    }
    return rc;
}
