/*
 * A replicated bank: accounts, deposits, transfers. The program is a whole replica with this
 * service in it; `bank local`, `bank init`, `bank serve`, `bank status` and the other commands are
 * those of `lockstep`.
 *
 * The rule of a service: the same commands in the same order give the same state and the same
 * replies everywhere. So no clock, no random number, no address of memory may decide anything.
 *
 * Its state is cut into partitions, each a sixteenth of the accounts: commands that touch different
 * ones may be executed at the same time, and each is written to the snapshots by itself.
 */
#include "bank.h"

#include <errno.h>
#include <lockstep/replica.h>
#include <lockstep/service.h>
#include <stdlib.h>
#include <string.h>

#define PARTITIONS 16u
#define PARTITION_ACCOUNTS (BANK_ACCOUNTS / PARTITIONS)

struct partition {
    int64_t balances[PARTITION_ACCOUNTS];
    int64_t frozen[PARTITION_ACCOUNTS]; /* as they were when the snapshot under way began */
    bool restored;
};

struct bank {
    struct partition partitions[PARTITIONS];
};

static int open_bank(void **state, const struct lks_service_options *options)
{
    (void)options;
    *state = calloc(1, sizeof(struct bank));
    return *state != NULL ? 0 : -ENOMEM;
}

static void close_bank(void *state)
{
    free(state);
}

/* ---- commands ------------------------------------------------------------------------------- */

/* Clients may send anything: what makes no sense must make none on every replica alike. */
static bool decode(const void *data, size_t bytes, struct bank_command *command)
{
    if (bytes != sizeof *command) {
        return false;
    }
    memcpy(command, data, sizeof *command);
    return command->operation >= BANK_DEPOSIT && command->operation <= BANK_TOTAL &&
           command->account < BANK_ACCOUNTS && command->other < BANK_ACCOUNTS;
}

static uint32_t partition_of(uint32_t account)
{
    return account % PARTITIONS;
}

static int64_t *balance(struct bank *bank, uint32_t account)
{
    return &bank->partitions[partition_of(account)].balances[account / PARTITIONS];
}

static bool is_read(const void *data, size_t bytes)
{
    struct bank_command command;
    return decode(data, bytes, &command) && command.operation >= BANK_BALANCE;
}

/* What a command touches, told from its bytes alone. */
static void footprint(const void *data, size_t bytes, struct lks_footprint *touched)
{
    struct bank_command command;
    lks_footprint_clear(touched);
    if (!decode(data, bytes, &command)) {
        return; /* nothing: it gets an error, whatever the state */
    }
    if (command.operation == BANK_TOTAL) {
        touched->count = LKS_FOOTPRINT_ALL;
        return;
    }
    const uint32_t first = partition_of(command.account);
    const uint32_t second =
        command.operation == BANK_TRANSFER ? partition_of(command.other) : first;
    touched->partitions[0] = (uint16_t)(first < second ? first : second);
    touched->partitions[1] = (uint16_t)(first < second ? second : first);
    touched->count = first == second ? 1 : 2;
    touched->reads = command.operation == BANK_BALANCE ? 1 : 0;
    /* Whether the other account gets the money depends on the first one's balance. */
    touched->tied = touched->count == 2;
}

static bool transfer(struct bank *bank, const struct bank_command *command)
{
    int64_t *from = balance(bank, command->account);
    if (*from < command->amount) {
        return false;
    }
    *from -= command->amount;
    *balance(bank, command->other) += command->amount;
    return true;
}

static int64_t total(const struct bank *bank)
{
    int64_t sum = 0;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        for (uint32_t i = 0; i < PARTITION_ACCOUNTS; i++) {
            sum += bank->partitions[p].balances[i];
        }
    }
    return sum;
}

static void execute(void *state, const struct lks_command *given, struct lks_reply *reply)
{
    struct bank *bank = state;
    struct bank_command command;
    if (!decode(given->data, given->bytes, &command)) {
        lks_reply_error(reply, "ERR this is no command of a bank");
        return;
    }
    /* After a restart: this partition's snapshot has the command's effect already. (A transfer is
     * tied: both of its partitions have it, or neither.) */
    if (!lks_command_includes(given, partition_of(command.account))) {
        lks_reply_null(reply);
        return;
    }
    switch ((enum bank_operation)command.operation) {
    case BANK_DEPOSIT:
        *balance(bank, command.account) += command.amount;
        lks_reply_integer(reply, *balance(bank, command.account));
        break;
    case BANK_TRANSFER:
        lks_reply_integer(reply, transfer(bank, &command) ? 1 : 0);
        break;
    case BANK_BALANCE:
        lks_reply_integer(reply, *balance(bank, command.account));
        break;
    case BANK_TOTAL:
        lks_reply_integer(reply, total(bank));
        break;
    }
}

/* ---- time: nothing expires here -------------------------------------------------------------- */

static bool tick(void *state, uint64_t time_ns)
{
    (void)state;
    (void)time_ns;
    return false;
}

static uint64_t next_expiry_ns(void *state)
{
    (void)state;
    return UINT64_MAX;
}

/* ---- snapshots ------------------------------------------------------------------------------ */

/* A partition is small: frozen by a copy, written as one chunk. */
static uint64_t snapshot_begin(void *state, uint32_t number)
{
    struct partition *partition = &((struct bank *)state)->partitions[number];
    memcpy(partition->frozen, partition->balances, sizeof partition->frozen);
    return sizeof partition->frozen;
}

static int snapshot_step(void *state, uint32_t number, const struct lks_snapshot_writer *writer,
                         size_t bytes_max, bool *done)
{
    const struct partition *partition = &((struct bank *)state)->partitions[number];
    (void)bytes_max;
    *done = true;
    return writer->write(writer->ctx, partition->frozen, sizeof partition->frozen);
}

static void snapshot_end(void *state, uint32_t number)
{
    (void)state;
    (void)number;
}

static uint64_t snapshot_kept(void *state)
{
    (void)state;
    return 0; /* the copies are always there */
}

static void restore_begin(void *state, uint32_t number)
{
    struct partition *partition = &((struct bank *)state)->partitions[number];
    memset(partition, 0, sizeof *partition);
}

static int restore_chunk(void *state, uint32_t number, const void *data, size_t bytes)
{
    struct partition *partition = &((struct bank *)state)->partitions[number];
    if (bytes != sizeof partition->balances || partition->restored) {
        restore_begin(state, number);
        return -EBADMSG;
    }
    memcpy(partition->balances, data, bytes);
    partition->restored = true;
    return 0;
}

static int restore_end(void *state, uint32_t number)
{
    return ((struct bank *)state)->partitions[number].restored ? 0 : -EBADMSG;
}

/* Replicas compare these: equal content, equal hash. */
static uint64_t hash(void *state, uint32_t number)
{
    const struct partition *partition = &((struct bank *)state)->partitions[number];
    uint64_t sum = UINT64_C(14695981039346656037);
    for (uint32_t i = 0; i < PARTITION_ACCOUNTS; i++) {
        sum = (sum ^ (uint64_t)partition->balances[i]) * UINT64_C(1099511628211);
    }
    return sum;
}

static const struct lks_service bank_service = {
    .abi = LKS_SERVICE_ABI,
    .name = "bank",
    .partitions = PARTITIONS,
    .open = open_bank,
    .close = close_bank,
    .footprint = footprint,
    .apply = execute,
    .read = execute,
    .is_read = is_read,
    .tick = tick,
    .next_expiry_ns = next_expiry_ns,
    .snapshot_begin = snapshot_begin,
    .snapshot_step = snapshot_step,
    .snapshot_end = snapshot_end,
    .snapshot_kept = snapshot_kept,
    .restore_begin = restore_begin,
    .restore_chunk = restore_chunk,
    .restore_end = restore_end,
    .hash = hash,
};

int main(int argc, char **argv)
{
    return lks_main(&bank_service, argc, argv);
}
