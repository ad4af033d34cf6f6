/* SCHEDULER at a replica's client port; see scheduler_command.h. */
#include "node/scheduler_command.h"

#include "node/value.h"

#include <string.h>
#include <strings.h>

#define QUOTED_BYTES_MAX 40

static int quoted_bytes(const struct lks_argument *argument)
{
    return (int)(argument->bytes < QUOTED_BYTES_MAX ? argument->bytes : QUOTED_BYTES_MAX);
}

/* Copies the argument as text; false: too long, or no text. */
static bool take_text(const struct lks_argument *argument, char *text, size_t bytes_max)
{
    if (argument->bytes >= bytes_max || memchr(argument->data, '\0', argument->bytes) != NULL) {
        return false;
    }
    memcpy(text, argument->data, argument->bytes);
    text[argument->bytes] = '\0';
    return true;
}

static bool take_workers(const struct lks_argument *argument, uint32_t *workers,
                         struct lks_reply *reply)
{
    char text[24];
    uint64_t value = 0;
    if (!take_text(argument, text, sizeof text) || lks_value_count(text, &value) != 0 ||
        value < 1 || value > LKS_WORKERS_MAX) {
        lks_reply_error(reply, "ERR WORKERS '%.*s': give 1 to %u", quoted_bytes(argument),
                        argument->data, LKS_WORKERS_MAX);
        return false;
    }
    *workers = (uint32_t)value;
    return true;
}

void lks_scheduler_command(struct lks_replica *replica, const struct lks_argument *args,
                           size_t count, struct lks_reply *reply)
{
    char name[QUOTED_BYTES_MAX + 1];
    struct lks_error err = {0};
    enum lks_scheduler_kind kind = LKS_SEQUENTIAL;
    uint32_t workers = 0;
    if (count != 3 && count != 5) {
        lks_reply_error(reply, "ERR wrong number of arguments for 'scheduler|set' command");
        return;
    }
    if (!take_text(&args[2], name, sizeof name)) {
        name[0] = '\0';
    }
    if (lks_scheduler_kind_parse(name, &kind, &err) != 0) {
        lks_reply_error(reply, "ERR %s", err.text);
        return;
    }
    if (count == 5) {
        if (args[3].bytes != strlen("workers") ||
            strncasecmp(args[3].data, "workers", args[3].bytes) != 0) {
            lks_reply_error(reply, "ERR '%.*s': only WORKERS and a number may follow the scheduler",
                            quoted_bytes(&args[3]), args[3].data);
            return;
        }
        if (!take_workers(&args[4], &workers, reply)) {
            return;
        }
    }
    if (lks_replica_set_scheduler(replica, kind, workers, &err) != 0) {
        lks_reply_error(reply, "ERR %s", err.text);
    } else {
        lks_reply_status(reply, "OK");
    }
}
