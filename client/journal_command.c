/*
 * `lockstep journal dump|verify FILE`: looks into a replica's journal without locking or changing
 * it, whether a replica runs on it or not. Main thread.
 */
#include "base/clock.h"
#include "client/command.h"
#include "client/journal_snapshots.h"
#include "client/json.h"
#include "client/progress.h"
#include "node/durability.h"
#include "node/value.h"
#include "pmem/journal.h"
#include "pmem/members.h"

#include <argp.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAYLOAD_SHOWN_MAX 64u
#define CLOCK_EVERY 4096u /* entries between two looks at the clock */
#define LIVE_ATTEMPTS_MAX 5u

enum { KEY_FROM = 0x100, KEY_COUNT, KEY_PAYLOAD, KEY_SNAPSHOTS };

struct journal_command {
    const char *action;
    const char *file;
    const char *snapshots; /* NULL: beside the file */
    uint64_t from;  /* dump: first index shown */
    uint64_t count; /* dump: entries shown at most */
    bool payload;
    bool json;
};

/* What a scan of the whole log found. */
struct journal_scan {
    struct lks_log_point base;
    struct lks_log_point end;
    uint64_t kinds[LKS_ENTRY_KINDS]; /* entries by kind */
    uint64_t payload_bytes;
    bool in_use;
    int64_t pid;
    bool torn; /* what follows looks like an entry but for its checksum */
    bool damaged;
    struct lks_error problem;
    struct lks_journal_snapshots snapshots;
};

/* ---- arguments ---------------------------------------------------------------------------- */

static uint64_t number_option(struct argp_state *state, const char *name, const char *text)
{
    uint64_t value = 0;
    if (lks_value_count(text, &value) != 0) {
        argp_error(state, "--%s %s: not a number", name, text);
    }
    return value;
}

static void take_argument(struct journal_command *command, char *argument,
                          struct argp_state *state)
{
    if (command->action == NULL) {
        if (strcmp(argument, "dump") != 0 && strcmp(argument, "verify") != 0) {
            argp_error(state, "'%s': say dump or verify", argument);
        }
        command->action = argument;
    } else if (command->file == NULL) {
        command->file = argument;
    } else {
        argp_error(state, "one file only");
    }
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct journal_command *command = state->input;
    switch (key) {
    case KEY_FROM:
        command->from = number_option(state, "from", argument);
        return 0;
    case KEY_COUNT:
        command->count = number_option(state, "count", argument);
        return 0;
    case KEY_PAYLOAD:
        command->payload = true;
        return 0;
    case KEY_SNAPSHOTS:
        command->snapshots = argument;
        return 0;
    case 'j':
        command->json = true;
        return 0;
    case ARGP_KEY_ARG:
        take_argument(command, argument, state);
        return 0;
    case ARGP_KEY_END:
        if (command->file == NULL) {
            argp_error(state, "say what to do, and with which file: dump FILE, or verify FILE");
        }
        if (command->json && strcmp(command->action, "verify") != 0) {
            argp_error(state, "--json goes with verify");
        }
        if ((command->payload || command->from != 0 || command->count != UINT64_MAX) &&
            strcmp(command->action, "dump") != 0) {
            argp_error(state, "--from, --count and --payload go with dump");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"from", KEY_FROM, "INDEX", 0, "dump: begin with this entry", 1},
    {"count", KEY_COUNT, "N", 0, "dump: show at most N entries", 1},
    {"payload", KEY_PAYLOAD, NULL, 0, "dump: show the first 64 bytes of each payload", 1},
    {"json", 'j', NULL, 0, "verify: print one JSON object", 2},
    {"snapshots", KEY_SNAPSHOTS, "FILE", 0, "The snapshot area, if it is not FILE.snapshots", 3},
    {0},
};

static const struct argp parser = {
    .options = options,
    .parser = parse,
    .args_doc = "dump FILE\nverify FILE",
    .doc = "Looks into a replica's journal (a file or a device) without changing it.\v"
           "dump prints what the journal knows about itself, then one line for each entry: index, "
           "offset, term, kind, payload bytes, session, sequence, time, checksum. verify checks "
           "header, slots and every entry's length, index, terms and chained checksum, and says "
           "where the log ends. Both read the snapshots beside the journal, block by block.\n\n"
           "A running replica's journal may be looked at; its end moves meanwhile.\n\n"
           "Exit codes: 0 the journal is whole; 1 it is damaged or cannot be read; 2 wrong "
           "arguments."};

/* ---- printing ----------------------------------------------------------------------------- */

static const char *kind_name(unsigned kind)
{
    static const char *const names[] = {"?", "noop", "command", "pad", "tick", "members"};
    return kind < LKS_ENTRY_KINDS ? names[kind] : names[0];
}

static const char *time_text(uint64_t time_ns, char text[40])
{
    const time_t seconds = (time_t)(time_ns / LKS_NS_PER_S);
    struct tm calendar;
    char stamp[24] = "-";
    if (gmtime_r(&seconds, &calendar) != NULL) {
        (void)strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &calendar);
    }
    (void)snprintf(text, 40, "%s.%09uZ", stamp, (unsigned)(time_ns % LKS_NS_PER_S));
    return text;
}

static const char *yes_no(bool value)
{
    return value ? "yes" : "no";
}

/* " 1 2 3": the replicas of a mask. */
static const char *mask_text(uint32_t mask, char text[32])
{
    size_t at = 0;
    text[0] = '\0';
    for (uint32_t id = 1; id <= LKS_MEMBERS_SLOTS; id++) {
        if ((mask >> id & 1u) != 0) {
            at += (size_t)snprintf(text + at, 32 - at, " %" PRIu32, id);
        }
    }
    return at != 0 ? text : " none";
}

static void print_about(const struct lks_journal *journal, const char *file)
{
    struct lks_journal_facts facts;
    struct lks_identity identity;
    struct lks_promise promise;
    struct lks_log_point base;
    char cluster[LKS_CLUSTER_ID_TEXT];
    char size[32];
    char created[40];
    const struct lks_medium *medium = lks_journal_medium(journal);
    lks_journal_facts(journal, &facts);
    lks_journal_identity(journal, &identity);
    lks_journal_promise(journal, &promise);
    lks_journal_base(journal, &base);
    lks_value_cluster_id_text(facts.cluster_id, cluster);
    printf("journal      %s\n", file);
    printf("format       %" PRIu32 ", created %s\n", facts.version,
           time_text(facts.created_ns, created));
    printf("cluster      %s, replica %" PRIu32 "\n", cluster, facts.replica);
    printf("medium       %s: %s\n", lks_medium_name(medium->kind), medium->reason);
    printf("ring         %s\n", lks_value_size_text(facts.ring_bytes, size, sizeof size));
    printf("incarnation  %" PRIu64 ", amnesiac: %s, promise lost: %s, stopped in order: %s, "
           "same boot: %s\n",
           identity.incarnation, yes_no(identity.amnesiac), yes_no(identity.promise_lost),
           yes_no(identity.clean_stop), yes_no(identity.same_boot));
    char voters[32];
    printf("members      first voters:%s\n",
           identity.bootstrap_voters != 0 ? mask_text(identity.bootstrap_voters, voters)
                                          : " not known");
    printf("promise      term %" PRIu64 ", candidate %" PRIu32 ", incarnation %" PRIu64 "\n",
           promise.term, promise.candidate, promise.incarnation);
    printf("base         index %" PRIu64 ", term %" PRIu64 ", offset %" PRIu64 "\n", base.index,
           base.term, base.offset);
    printf("floor        offset %" PRIu64 "\n", identity.floor);
}

static void print_payload(const unsigned char *payload, uint64_t bytes)
{
    const uint64_t shown = bytes < PAYLOAD_SHOWN_MAX ? bytes : PAYLOAD_SHOWN_MAX;
    printf("  \"");
    for (uint64_t i = 0; i < shown; i++) {
        if (isprint(payload[i]) && payload[i] != '"' && payload[i] != '\\') {
            putchar(payload[i]);
        } else {
            printf("\\x%02x", payload[i]);
        }
    }
    printf("\"%s\n", shown < bytes ? "..." : "");
}

static void print_members(const struct lks_entry *entry)
{
    struct lks_members_record record;
    char voters[32];
    char learners[32];
    if (lks_members_record_read(&record, entry->payload, entry->header->payload_bytes) != 0) {
        printf("  members of a form that this binary does not know\n");
        return;
    }
    printf("  members %" PRIu64 ": voters%s, learners%s\n", record.number,
           mask_text(record.voters, voters), mask_text(record.learners, learners));
}

static void print_entry(const struct lks_entry *entry, uint64_t offset, bool payload)
{
    const struct lks_entry_header *header = entry->header;
    char when[40];
    printf("%10" PRIu64 " %12" PRIu64 " %8" PRIu64 " %-7s %8" PRIu32 " %016" PRIx64 " %10" PRIu64
           " %s %08" PRIx32 "\n",
           header->index, offset, header->term, kind_name(header->kind), header->payload_bytes,
           header->session, header->sequence, time_text(header->time_ns, when), header->checksum);
    if (header->kind == LKS_ENTRY_MEMBERS) {
        print_members(entry);
    } else if (payload && header->kind != LKS_ENTRY_PAD && header->payload_bytes != 0) {
        print_payload(entry->payload, header->payload_bytes);
    }
}

/* ---- scanning ----------------------------------------------------------------------------- */

/* A bar from the second second on, if standard error is a terminal. */
struct scan_progress {
    uint64_t began_ns;
    unsigned since_clock;
    bool terminal;
    bool drawn;
};

static void show_progress(struct scan_progress *progress, uint64_t done, uint64_t all)
{
    if (!progress->terminal || ++progress->since_clock < CLOCK_EVERY) {
        return;
    }
    progress->since_clock = 0;
    if (lks_clock_monotonic_ns() - progress->began_ns >= LKS_NS_PER_S) {
        lks_progress_draw("reading the ring", (unsigned)(done * 100 / all));
        progress->drawn = true;
    }
}

/* Reads all entries from the base; dump prints those asked for. */
static void scan(const struct lks_journal *journal, const struct journal_command *command,
                 bool print, struct journal_scan *found)
{
    struct scan_progress progress = {.began_ns = lks_clock_monotonic_ns(),
                                     .terminal = !print && isatty(STDERR_FILENO) != 0};
    struct lks_entry entry;
    uint64_t shown = 0;
    memset(found, 0, sizeof *found);
    lks_journal_base(journal, &found->base);
    struct lks_log_point cursor = found->base;
    const uint64_t ring_bytes = lks_journal_ring_bytes(journal);
    found->in_use = lks_journal_in_use(journal, &found->pid);
    for (;;) {
        const uint64_t offset = cursor.offset;
        if (lks_journal_next(journal, &cursor, found->base.offset + ring_bytes, &entry) != 0) {
            break;
        }
        if (entry.header->kind < LKS_ENTRY_KINDS) { /* a live ring may have changed meanwhile */
            found->kinds[entry.header->kind]++;
        }
        found->payload_bytes += entry.header->payload_bytes;
        if (print && cursor.index >= command->from && shown < command->count) {
            print_entry(&entry, offset, command->payload);
            shown++;
        }
        show_progress(&progress, cursor.offset - found->base.offset, ring_bytes);
    }
    if (progress.drawn) {
        lks_progress_clear();
    }
    found->end = cursor;
    found->torn = lks_journal_torn_at(journal, &cursor);
    found->damaged = lks_journal_judge_end(journal, &cursor, &found->problem) != 0;
}

static int open_and_scan(const struct journal_command *command, bool print,
                         struct lks_journal **journal, struct journal_scan *found)
{
    const struct lks_journal_options open_options = {.path = command->file, .read_only = true};
    const int rc = lks_journal_open(journal, &open_options, &found->problem);
    if (rc != 0) {
        return rc;
    }
    if (print) {
        print_about(*journal, command->file);
        printf("\n%10s %12s %8s %-7s %8s %16s %10s %-30s %s\n", "index", "offset", "term", "kind",
               "bytes", "session", "sequence", "time", "checksum");
    }
    scan(*journal, command, print, found);
    return 0;
}

/*
 * While a replica writes, the log may grow between the end of the scan and its judgement, which
 * then sees good entries behind a break that is none any more. Real damage stays where it is.
 */
static int scan_until_steady(const struct journal_command *command, struct lks_journal **journal,
                             struct journal_scan *found)
{
    uint64_t last_break = UINT64_MAX;
    int rc = open_and_scan(command, false, journal, found);
    for (unsigned i = 1; i < LIVE_ATTEMPTS_MAX && rc == 0 && found->damaged && found->in_use &&
                         found->end.offset != last_break;
         i++) {
        last_break = found->end.offset;
        lks_journal_close(*journal, false);
        *journal = NULL;
        rc = open_and_scan(command, false, journal, found);
    }
    return rc;
}

/* ---- verify ------------------------------------------------------------------------------- */

static bool is_damaged(const struct journal_scan *found)
{
    return found->damaged || found->snapshots.damaged;
}

static void print_problems(const struct journal_scan *found, bool unreadable)
{
    if (unreadable || found->damaged) {
        fprintf(stderr, "lockstep journal: %s\n", found->problem.text);
    }
    if (found->snapshots.damaged) {
        fprintf(stderr, "lockstep journal: %s\n", found->snapshots.problem.text);
    }
}

static void print_result(const struct journal_scan *found)
{
    uint64_t entries = 0;
    for (unsigned kind = LKS_ENTRY_NOOP; kind < LKS_ENTRY_KINDS; kind++) {
        entries += found->kinds[kind];
    }
    printf("entries      %" PRIu64 " (noop %" PRIu64 ", command %" PRIu64 ", pad %" PRIu64
           ", tick %" PRIu64 ", members %" PRIu64 "), payload %" PRIu64 " bytes\n",
           entries, found->kinds[LKS_ENTRY_NOOP], found->kinds[LKS_ENTRY_COMMAND],
           found->kinds[LKS_ENTRY_PAD], found->kinds[LKS_ENTRY_TICK],
           found->kinds[LKS_ENTRY_MEMBERS], found->payload_bytes);
    printf("log ends     behind index %" PRIu64 ", term %" PRIu64 ", at offset %" PRIu64 "\n",
           found->end.index, found->end.term, found->end.offset);
    if (found->torn && !found->damaged) {
        printf("             what follows looks like entry %" PRIu64 ", but its checksum is wrong: "
               "a torn tail,\n             or rot that cannot be told from one\n",
               found->end.index + 1);
    }
    if (found->in_use) {
        printf("in use       by process %" PRId64 ": the end may have moved since\n", found->pid);
    }
    lks_journal_snapshots_print(&found->snapshots);
    printf("result       %s\n", is_damaged(found) ? "damaged" : "whole");
}

static void print_json_journal(const struct lks_journal *journal)
{
    struct lks_journal_facts facts;
    struct lks_identity identity;
    struct lks_promise promise;
    char cluster[LKS_CLUSTER_ID_TEXT];
    const struct lks_medium *medium = lks_journal_medium(journal);
    lks_journal_facts(journal, &facts);
    lks_journal_identity(journal, &identity);
    lks_journal_promise(journal, &promise);
    lks_value_cluster_id_text(facts.cluster_id, cluster);
    printf(",\"version\":%" PRIu32 ",\"cluster\":\"%s\",\"replica\":%" PRIu32
           ",\"ring_bytes\":%" PRIu64 ",\"medium\":\"%s\",\"survives_power\":%s",
           facts.version, cluster, facts.replica, facts.ring_bytes, lks_medium_name(medium->kind),
           medium->survives_power ? "true" : "false");
    printf(",\"incarnation\":%" PRIu64 ",\"amnesiac\":%s,\"promise_lost\":%s,\"clean_stop\":%s"
           ",\"same_boot\":%s,\"floor\":%" PRIu64 ",\"promise_term\":%" PRIu64
           ",\"promise_candidate\":%" PRIu32,
           identity.incarnation, identity.amnesiac ? "true" : "false",
           identity.promise_lost ? "true" : "false", identity.clean_stop ? "true" : "false",
           identity.same_boot ? "true" : "false", identity.floor, promise.term,
           promise.candidate);
}

static void print_json_scan(const struct journal_scan *found)
{
    printf(",\"base_index\":%" PRIu64 ",\"base_offset\":%" PRIu64 ",\"last_index\":%" PRIu64
           ",\"last_term\":%" PRIu64 ",\"end_offset\":%" PRIu64,
           found->base.index, found->base.offset, found->end.index, found->end.term,
           found->end.offset);
    for (unsigned kind = LKS_ENTRY_NOOP; kind < LKS_ENTRY_KINDS; kind++) {
        printf(",\"entries_%s\":%" PRIu64, kind_name(kind), found->kinds[kind]);
    }
    printf(",\"payload_bytes\":%" PRIu64 ",\"torn\":%s,\"in_use\":%s,\"pid\":%" PRId64,
           found->payload_bytes, found->torn ? "true" : "false", found->in_use ? "true" : "false",
           found->pid);
}

static int verify(const struct journal_command *command)
{
    struct lks_journal *journal = NULL;
    struct journal_scan found = {.damaged = false};
    const int rc = scan_until_steady(command, &journal, &found);
    if (rc == 0) {
        lks_journal_snapshots_read(&found.snapshots, command->file, command->snapshots,
                                   &found.base, false);
    }
    const bool good = rc == 0 && !is_damaged(&found);
    if (command->json) {
        printf("{\"file\":");
        lks_json_print_string(command->file);
        printf(",\"result\":\"%s\"", good ? "whole" : (rc == 0 ? "damaged" : "unreadable"));
        if (rc == 0) {
            print_json_journal(journal);
            print_json_scan(&found);
            lks_journal_snapshots_print_json(&found.snapshots);
        }
        if (!good) {
            printf(",\"problem\":");
            lks_json_print_string(rc != 0 || found.damaged ? found.problem.text
                                                           : found.snapshots.problem.text);
        }
        printf("}\n");
    } else if (rc == 0) {
        print_about(journal, command->file);
        print_result(&found);
    }
    print_problems(&found, rc != 0);
    lks_journal_close(journal, false);
    return good ? LKS_EXIT_OK : LKS_EXIT_FAILURE;
}

/* ---- dump --------------------------------------------------------------------------------- */

static int dump(const struct journal_command *command)
{
    struct lks_journal *journal = NULL;
    struct journal_scan found = {.damaged = false};
    const int rc = open_and_scan(command, true, &journal, &found);
    if (rc == 0) {
        lks_journal_snapshots_read(&found.snapshots, command->file, command->snapshots,
                                   &found.base, true);
        printf("\n");
        print_result(&found);
    }
    print_problems(&found, rc != 0);
    lks_journal_close(journal, false);
    return rc == 0 && !is_damaged(&found) ? LKS_EXIT_OK : LKS_EXIT_FAILURE;
}

int lks_journal_command(int argc, char **argv)
{
    struct journal_command command = {.count = UINT64_MAX};
    const error_t wrong = argp_parse(&parser, argc, argv, 0, NULL, &command);
    if (wrong != 0) {
        fprintf(stderr, "lockstep journal: %s\n", strerror(wrong));
        return LKS_EXIT_USAGE;
    }
    return strcmp(command.action, "dump") == 0 ? dump(&command) : verify(&command);
}
