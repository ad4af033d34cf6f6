/*
 * Gates without fabric or sockets: the head page over lives and boots, writers that stop or die
 * inside a section (children that stop themselves there, so each case is certain), and a tight
 * hammer of gate against writer: the rounds are so short that a missing fence has a chance to show
 * (more rounds: the environment's LKS_TIGHT_ROUNDS, on two processors with nothing else to do).
 */
#include <errno.h>
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
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "verbs/shm/gate.h"

#define WRITER 2u
#define SECTION_BYTES 4096u
#define SILENT_NS (UINT64_C(2) * LKS_NS_PER_MS)
#define PATIENCE_NS (UINT64_C(10) * LKS_NS_PER_S)
#define TIGHT_ROUNDS 20000u
#define TIGHT_NS (UINT64_C(3) * LKS_NS_PER_S) /* at most, unless rounds are asked for */

/* Shared between owner and writer, as a log memory is. */
struct shared {
    union {
        struct lks_shm_head head;
        uint8_t page[LKS_SHM_HEAD_BYTES];
    };
    uint64_t area[SECTION_BYTES / 8];
    alignas(64) lks_word granted; /* the key, handed over: 0 for none */
    alignas(64) lks_word inside;  /* a writer that stops there says so */
};

/* An owner: its gates, and the last end they told. */
struct owner {
    struct lks_shm_gates gates;
    struct lks_shm_gate_end last;
    uint32_t ends;
    uint32_t kills; /* log lines that tell of one */
    bool connected;
    struct lks_log log_sink;
};

static struct shared *shared;

static int map_shared(void **state)
{
    (void)state;
    void *mapped = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                        -1, 0);
    if (mapped == MAP_FAILED) {
        return -1;
    }
    shared = mapped;
    return 0;
}

static int unmap_shared(void **state)
{
    (void)state;
    return munmap(shared, sizeof *shared);
}

static void on_end(void *ctx, const struct lks_shm_gate_end *end)
{
    struct owner *owner = ctx;
    owner->last = *end;
    owner->ends++;
}

static bool is_connected(void *ctx, uint32_t writer)
{
    const struct owner *owner = ctx;
    return owner->connected && writer == WRITER;
}

static void count_kills(void *ctx, enum lks_log_level level, const char *line)
{
    struct owner *owner = ctx;
    (void)level;
    owner->kills += strstr(line, "killing it") != NULL;
}

static int begin_life(struct owner *owner, uint64_t incarnation, struct lks_error *err)
{
    memset(owner, 0, sizeof *owner);
    owner->connected = true;
    owner->log_sink =
        (struct lks_log){.level = LKS_LOG_DEBUG, .sink = count_kills, .ctx = owner};
    owner->gates = (struct lks_shm_gates){.head = &shared->head,
                                          .replicas = 3,
                                          .silent_writer_ns = SILENT_NS,
                                          .log_sink = &owner->log_sink,
                                          .on_end = on_end,
                                          .connected = is_connected,
                                          .ctx = owner};
    assert_int_equal(lks_shm_process_self(&owner->gates.self), 0);
    return lks_shm_gates_init(&owner->gates, incarnation, err);
}

static void begin(struct owner *owner, uint64_t incarnation)
{
    struct lks_error err = {0};
    assert_int_equal(begin_life(owner, incarnation, &err), 0);
}

static uint64_t post_grant(struct owner *owner)
{
    const uint32_t ends = owner->ends;
    assert_int_equal(lks_shm_gates_post(&owner->gates, WRITER, true, 5), 0);
    assert_int_equal(owner->ends, ends + 1);
    assert_true(owner->last.grant);
    assert_int_equal(owner->last.status, 0);
    return owner->last.generation;
}

/* Waits for another process, which may need this one's processor. */
static void relax(unsigned spin)
{
    if (spin % 100 == 0) {
        (void)sched_yield();
    } else {
        lks_clock_relax();
    }
}

/* Posts a revocation and waits for its end. */
static void revoke_writer(struct owner *owner)
{
    const uint32_t ends = owner->ends;
    const uint64_t limit_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    assert_int_equal(lks_shm_gates_post(&owner->gates, WRITER, false, 6), 0);
    for (unsigned spin = 1; owner->ends == ends; spin++) {
        relax(spin);
        const uint64_t now_ns = lks_clock_monotonic_ns();
        if (now_ns > limit_ns) {
            fail_msg("the revocation does not end");
        }
        lks_shm_gates_advance(&owner->gates, now_ns);
    }
    assert_false(owner->last.grant);
}

static struct lks_shm_gate *gate(void)
{
    return &shared->head.gates[WRITER - 1];
}

/* What the child does once it is inside its section. */
enum inside { DIES, STOPS, STAYS };

/* A writer that enters under `generation` and never leaves by itself. */
static pid_t writer_inside(uint64_t generation, enum inside what)
{
    const pid_t parent = getpid();
    const pid_t child = fork();
    if (child == 0) {
        struct lks_shm_process self;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent || lks_shm_process_self(&self) != 0) {
            _exit(1);
        }
        lks_shm_gate_sign(gate(), &self);
        if (!lks_shm_gate_enter(gate(), generation)) {
            _exit(2);
        }
        lks_word_publish(&shared->inside, 1);
        for (;;) {
            if (what != STAYS) {
                (void)raise(what == DIES ? SIGKILL : SIGSTOP);
            }
            shared->area[0]++; /* a late write, if anybody lets it run on */
        }
    }
    assert_true(child > 0);
    while (lks_word_read(&shared->inside) == 0) {
        (void)sched_yield();
    }
    lks_word_publish(&shared->inside, 0);
    return child;
}

static void reap(pid_t child, int signal)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), signal);
}

static void grant__twice__numbers_rise(void **state)
{
    (void)state;
    struct owner owner;
    begin(&owner, 1);
    const uint64_t first = post_grant(&owner);
    revoke_writer(&owner);
    const uint64_t second = post_grant(&owner);
    assert_true(second > first);
    assert_int_equal(first % 2 + second % 2, 0);
    lks_shm_gates_fini(&owner.gates);
}

static void grant__not_connected__ebroken(void **state)
{
    (void)state;
    struct owner owner;
    begin(&owner, 1);
    owner.connected = false;
    assert_int_equal(lks_shm_gates_post(&owner.gates, WRITER, true, 5), 0);
    assert_int_equal(owner.last.status, -LKS_EBROKEN);
    owner.connected = true;
    (void)post_grant(&owner);
    lks_shm_gates_fini(&owner.gates);
}

static void init__next_life_same_incarnation__numbers_still_rise(void **state)
{
    (void)state;
    struct owner owner;
    begin(&owner, 4);
    const uint64_t first = post_grant(&owner);
    begin(&owner, 4); /* a crash: nothing was told to the head */
    assert_false(lks_shm_gate_enter(gate(), first));
    assert_true(post_grant(&owner) > first);
    lks_shm_gates_fini(&owner.gates);
}

static void init__head_lost__higher_incarnation_lifts_the_numbers(void **state)
{
    (void)state;
    struct owner owner;
    begin(&owner, 4);
    const uint64_t first = post_grant(&owner);
    memset(shared, 0, sizeof *shared);
    begin(&owner, 5);
    assert_true(post_grant(&owner) > first);
    lks_shm_gates_fini(&owner.gates);
}

static void init__other_boot__stale_busy_forgotten(void **state)
{
    (void)state;
    struct owner owner;
    begin(&owner, 1);
    shared->head.boot_id[3] ^= 0xff;
    lks_word_publish(&gate()->busy, 77);
    lks_word_publish(&gate()->writer_pid, (uint64_t)getppid());
    begin(&owner, 2);
    assert_int_equal(lks_word_read(&gate()->busy), 0);
    (void)post_grant(&owner);
    lks_shm_gates_fini(&owner.gates);
}

static void init__garbage_head__writers_inside_are_not_forgotten(void **state)
{
    (void)state;
    struct owner owner;
    memset(shared->page, 0xa5, sizeof shared->page);
    begin(&owner, 1);
    /* No process has such a number: nobody is inside. */
    revoke_writer(&owner);
    assert_int_equal(lks_word_read(&gate()->busy), 0);
    (void)post_grant(&owner);
    lks_shm_gates_fini(&owner.gates);
}

static void init__generation_out_of_range__edamaged(void **state)
{
    (void)state;
    struct owner owner;
    struct lks_error err = {0};
    begin(&owner, 1);
    lks_word_publish(&shared->head.last_generation, UINT64_MAX - 5);
    assert_int_equal(begin_life(&owner, 2, &err), -LKS_EDAMAGED);
    assert_non_null(strstr(err.text, "out of range"));
    assert_int_equal(begin_life(&owner, UINT64_MAX, &err), -EINVAL);
}

static void fini__open_gate__closed(void **state)
{
    (void)state;
    struct owner owner;
    begin(&owner, 1);
    const uint64_t generation = post_grant(&owner);
    lks_shm_gates_fini(&owner.gates);
    assert_false(lks_shm_gate_enter(gate(), generation));
}

static void post__more_than_fit__ebusy(void **state)
{
    (void)state;
    struct owner owner;
    begin(&owner, 1);
    const uint64_t generation = post_grant(&owner);
    const pid_t child = writer_inside(generation, STOPS);
    for (unsigned i = 0; i < LKS_SHM_GATE_POSTED_MAX; i++) {
        assert_int_equal(lks_shm_gates_post(&owner.gates, WRITER, false, i), 0);
    }
    assert_int_equal(lks_shm_gates_post(&owner.gates, WRITER, false, 99), -LKS_EBUSY);
    const uint32_t ends = owner.ends;
    assert_int_equal(kill(child, SIGKILL), 0);
    reap(child, SIGKILL);
    while (owner.gates.pending != 0) {
        lks_shm_gates_advance(&owner.gates, lks_clock_monotonic_ns());
    }
    assert_int_equal(owner.ends, ends + LKS_SHM_GATE_POSTED_MAX);
    lks_shm_gates_fini(&owner.gates);
}

static void revoke__writer_dead_inside__revoked(void **state)
{
    (void)state;
    struct owner owner;
    begin(&owner, 1);
    const uint64_t generation = post_grant(&owner);
    const pid_t child = writer_inside(generation, DIES);
    revoke_writer(&owner); /* it may be a zombie yet */
    assert_int_equal(owner.kills, 0);
    assert_int_equal(lks_word_read(&gate()->busy), 0);
    reap(child, SIGKILL);
    lks_shm_gates_fini(&owner.gates);
}

static void revoke__writer_stopped_inside__killed_first(void **state)
{
    (void)state;
    struct owner owner;
    begin(&owner, 1);
    const pid_t child = writer_inside(post_grant(&owner), STOPS);
    revoke_writer(&owner);
    assert_int_equal(owner.kills, 1);
    const uint64_t seen = shared->area[0];
    reap(child, SIGKILL);
    assert_int_equal(shared->area[0], seen);
    lks_shm_gates_fini(&owner.gates);
}

static void revoke__writer_running_on_inside__killed_after_more_patience(void **state)
{
    (void)state;
    struct owner owner;
    begin(&owner, 1);
    const pid_t child = writer_inside(post_grant(&owner), STAYS);
    revoke_writer(&owner);
    assert_int_equal(owner.kills, 1);
    const volatile uint64_t *area = shared->area;
    const uint64_t seen = area[0];
    reap(child, SIGKILL);
    assert_int_equal(area[0], seen);
    lks_shm_gates_fini(&owner.gates);
}

static void revoke__in_next_life_of_owner__old_writer_killed(void **state)
{
    (void)state;
    struct owner owner;
    begin(&owner, 1);
    const pid_t child = writer_inside(post_grant(&owner), STOPS);
    begin(&owner, 2); /* knows nothing of that writer but what the head says */
    revoke_writer(&owner);
    assert_int_equal(owner.kills, 1);
    reap(child, SIGKILL);
    (void)post_grant(&owner);
    lks_shm_gates_fini(&owner.gates);
}

static void revoke__pid_used_again__nobody_is_killed(void **state)
{
    (void)state;
    struct owner owner;
    begin(&owner, 1);
    const pid_t child = writer_inside(post_grant(&owner), STOPS);
    /* As if the writer had died and its pid belonged to a younger process now. */
    const uint64_t start_time = lks_word_read(&gate()->writer_start_time);
    lks_word_publish(&gate()->writer_start_time, start_time - 1);
    revoke_writer(&owner);
    assert_int_equal(owner.kills, 0);
    assert_int_equal(kill(child, 0), 0);
    assert_int_equal(kill(child, SIGKILL), 0);
    reap(child, SIGKILL);
    lks_shm_gates_fini(&owner.gates);
}

static void sign__after_death_of_an_earlier_life__starts_clean(void **state)
{
    (void)state;
    struct owner owner;
    struct lks_shm_process self;
    begin(&owner, 1);
    const uint64_t generation = post_grant(&owner);
    reap(writer_inside(generation, DIES), SIGKILL);
    assert_int_equal(lks_shm_process_self(&self), 0);
    lks_shm_gate_sign(gate(), &self);
    assert_int_equal(lks_word_read(&gate()->busy), 0);
    assert_true(lks_shm_gate_enter(gate(), generation));
    lks_shm_gate_leave(gate());
    revoke_writer(&owner);
    assert_int_equal(owner.kills, 0);
    lks_shm_gates_fini(&owner.gates);
}

/* The tight writer: as a stream, but with nothing around the section. */
static _Noreturn void write_tightly(void)
{
    struct lks_shm_process self;
    if (lks_shm_process_self(&self) != 0) {
        _exit(1);
    }
    lks_shm_gate_sign(gate(), &self);
    for (uint64_t turn = 1;; turn++) {
        const uint64_t generation = lks_word_read(&shared->granted);
        if (generation == 0) {
            (void)sched_yield();
            continue;
        }
        if (lks_shm_gate_enter(gate(), generation)) {
            volatile uint64_t *area = shared->area;
            for (size_t i = 0; i < SECTION_BYTES / 8; i++) {
                area[i] = turn;
            }
            lks_shm_gate_leave(gate());
        }
        /* A pause of varied length: the owner must meet the gap as well as the section. */
        for (uint64_t spin = turn % 8; spin > 0; spin--) {
            lks_clock_relax();
        }
    }
}

/* Reads lines that the writer is storing to: its stores wait for them in its store buffer, and
 * whatever no fence holds back overtakes them. */
static void take_lines_away(unsigned lines)
{
    const volatile uint64_t *area = shared->area;
    for (size_t i = 0; i < lines; i++) {
        (void)area[i * 8];
    }
}

/* Number of words that changed after the revocation's end. */
static uint32_t late_words(void)
{
    uint64_t seen[SECTION_BYTES / 8];
    uint32_t late = 0;
    const volatile uint64_t *area = shared->area;
    /* The last words first: they are what a late section still has to write. */
    for (size_t i = SECTION_BYTES / 8; i-- > 0;) {
        seen[i] = area[i];
    }
    for (unsigned turn = 0; turn < 3; turn++) {
        for (size_t i = 0; i < SECTION_BYTES / 8; i++) {
            late += area[i] != seen[i];
        }
    }
    return late;
}

static void revoke__tight_rounds__nothing_lands_late(void **state)
{
    (void)state;
    struct owner owner;
    begin(&owner, 1);
    const char *text = getenv("LKS_TIGHT_ROUNDS");
    const uint32_t rounds = text != NULL ? (uint32_t)strtoul(text, NULL, 10) : TIGHT_ROUNDS;
    const uint64_t limit_ns = lks_clock_monotonic_ns() + TIGHT_NS;
    uint32_t landed = 0;
    uint32_t late = 0;
    uint32_t done = 0;
    owner.gates.silent_writer_ns = PATIENCE_NS; /* a busy machine may take its time */
    const pid_t parent = getpid();
    const pid_t child = fork();
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent) {
            write_tightly();
        }
        _exit(1);
    }
    const volatile uint64_t *area = shared->area;
    while (done < rounds && (text != NULL || lks_clock_monotonic_ns() < limit_ns)) {
        const uint64_t before = area[0];
        lks_word_publish(&shared->granted, post_grant(&owner));
        /* A writer may share its processor; a round without a write is vacuous. */
        for (unsigned spin = 1; area[0] == before && spin < 40000; spin++) {
            relax(spin);
        }
        landed += area[0] != before;
        for (unsigned spin = done * 7 % 64; spin > 0; spin--) {
            relax(spin);
        }
        take_lines_away(done % 64);
        revoke_writer(&owner);
        late += late_words() != 0;
        lks_word_publish(&shared->granted, 0);
        done++;
    }
    print_message("%u tight rounds, writes landed in %u, late in %u\n", done, landed, late);
    assert_int_equal(kill(child, SIGKILL), 0);
    reap(child, SIGKILL);
    assert_int_equal(late, 0);
    assert_true(landed > done / 4);
    lks_shm_gates_fini(&owner.gates);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, map_shared, unmap_shared)
    const struct CMUnitTest tests[] = {
        CASE(grant__twice__numbers_rise),
        CASE(grant__not_connected__ebroken),
        CASE(init__next_life_same_incarnation__numbers_still_rise),
        CASE(init__head_lost__higher_incarnation_lifts_the_numbers),
        CASE(init__other_boot__stale_busy_forgotten),
        CASE(init__garbage_head__writers_inside_are_not_forgotten),
        CASE(init__generation_out_of_range__edamaged),
        CASE(fini__open_gate__closed),
        CASE(post__more_than_fit__ebusy),
        CASE(revoke__writer_dead_inside__revoked),
        CASE(revoke__writer_stopped_inside__killed_first),
        CASE(revoke__writer_running_on_inside__killed_after_more_patience),
        CASE(revoke__in_next_life_of_owner__old_writer_killed),
        CASE(revoke__pid_used_again__nobody_is_killed),
        CASE(sign__after_death_of_an_earlier_life__starts_clean),
        CASE(revoke__tight_rounds__nothing_lands_late),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
