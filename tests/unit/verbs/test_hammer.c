/*
 * Hammers on revocation with real processes: a writer streams while the owner grants and revokes,
 * the writer is stopped and killed at random times, and the owner itself dies and comes back.
 * What must hold: after REVOKED not one byte of the log changes. Rounds in which nothing had
 * landed before prove nothing and are counted apart.
 *
 * Rounds: the environment's LKS_HAMMER_ROUNDS, or 1000.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/remote_memory.h"
#include "tests/unit/verbs/actor.h"

#define OWNER 1u
#define WRITER 2u
#define SILENT_NS (UINT64_C(2) * LKS_NS_PER_MS)
#define WATCH_NS (UINT64_C(100) * LKS_NS_PER_US)
#define WATCH_STOPPED_NS (UINT64_C(3) * LKS_NS_PER_MS) /* until one that was stopped runs again */
#define LANDING_NS (UINT64_C(3) * LKS_NS_PER_S)
#define ROUNDS_DEFAULT 1000u
#define OWNER_LIVES 40u

static struct {
    uint32_t landed;      /* rounds in which writes landed under the grant */
    uint32_t died_inside; /* the writer was dead inside its section */
    uint32_t killed;      /* the owner killed a silent writer */
    uint32_t stops;
    uint32_t kills;
} tally;

static uint64_t random_state = 88172645463325252u;

static uint64_t random_below(uint64_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % limit;
}

static void count_lines(void *ctx, enum lks_log_level level, const char *line)
{
    (void)ctx;
    (void)level;
    tally.died_inside += strstr(line, "ended inside") != NULL;
    tally.killed += strstr(line, "killing it") != NULL;
    if (getenv("LKS_TEST_LOG") != NULL) {
        (void)fprintf(stderr, "%s\n", line);
    }
}

static uint32_t rounds_wanted(void)
{
    const char *text = getenv("LKS_HAMMER_ROUNDS");
    return text != NULL ? (uint32_t)strtoul(text, NULL, 10) : ROUNDS_DEFAULT;
}

static pid_t spawn_writer(const char *directory, uint64_t incarnation)
{
    char life[24];
    char program[] = "test_hammer";
    char role[] = "writer";
    char *where = strdup(directory);
    (void)snprintf(life, sizeof life, "%llu", (unsigned long long)incarnation);
    char *const arguments[] = {program, role, where, life, NULL};
    const pid_t child = actor_spawn(arguments);
    free(where);
    assert_true(child > 0);
    return child;
}

static void await(struct actor *owner, enum lks_fabric_event_kind kind,
                  struct lks_fabric_event *event)
{
    if (!actor_await(owner, kind, event)) {
        fail_msg("no event %d within the time limit", (int)kind);
    }
}

/* Waits until the writer, perhaps a new life of it, is connected. */
static void connected(struct actor *owner)
{
    struct lks_fabric_event event;
    await(owner, LKS_FABRIC_CONNECTED, &event);
    assert_int_equal(event.peer, WRITER);
}

static void revoke_writer(struct actor *owner)
{
    struct lks_fabric_event event;
    assert_int_equal(lks_fabric_revoke(owner->fabric, WRITER, 7), 0);
    await(owner, LKS_FABRIC_REVOKED, &event);
    assert_int_equal(event.status, 0);
}

/* Grants and sends the key; false if the writer has gone meanwhile. */
static bool grant(struct actor *owner, uint64_t *generation)
{
    struct lks_fabric_event event;
    struct actor_letter letter;
    const uint32_t flags = LKS_FABRIC_INLINE;
    assert_int_equal(lks_fabric_grant(owner->fabric, WRITER, 8), 0);
    await(owner, LKS_FABRIC_GRANTED, &event);
    if (event.status != 0) {
        return false;
    }
    letter.key = event.key;
    letter.number = event.key.grant;
    *generation = event.key.grant;
    return lks_fabric_write_inbox(owner->fabric, WRITER, 0, &letter,
                                  offsetof(struct actor_letter, number), flags, 0) == 0 &&
           lks_fabric_write_inbox(owner->fabric, WRITER, offsetof(struct actor_letter, number),
                                  &letter.number, 8, flags, 0) == 0;
}

static bool has_landed(const uint8_t *log, uint64_t generation)
{
    const lks_word *word = (const lks_word *)(const void *)(log + ACTOR_AREA_OFFSET);
    return lks_word_read(word + 4096 / 8) >> 20 == actor_tag(generation);
}

/* Waits until the writer has written under this grant. */
static bool wait_for_landing(struct actor *owner, uint64_t generation)
{
    struct lks_fabric_event event;
    const uint64_t limit_ns = lks_clock_monotonic_ns() + LANDING_NS;
    while (!has_landed(owner->log, generation)) {
        if (lks_fabric_poll(owner->fabric, &event, 1) == 1 &&
            event.kind == LKS_FABRIC_DISCONNECTED) {
            return false;
        }
        if (lks_clock_monotonic_ns() > limit_ns) {
            return false;
        }
        (void)sched_yield();
    }
    return true;
}

static void spin_for(uint64_t duration_ns)
{
    const uint64_t end_ns = lks_clock_monotonic_ns() + duration_ns;
    while (lks_clock_monotonic_ns() < end_ns) {
        lks_clock_relax();
    }
}

/* The log as it is now must stay as it is. */
static void watch_for_late_writes(const struct actor *owner, pid_t stopped)
{
    static uint8_t seen[ACTOR_AREA_BYTES];
    const uint8_t *area = owner->log + ACTOR_AREA_OFFSET;
    memcpy(seen, area, sizeof seen);
    if (stopped > 0) {
        (void)kill(stopped, SIGCONT);
    }
    const uint64_t end_ns = lks_clock_monotonic_ns() + (stopped > 0 ? WATCH_STOPPED_NS : WATCH_NS);
    do {
        assert_memory_equal(area, seen, sizeof seen);
    } while (lks_clock_monotonic_ns() < end_ns);
}

static void wait_until_stopped(pid_t child)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    assert_true(WIFSTOPPED(status));
}

/* True if the writer has ended; its life is then over for the kernel too. */
static bool reap(pid_t writer, bool wait)
{
    int status;
    return waitpid(writer, &status, wait ? 0 : WNOHANG) == writer;
}

static void revoke__writer_streams_stops_and_dies__nothing_lands_late(void **state)
{
    (void)state;
    char directory[64];
    struct actor owner;
    actor_directory(directory);
    actor_start(&owner, &(struct actor_options){.directory = directory,
                                               .replica = OWNER,
                                               .incarnation = 1,
                                               .silent_writer_ns = SILENT_NS,
                                               .log = count_lines});
    uint64_t incarnation = 1;
    pid_t writer = spawn_writer(directory, incarnation);
    assert_int_equal(lks_fabric_connect(owner.fabric, WRITER), 0);
    connected(&owner);
    const uint32_t rounds = rounds_wanted();
    for (uint32_t round = 0; round < rounds; round++) {
        uint64_t generation = 0;
        revoke_writer(&owner);
        if (grant(&owner, &generation) && wait_for_landing(&owner, generation)) {
            tally.landed++;
        }
        spin_for(random_below(20 * LKS_NS_PER_US));
        const uint64_t chance = random_below(100);
        const bool stop = chance < 10;
        const bool end = chance >= 10 && chance < 20;
        if (stop || end) {
            (void)kill(writer, stop ? SIGSTOP : SIGKILL);
            tally.stops += stop;
            tally.kills += end;
            if (stop && chance % 2 == 0) {
                wait_until_stopped(writer);
            }
        }
        revoke_writer(&owner);
        watch_for_late_writes(&owner, stop ? writer : -1);
        if (reap(writer, end)) {
            incarnation++;
            writer = spawn_writer(directory, incarnation);
            connected(&owner);
        }
    }
    print_message("%u rounds, writes landed in %u; %u stops, %u kills; the writer was dead inside "
                  "its section %u times, of these killed there by the owner %u\n",
                  rounds, tally.landed, tally.stops, tally.kills, tally.died_inside,
                  tally.killed);
    assert_true(tally.landed >= rounds - rounds / 10);
    (void)kill(writer, SIGKILL);
    (void)reap(writer, true);
    actor_stop(&owner);
    actor_remove_directory(directory);
}

/* The owning role of a child: grants once and then does nothing but exist. */
static _Noreturn void own(const struct actor_options *options)
{
    struct actor owner;
    struct lks_fabric_event event;
    uint64_t generation;
    actor_start(&owner, options);
    (void)lks_fabric_connect(owner.fabric, WRITER);
    if (!actor_await(&owner, LKS_FABRIC_CONNECTED, &event)) {
        exit(4);
    }
    if (lks_fabric_revoke(owner.fabric, WRITER, 1) != 0 ||
        !actor_await(&owner, LKS_FABRIC_REVOKED, &event) || !grant(&owner, &generation)) {
        exit(5);
    }
    for (;;) {
        (void)pause();
    }
}

static pid_t spawn_owner(const char *directory, uint64_t incarnation)
{
    char life[24];
    char program[] = "test_hammer";
    char role[] = "owner";
    char *where = strdup(directory);
    (void)snprintf(life, sizeof life, "%llu", (unsigned long long)incarnation);
    char *const arguments[] = {program, role, where, life, NULL};
    const pid_t child = actor_spawn(arguments);
    free(where);
    assert_true(child > 0);
    return child;
}

/* Waits until the log is written under a later grant than the last one, seen from outside. */
static uint64_t wait_for_newer(const uint8_t *log, uint64_t last)
{
    const lks_word *word = (const lks_word *)(const void *)(log + ACTOR_AREA_OFFSET);
    const uint64_t limit_ns = lks_clock_monotonic_ns() + LANDING_NS;
    for (;;) {
        const uint64_t now = lks_word_read(word + 4096 / 8) >> 20;
        if (now > last) {
            return now;
        }
        if (lks_clock_monotonic_ns() > limit_ns) {
            fail_msg("the writer does not write under the next owner");
        }
        (void)sched_yield();
    }
}

/* A next life of the owner, of which the writer knows nothing yet. */
static void fence_in_next_life(const char *directory, uint64_t incarnation, pid_t stopped)
{
    struct actor owner;
    actor_start(&owner, &(struct actor_options){.directory = directory,
                                               .replica = OWNER,
                                               .incarnation = incarnation,
                                               .silent_writer_ns = SILENT_NS,
                                               .log = count_lines});
    revoke_writer(&owner);
    watch_for_late_writes(&owner, stopped);
    actor_stop(&owner);
}

static void revoke__of_an_earlier_lifes_writer__nothing_lands_late(void **state)
{
    (void)state;
    char directory[64];
    struct actor watcher;
    actor_directory(directory);
    /* Only for its mapping of the owner's log. */
    actor_start(&watcher, &(struct actor_options){
                              .directory = directory, .replica = OWNER, .incarnation = 1});
    lks_fabric_free(watcher.fabric);
    const uint32_t killed_before = tally.killed;
    uint64_t incarnation = 2;
    uint64_t writers = 1;
    uint64_t last = 0;
    pid_t writer = spawn_writer(directory, writers);
    for (uint32_t life = 0; life < OWNER_LIVES; life++) {
        const bool stop = life % 3 == 0;
        const pid_t owner = spawn_owner(directory, incarnation);
        last = wait_for_newer(watcher.log, last);
        spin_for(random_below(50 * LKS_NS_PER_US));
        if (stop) {
            (void)kill(writer, SIGSTOP);
            wait_until_stopped(writer);
        }
        (void)kill(owner, SIGKILL);
        (void)reap(owner, true);
        fence_in_next_life(directory, incarnation + 1, stop ? writer : -1);
        incarnation += 2;
        if (reap(writer, false)) {
            writers++;
            writer = spawn_writer(directory, writers);
        }
    }
    print_message("%u lives of the owner; a writer of the life before was killed inside its "
                  "section %u times\n",
                  OWNER_LIVES, tally.killed - killed_before);
    (void)kill(writer, SIGKILL);
    (void)reap(writer, true);
    (void)close(watcher.fd);
    actor_remove_directory(directory);
}

int main(int argc, char **argv)
{
    if (argc == 4) {
        const struct actor_options options = {.directory = argv[2],
                                              .replica = strcmp(argv[1], "owner") == 0 ? OWNER
                                                                                       : WRITER,
                                              .incarnation = strtoull(argv[3], NULL, 10),
                                              .silent_writer_ns = SILENT_NS};
        if (options.replica == OWNER) {
            own(&options);
        }
        actor_write(&options, OWNER);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(revoke__writer_streams_stops_and_dies__nothing_lands_late),
        cmocka_unit_test(revoke__of_an_earlier_lifes_writer__nothing_lands_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
