/*
 * The mailbox; see mailbox.h.
 *
 * Greeting. Each side takes a *token* at each of its connections: its incarnation and a count,
 * so a token is never used twice and rises. It writes token and echo (the peer's token as it
 * sees it) into the peer's inbox. An echo of one's own token was written after that token was
 * taken: so the token beside it belongs to the present connection, and messages may flow. What
 * the area held before, and what of an older connection lands late, bears another pair of tokens.
 * If the peer takes a new token (it saw a break that this side did not see), the greeting begins
 * again and the unacknowledged messages are posted anew. A hello is repeated, with a bounded
 * delay counted in polls, until the peer is known to have what it needs: so it does not matter
 * when exactly each side's fabric zeroes the area. This module never relies on that zeroing.
 *
 * A message's header and body are written first, the slot's word after them by a write of its
 * own; the fabric shows the word only after what was written before it.
 */
#include "node/mailbox.h"

#include "base/assert.h"
#include "base/crc32c.h"

#include <errno.h>
#include <string.h>

#define SEQUENCE_BITS 24
#define SEQUENCE_MASK ((UINT64_C(1) << SEQUENCE_BITS) - 1)
#define HELLO_DELAY_MAX 16u
#define REPEAT_DELAY_MIN 256u /* polls */
#define REPEAT_DELAY_MAX 4096u

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash ^= value + UINT64_C(0x9E3779B97F4A7C15);
    hash *= UINT64_C(0xBF58476D1CE4E5B9);
    hash ^= hash >> 29;
    hash *= UINT64_C(0x94D049BB133111EB);
    return hash ^ hash >> 32;
}

/* A slot's or acknowledgement's word, its sequence left 0: what a word of another pair of tokens
 * never is. (By chance in 2^40 it is; the message's header says so then.) */
static uint64_t word_of(uint64_t reader, uint64_t writer)
{
    return mix(mix(0, reader), writer) & ~SEQUENCE_MASK;
}

/* A hello's words in their order, as read or to be written. */
enum hello_word { TOKEN, ECHO, START, ESTABLISHED, REPEATS, CHECK, HELLO_WORDS };

_Static_assert(sizeof(struct lks_mailbox_hello) == HELLO_WORDS * sizeof(lks_word), "hello");
_Static_assert(offsetof(struct lks_mailbox_hello, check) == CHECK * sizeof(lks_word), "hello");

static uint64_t hello_check(const uint64_t words[HELLO_WORDS])
{
    uint64_t hash = UINT64_C(0x4C4B532D48454C4F);
    for (int i = 0; i < CHECK; i++) {
        hash = mix(hash, words[i]);
    }
    return hash;
}

/* Every poll compares with these words: they are made when a token changes. */
static void set_tokens(struct lks_mailbox *mailbox, uint64_t token, uint64_t peer_token)
{
    mailbox->token = token;
    mailbox->peer_token = peer_token;
    mailbox->word_in = word_of(token, peer_token);
    mailbox->word_out = word_of(peer_token, token);
}

/* Posts one inline write into the mailbox area at the peer. */
static int post(struct lks_mailbox *mailbox, size_t offset, const void *source, size_t bytes,
                uint32_t flags)
{
    const int rc = lks_fabric_write_inbox(mailbox->fabric, mailbox->peer,
                                          LKS_MAILBOX_OFFSET + offset, source, bytes,
                                          LKS_FABRIC_INLINE | flags, 0);
    LKS_ASSERT(rc == 0 || rc == -LKS_EBUSY || rc == -LKS_EBROKEN);
    if (rc == -LKS_EBROKEN) {
        mailbox->connected = false; /* DISCONNECTED follows */
    }
    return rc;
}

/* The next message to be posted is the oldest that the peer has not taken. */
static void post_from_acknowledged(struct lks_mailbox *mailbox)
{
    mailbox->cursor = mailbox->acknowledged;
    mailbox->cursor_bytes = 0;
}

/* Something was heard of the peer: it need not be told again soon. */
static void delay_repeat(struct lks_mailbox *mailbox)
{
    mailbox->repeat_delay = REPEAT_DELAY_MIN;
    mailbox->repeat_wait = REPEAT_DELAY_MIN;
}

void lks_mailbox_init(struct lks_mailbox *mailbox, struct lks_fabric *fabric, uint32_t peer,
                      uint64_t incarnation)
{
    LKS_ASSERT(incarnation > 0);
    memset(mailbox, 0, offsetof(struct lks_mailbox, staged)); /* (a message is staged whole) */
    mailbox->fabric = fabric;
    mailbox->peer = peer;
    mailbox->area = (const void *)((const uint8_t *)lks_fabric_inbox(fabric, peer) +
                                   LKS_MAILBOX_OFFSET);
    mailbox->incarnation = incarnation;
}

void lks_mailbox_disconnected(struct lks_mailbox *mailbox)
{
    mailbox->connected = false;
    mailbox->established = false;
    mailbox->peer_established = false;
    mailbox->acknowledged = mailbox->accepted; /* nothing survives */
    post_from_acknowledged(mailbox);
    mailbox->posted = mailbox->accepted;
}

void lks_mailbox_connected(struct lks_mailbox *mailbox)
{
    lks_mailbox_disconnected(mailbox);
    mailbox->connected = true;
    mailbox->connections++;
    set_tokens(mailbox, mailbox->incarnation << 32 | (mailbox->connections & UINT32_MAX), 0);
    mailbox->start = mailbox->accepted;
    mailbox->hello_due = true;
}

/* ---- greeting ------------------------------------------------------------------------------ */

/* 0, or -ENODATA: no hello there, or one of which only a part is visible yet. */
static int read_hello(const struct lks_mailbox *mailbox, uint64_t words[HELLO_WORDS])
{
    const struct lks_mailbox_hello *hello = &mailbox->area->hello;
    words[TOKEN] = lks_word_read(&hello->token);
    words[ECHO] = lks_word_read(&hello->echo);
    words[START] = lks_word_read(&hello->start);
    words[ESTABLISHED] = lks_word_read(&hello->established);
    words[REPEATS] = lks_word_read(&hello->repeats);
    words[CHECK] = lks_word_read(&hello->check);
    return words[TOKEN] != 0 && words[CHECK] == hello_check(words) ? 0 : -ENODATA;
}

/* The peer took a token: what it acknowledged stays so, the rest is for its new connection. */
static void begin_greeting(struct lks_mailbox *mailbox, uint64_t peer_token)
{
    set_tokens(mailbox, mailbox->token, peer_token);
    mailbox->established = false;
    mailbox->peer_established = false;
    mailbox->start = mailbox->acknowledged;
    mailbox->posted = mailbox->acknowledged;
    post_from_acknowledged(mailbox);
    delay_repeat(mailbox);
}

/* Takes in what the peer's hello says; true if it changed what the own hello has to say. */
static bool hear_hello(struct lks_mailbox *mailbox)
{
    uint64_t words[HELLO_WORDS];
    if (read_hello(mailbox, words) != 0 || words[TOKEN] < mailbox->peer_token) {
        return false;
    }
    bool changed = false;
    if (words[TOKEN] > mailbox->peer_token) {
        begin_greeting(mailbox, words[TOKEN]);
        changed = true;
    }
    if (words[ECHO] != mailbox->token) {
        return changed;
    }
    if (!mailbox->established) {
        mailbox->established = true;
        mailbox->received = words[START];
        mailbox->received_reported = words[START];
        mailbox->damaged_sequence = 0;
        changed = true;
    }
    mailbox->peer_established = words[ESTABLISHED] == 1;
    mailbox->report_due = words[REPEATS] != mailbox->peer_repeats;
    mailbox->peer_repeats = words[REPEATS];
    return changed;
}

/* Word by word, so that each is seen whole; the check, written last, holds them together. */
static int say_hello(struct lks_mailbox *mailbox)
{
    uint64_t words[HELLO_WORDS] = {[TOKEN] = mailbox->token,
                                   [ECHO] = mailbox->peer_token,
                                   [START] = mailbox->start,
                                   [ESTABLISHED] = mailbox->established ? 1 : 0,
                                   [REPEATS] = mailbox->counts.repeated};
    words[CHECK] = hello_check(words);
    int rc = 0;
    for (size_t i = 0; i < HELLO_WORDS && rc == 0; i++) {
        rc = post(mailbox, offsetof(struct lks_mailbox_area, hello) + i * sizeof words[0],
                  &words[i], sizeof words[i], i == CHECK ? LKS_FABRIC_WAKE : 0);
    }
    return rc;
}

/* The peer's hello holds nothing that was not heard: the cheap look of every poll. */
static bool heard_all(const struct lks_mailbox *mailbox)
{
    const struct lks_mailbox_hello *hello = &mailbox->area->hello;
    return lks_word_read(&hello->token) == mailbox->peer_token &&
           lks_word_read(&hello->repeats) == mailbox->peer_repeats;
}

static int greet(struct lks_mailbox *mailbox)
{
    if (mailbox->peer_established && !mailbox->hello_due && heard_all(mailbox)) {
        return 0;
    }
    const bool changed = hear_hello(mailbox);
    if (changed) {
        mailbox->hello_due = true;
    }
    if (mailbox->hello_due) {
        mailbox->hello_wait = 0;
        mailbox->hello_delay = 1;
    } else if (mailbox->peer_established) {
        return 0;
    }
    if (mailbox->hello_wait > 0) {
        mailbox->hello_wait--;
    } else if (say_hello(mailbox) == 0) {
        mailbox->hello_due = false;
        mailbox->hello_wait = mailbox->hello_delay;
        mailbox->hello_delay *= mailbox->hello_delay < HELLO_DELAY_MAX ? 2 : 1;
    }
    return changed ? 1 : 0;
}

/* ---- sending ------------------------------------------------------------------------------- */

static void hear_acknowledgement(struct lks_mailbox *mailbox)
{
    const uint64_t word = lks_word_read(&mailbox->area->acknowledged);
    if ((word & ~SEQUENCE_MASK) != mailbox->word_in) {
        return;
    }
    const uint64_t more = (word - mailbox->acknowledged) & SEQUENCE_MASK;
    if (more == 0 || more > mailbox->posted - mailbox->acknowledged) {
        return;
    }
    mailbox->acknowledged += more;
    if (mailbox->cursor < mailbox->acknowledged) {
        post_from_acknowledged(mailbox);
    }
    delay_repeat(mailbox);
}

static size_t slot_offset(uint64_t sequence)
{
    return offsetof(struct lks_mailbox_area, slots) +
           sequence % LKS_MAILBOX_SLOTS * sizeof(struct lks_mailbox_slot);
}

/* Carries message cursor + 1 on, from where the fabric last said that it has too much to do. */
static int post_message(struct lks_mailbox *mailbox)
{
    const uint64_t sequence = mailbox->cursor + 1;
    struct lks_mailbox_staged *staged = &mailbox->staged[sequence % LKS_MAILBOX_SLOTS];
    struct lks_mailbox_header *header = &staged->header;
    if (mailbox->cursor_bytes == 0) {
        header->reader = mailbox->peer_token;
        header->writer = mailbox->token;
        header->sequence = sequence;
        header->checksum = lks_crc32c(0, (const uint8_t *)header + sizeof header->checksum,
                                      sizeof *header - sizeof header->checksum + header->bytes);
    }
    const size_t total = sizeof *header + header->bytes;
    const size_t slot = slot_offset(sequence);
    while (mailbox->cursor_bytes < total) {
        const size_t rest = total - mailbox->cursor_bytes;
        const size_t bytes = rest < LKS_FABRIC_INLINE_MAX ? rest : LKS_FABRIC_INLINE_MAX;
        const size_t place =
            slot + offsetof(struct lks_mailbox_slot, header) + mailbox->cursor_bytes;
        const int rc =
            post(mailbox, place, (const uint8_t *)staged + mailbox->cursor_bytes, bytes, 0);
        if (rc != 0) {
            return rc;
        }
        mailbox->cursor_bytes += (uint32_t)bytes;
    }
    const uint64_t word = mailbox->word_out | (sequence & SEQUENCE_MASK);
    return post(mailbox, slot + offsetof(struct lks_mailbox_slot, word), &word, sizeof word,
                staged->wake ? LKS_FABRIC_WAKE : 0);
}

static int post_messages(struct lks_mailbox *mailbox)
{
    int work = 0;
    while (mailbox->established && mailbox->cursor < mailbox->accepted &&
           post_message(mailbox) == 0) {
        mailbox->cursor++;
        mailbox->cursor_bytes = 0;
        if (mailbox->posted < mailbox->cursor) {
            mailbox->posted = mailbox->cursor;
            mailbox->counts.sent++;
            work++;
        }
    }
    return work;
}

/* What an older connection wrote may land over a message of this one: after a while without an
 * acknowledgement all that is unacknowledged is posted once more, the same bytes in their slots. */
static void repeat_unacknowledged(struct lks_mailbox *mailbox)
{
    if (mailbox->acknowledged == mailbox->posted) {
        delay_repeat(mailbox);
    } else if (mailbox->repeat_wait > 0) {
        mailbox->repeat_wait--;
    } else {
        mailbox->repeat_delay *= mailbox->repeat_delay < REPEAT_DELAY_MAX ? 2 : 1;
        mailbox->repeat_wait = mailbox->repeat_delay;
        mailbox->counts.repeated++;
        mailbox->hello_due = true;
        post_from_acknowledged(mailbox);
    }
}

int lks_mailbox_send(struct lks_mailbox *mailbox, const void *message, uint32_t bytes, bool wake)
{
    LKS_ASSERT(bytes > 0);
    LKS_ASSERT(bytes <= LKS_MAILBOX_MESSAGE_MAX);
    if (!mailbox->connected) {
        return -LKS_EBROKEN;
    }
    if (mailbox->accepted - mailbox->acknowledged == LKS_MAILBOX_SLOTS && mailbox->established) {
        hear_acknowledgement(mailbox);
    }
    if (mailbox->accepted - mailbox->acknowledged == LKS_MAILBOX_SLOTS) {
        return -LKS_EBUSY;
    }
    mailbox->accepted++;
    struct lks_mailbox_staged *staged = &mailbox->staged[mailbox->accepted % LKS_MAILBOX_SLOTS];
    memset(&staged->header, 0, sizeof staged->header);
    staged->header.bytes = bytes;
    staged->wake = wake;
    memcpy(staged->body, message, bytes);
    (void)post_messages(mailbox); /* what could not be posted now is posted by _poll */
    return mailbox->connected ? 0 : -LKS_EBROKEN;
}

uint32_t lks_mailbox_pending(const struct lks_mailbox *mailbox)
{
    return (uint32_t)(mailbox->accepted - mailbox->acknowledged);
}

/* ---- receiving ----------------------------------------------------------------------------- */

/* Copies a slot out, then checks the copy: its length, or -EBADMSG. */
static int take_slot(const struct lks_mailbox *mailbox, const struct lks_mailbox_slot *slot,
                     void *buffer)
{
    struct lks_mailbox_header header;
    memcpy(&header, &slot->header, sizeof header);
    if (header.bytes == 0 || header.bytes > LKS_MAILBOX_MESSAGE_MAX ||
        header.reader != mailbox->token || header.writer != mailbox->peer_token ||
        header.sequence != mailbox->received + 1) {
        return -EBADMSG;
    }
    memcpy(buffer, slot->body, header.bytes);
    uint32_t checksum = lks_crc32c(0, (const uint8_t *)&header + sizeof header.checksum,
                                   sizeof header - sizeof header.checksum);
    checksum = lks_crc32c(checksum, buffer, header.bytes);
    return checksum == header.checksum ? (int)header.bytes : -EBADMSG;
}

int lks_mailbox_receive(struct lks_mailbox *mailbox, void *buffer)
{
    if (!mailbox->connected || !mailbox->established) {
        return -ENODATA;
    }
    const uint64_t sequence = mailbox->received + 1;
    const struct lks_mailbox_slot *slot = &mailbox->area->slots[sequence % LKS_MAILBOX_SLOTS];
    if (lks_word_read(&slot->word) != (mailbox->word_in | (sequence & SEQUENCE_MASK))) {
        return -ENODATA;
    }
    const int bytes = take_slot(mailbox, slot, buffer);
    if (bytes < 0) {
        mailbox->counts.damaged += mailbox->damaged_sequence == sequence ? 0 : 1;
        mailbox->damaged_sequence = sequence;
        return -ENODATA;
    }
    mailbox->received = sequence;
    mailbox->counts.received++;
    mailbox->peer_established = true; /* else it could not have sent */
    return bytes;
}

/* One acknowledgement for all messages taken since the last; half a window of them may have left
 * the peer with nowhere to put the next one, so it is woken. */
static int report_received(struct lks_mailbox *mailbox)
{
    const uint64_t taken = mailbox->received - mailbox->received_reported;
    if (taken == 0 && !mailbox->report_due) {
        return 0;
    }
    const uint64_t word = mailbox->word_out | (mailbox->received & SEQUENCE_MASK);
    if (post(mailbox, offsetof(struct lks_mailbox_area, acknowledged), &word, sizeof word,
             taken >= LKS_MAILBOX_SLOTS / 2 ? LKS_FABRIC_WAKE : 0) != 0) {
        return 0;
    }
    mailbox->received_reported = mailbox->received;
    mailbox->report_due = false;
    return 1;
}

/* Both sides know each other, and each has been told all that the other one needs to know: then a
 * poll, most of which are of this kind, has nothing to do. */
static bool is_quiet(const struct lks_mailbox *mailbox)
{
    return mailbox->established && mailbox->peer_established && !mailbox->hello_due &&
           !mailbox->report_due && mailbox->acknowledged == mailbox->accepted &&
           mailbox->received == mailbox->received_reported && heard_all(mailbox);
}

int lks_mailbox_poll(struct lks_mailbox *mailbox)
{
    if (!mailbox->connected) {
        return 0;
    }
    if (is_quiet(mailbox)) {
        delay_repeat(mailbox);
        return 0;
    }
    int work = greet(mailbox);
    if (mailbox->connected && mailbox->established) {
        hear_acknowledgement(mailbox);
        repeat_unacknowledged(mailbox);
        work += post_messages(mailbox);
        work += mailbox->connected ? report_received(mailbox) : 0;
    }
    return work;
}
