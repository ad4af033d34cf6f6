/* Members as plain data: records, what snapshots carry, and the next record; see members.h. */
#include "node/members.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void lks_meta_encode(const struct lks_sessions *sessions, const struct lks_members_record *members,
                     uint8_t bytes[LKS_META_BYTES])
{
    lks_sessions_encode(sessions, bytes);
    memcpy(bytes + LKS_SESSIONS_BYTES, members, sizeof *members);
}

int lks_meta_decode(struct lks_meta *meta, const void *bytes, size_t count)
{
    struct lks_meta read = {.members = {.version = LKS_MEMBERS_VERSION}};
    const uint8_t *at = bytes;
    if (count != LKS_SESSIONS_BYTES && count != LKS_META_BYTES) {
        return -EBADMSG;
    }
    int rc = lks_sessions_decode(&read.sessions, at);
    if (rc == 0 && count == LKS_META_BYTES) {
        rc = lks_members_record_read(&read.members, at + LKS_SESSIONS_BYTES,
                                     count - LKS_SESSIONS_BYTES);
    }
    if (rc == 0) {
        *meta = read;
    }
    return rc;
}

struct lks_members lks_members_of(const struct lks_members_record *record, uint64_t end_offset)
{
    return (struct lks_members){.number = record->number,
                                .end_offset = end_offset,
                                .voters = record->voters,
                                .learners = record->learners};
}

/* ---- the next record ------------------------------------------------------------------------ */

/* The text into a slot of the record that is all zero; NULL: none. */
static int put_address(char slot[LKS_MEMBERS_ADDRESS_BYTES], const char *text,
                       struct lks_error *err)
{
    if (text != NULL && strlen(text) >= LKS_MEMBERS_ADDRESS_BYTES) {
        return lks_error_set(err, -EINVAL, "address '%s': longer than %u bytes", text,
                             LKS_MEMBERS_ADDRESS_BYTES - 1);
    }
    if (text != NULL) {
        memcpy(slot, text, strlen(text));
    }
    return 0;
}

static int add(struct lks_members_record *next, const struct lks_member_request *request,
               struct lks_error *err)
{
    const uint8_t bit = (uint8_t)(1u << request->id);
    if ((next->voters & bit) != 0) {
        return 1;
    }
    if ((next->learners & bit) != 0 && ((next->manual & bit) != 0) == request->manual) {
        return 1;
    }
    if ((next->learners & bit) != 0) {
        return lks_error_set(err, -EINVAL,
                             "replica %u is a learner already, and %s promoted automatically: "
                             "promote it, or remove it and add it anew",
                             request->id, (next->manual & bit) != 0 ? "not" : "to be");
    }
    struct lks_member_addresses addresses = {.clients = ""};
    int rc = put_address(addresses.clients, request->address, err);
    if (rc == 0) {
        rc = put_address(addresses.fabric, request->fabric_address, err);
    }
    if (rc != 0) {
        return rc;
    }
    next->addresses[request->id - 1] = addresses;
    next->learners |= bit;
    next->manual = (uint8_t)(request->manual ? next->manual | bit : next->manual & ~bit);
    return 0;
}

static int promote(struct lks_members_record *next, const struct lks_member_request *request,
                   struct lks_error *err)
{
    const uint8_t bit = (uint8_t)(1u << request->id);
    if ((next->voters & bit) != 0) {
        return 1;
    }
    if ((next->learners & bit) == 0) {
        return lks_error_set(err, -EINVAL,
                             "replica %u is no member: add it first with `lockstep member add %u`",
                             request->id, request->id);
    }
    next->voters |= bit;
    next->learners &= (uint8_t)~bit;
    next->manual &= (uint8_t)~bit;
    return 0;
}

static int remove_member(struct lks_members_record *next, const struct lks_member_request *request,
                         struct lks_error *err)
{
    const uint8_t bit = (uint8_t)(1u << request->id);
    if (((next->voters | next->learners) & bit) == 0) {
        return 1;
    }
    if (next->voters == bit) {
        return lks_error_set(err, -EINVAL,
                             "replica %u is the only voter: nobody would be left; add another one "
                             "first",
                             request->id);
    }
    next->voters &= (uint8_t)~bit;
    next->learners &= (uint8_t)~bit;
    next->manual &= (uint8_t)~bit;
    next->addresses[request->id - 1] = (struct lks_member_addresses){.clients = ""};
    return 0;
}

int lks_members_change(struct lks_members_record *next, const struct lks_members_record *now,
                       uint32_t now_voters, const struct lks_member_request *request,
                       struct lks_error *err)
{
    struct lks_members_record made = *now;
    made.version = LKS_MEMBERS_VERSION;
    made.voters = (uint8_t)now_voters;
    if (request->id < 1 || request->id > LKS_MEMBERS_SLOTS) {
        return lks_error_set(err, -EINVAL, "replica %u: ids are 1 to %u", request->id,
                             LKS_MEMBERS_SLOTS);
    }
    int rc = -EINVAL;
    switch (request->action) {
    case LKS_MEMBER_ADD:
        rc = add(&made, request, err);
        break;
    case LKS_MEMBER_PROMOTE:
        rc = promote(&made, request, err);
        break;
    case LKS_MEMBER_REMOVE:
        rc = remove_member(&made, request, err);
        break;
    case LKS_MEMBER_TRANSFER:
        break;
    }
    if (rc == 0) {
        made.number++;
        *next = made;
    }
    return rc;
}
