/*
 * A client of the bank: teller DIRECTORY COUNT
 *
 * Pays 1 into accounts COUNT times, with transfers in between, as many under way as may be, and
 * then asks for the total. Whatever happens to the replicas meanwhile, each call takes effect once:
 * the total has grown by exactly COUNT, or the teller says so and fails. It prints a line at each
 * quarter, for whoever wants to kill a replica just then (tests/examples/run does).
 */
#include "bank.h"

#include <lockstep/client.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_NS UINT64_C(10000000000)

struct progress {
    unsigned long answered;
    unsigned long failed;
};

static void on_answer(void *ctx, int status, const void *reply, size_t bytes)
{
    struct progress *progress = ctx;
    (void)bytes;
    progress->answered++;
    if (status != LKS_CLIENT_OK || *(const char *)reply != ':') {
        progress->failed++;
        fprintf(stderr, "teller: a call failed: %s\n", lks_client_status_text(status));
    }
}

/* Every other call is a transfer. */
static struct bank_command command_of(unsigned long i)
{
    return (struct bank_command){
        .operation = i % 2 == 0 ? BANK_DEPOSIT : BANK_TRANSFER,
        .account = (uint32_t)(i * 7 % BANK_ACCOUNTS),
        .other = (uint32_t)(i * 13 % BANK_ACCOUNTS),
        .amount = 1};
}

static int pay(struct lks_client *client, unsigned long calls)
{
    struct progress progress = {0};
    unsigned long given = 0;
    unsigned quarter = 0;
    while (progress.answered < calls) {
        while (given < calls) {
            const struct bank_command command = command_of(given);
            const int rc =
                lks_client_call_async(client, &command, sizeof command, on_answer, &progress);
            if (rc == LKS_CLIENT_BUSY) {
                break; /* as many under way as may be */
            }
            if (rc != 0) {
                fprintf(stderr, "teller: %s\n", lks_client_status_text(rc));
                return -1;
            }
            given++;
        }
        (void)lks_client_poll(client, WAIT_NS);
        if (progress.answered * 4 / calls > quarter) {
            quarter = (unsigned)(progress.answered * 4 / calls);
            printf("%u/4 of the calls are answered\n", quarter);
            (void)fflush(stdout);
        }
    }
    return progress.failed == 0 ? 0 : -1;
}

static int ask_total(struct lks_client *client, long long *total)
{
    const struct bank_command command = {.operation = BANK_TOTAL};
    struct lks_client_answer answer = {0};
    char text[32] = "";
    const int rc = lks_client_read(client, &command, sizeof command, &answer);
    if (rc == 0 && answer.bytes < sizeof text) {
        memcpy(text, answer.data, answer.bytes); /* ":123\r\n" */
    }
    free(answer.data);
    if (rc != 0 || text[0] != ':') {
        fprintf(stderr, "teller: the total: %s\n", lks_client_status_text(rc));
        return -1;
    }
    *total = strtoll(text + 1, NULL, 10);
    return 0;
}

int main(int argc, char **argv)
{
    const unsigned long count = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    struct lks_client *client = NULL;
    struct lks_client_state state;
    long long before = 0;
    long long after = 0;
    if (count == 0) {
        fprintf(stderr, "usage: teller DIRECTORY COUNT\n");
        return 2;
    }
    const struct lks_client_options options = {.directory = argv[1], .timeout_ns = 3 * WAIT_NS};
    const int rc = lks_client_connect(&client, &options);
    if (rc != 0) {
        fprintf(stderr, "teller: no replica in %s: %s\n", argv[1], lks_client_status_text(rc));
        return 1;
    }
    const bool paid = ask_total(client, &before) == 0 && pay(client, 2 * count) == 0 &&
                      ask_total(client, &after) == 0;
    lks_client_state(client, &state);
    lks_client_close(client);
    const bool right = paid && after - before == (long long)count;
    printf("%lu deposits: the total went from %lld to %lld, %s; %llu calls were sent again, "
           "replicas attached to: %llu\n",
           count, before, after, right ? "as it must" : "WRONG",
           (unsigned long long)state.repeated, (unsigned long long)state.attachments);
    return right ? 0 : 1;
}
