/* The members as they lie in the log; see members.h. */
#include "pmem/members.h"

#include <errno.h>
#include <string.h>

static bool texts_end(const struct lks_members_record *record)
{
    bool end = true;
    for (uint32_t i = 0; i < LKS_MEMBERS_SLOTS; i++) {
        const struct lks_member_addresses *addresses = &record->addresses[i];
        end = end && memchr(addresses->clients, '\0', sizeof addresses->clients) != NULL &&
              memchr(addresses->fabric, '\0', sizeof addresses->fabric) != NULL;
    }
    return end;
}

int lks_members_record_read(struct lks_members_record *record, const void *data, size_t bytes)
{
    struct lks_members_record copy;
    if (bytes != sizeof copy) {
        return -EBADMSG;
    }
    memcpy(&copy, data, sizeof copy);
    const unsigned named = copy.voters | copy.learners;
    const bool empty = copy.number == 0 && named == 0 && copy.manual == 0;
    const bool sound = copy.number != 0 && copy.voters != 0 &&
                       (copy.voters & copy.learners) == 0 && (named & 1u) == 0 &&
                       (copy.manual & ~(unsigned)copy.learners) == 0;
    if (copy.version != LKS_MEMBERS_VERSION || copy.reserved != 0 || (!empty && !sound) ||
        !texts_end(&copy)) {
        return -EBADMSG;
    }
    *record = copy;
    return 0;
}
