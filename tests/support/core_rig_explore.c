/*
 * Random schedules: a seed draws the size of the cluster, how often each kind of thing happens,
 * and then the order of everything. After a bounded number of actions all faults end, and the
 * cluster must come to one established leader whose log is committed and held by everybody.
 */
#include "tests/support/core_rig.h"

enum action {
    ACT_TIME, ACT_TICK, ACT_CTL, ACT_DONE, ACT_LOCAL, ACT_DISK, ACT_PATH, ACT_FENCE, ACT_READ,
    ACT_WORD, ACT_ACK, ACT_APPEND, ACT_NOTICE, ACT_CONNECT, ACT_BREAK, ACT_BLOCK, ACT_UNBLOCK,
    ACT_CRASH, ACT_POWER, ACT_BLACKOUT, ACT_LOSE, ACT_START, ACT_PAUSE, ACT_TRANSFER, ACT_COUP,
    ACT_SNAPSHOT, ACT_INSTALL, ACT_CLIENT_READ, ACT_DEPOSED_READ, ACT_APPLY, ACT_CHANGE,
    ACT_PROMOTE, ACT_FRESH_READ, ACT_FORGET,
    ACTIONS
};

#define TABLE 8192u
#define APPEND_UP_TO 64u
#define LENGTH_STOP 100u  /* entries in the longest log at which a schedule ends early */
#define TERMS_STOP 60u
#define HEAL_ROUNDS_MAX 600u
#define READ_ROUNDS_MAX 200u

struct schedule {
    uint8_t table[TABLE]; /* actions, each as often as it weighs */
    bool may_forget; /* journals may be lost, or memory by a power cut */
    bool may_change; /* ... and members change */
};

static void draw(struct rig *rig, struct schedule *schedule)
{
    static const uint32_t often[ACTIONS] = {
        [ACT_TIME] = 10, [ACT_TICK] = 80, [ACT_CTL] = 120, [ACT_DONE] = 80, [ACT_LOCAL] = 100,
        [ACT_DISK] = 40, [ACT_PATH] = 120, [ACT_FENCE] = 40, [ACT_READ] = 40, [ACT_WORD] = 20,
        [ACT_ACK] = 40, [ACT_APPEND] = 25, [ACT_NOTICE] = 20, [ACT_CONNECT] = 30,
        [ACT_UNBLOCK] = 8, [ACT_START] = 25, [ACT_SNAPSHOT] = 30, [ACT_INSTALL] = 40,
        [ACT_CLIENT_READ] = 4, [ACT_DEPOSED_READ] = 30, [ACT_APPLY] = 20,
        [ACT_FRESH_READ] = 10,
    };
    static const uint32_t rare[ACTIONS] = {
        [ACT_BREAK] = 4, [ACT_BLOCK] = 2, [ACT_CRASH] = 2, [ACT_POWER] = 2, [ACT_BLACKOUT] = 1,
        [ACT_LOSE] = 1, [ACT_PAUSE] = 4, [ACT_TRANSFER] = 1, [ACT_COUP] = 20,
        [ACT_FORGET] = 10,
    };
    static const uint32_t factors[4] = {1, 3, 9, 20};
    uint64_t weights[ACTIONS];
    uint64_t total = 0;
    for (uint32_t i = 0; i < ACTIONS; i++) {
        const uint64_t regular = 8 * often[i] * factors[rig_random(rig, 3)];
        const uint64_t faults = rare[i] * (rig_random(rig, 2) ? factors[rig_random(rig, 4)] : 0);
        weights[i] = regular + faults;
        if (i == ACT_LOSE || i == ACT_FORGET) {
            weights[i] *= schedule->may_forget ? 6 : 0;
        }
        if (schedule->may_change && (i == ACT_CHANGE || i == ACT_PROMOTE)) {
            weights[i] = 8 * 40 * factors[rig_random(rig, 3)];
        }
        total += weights[i];
    }
    uint64_t reached = 0;
    uint32_t slot = 0;
    for (uint32_t i = 0; i < ACTIONS; i++) {
        reached += weights[i];
        while (slot < reached * TABLE / total) {
            schedule->table[slot] = (uint8_t)i;
            slot++;
        }
    }
    /* Some paths stand still for a while, some completions and messages are late. */
    const uint64_t held = rig_random(rig, 3) == 0 ? 3 : 12;
    const uint64_t late = rig_random(rig, 3) == 0 ? 6 : 40;
    for (uint32_t n = 1; n <= rig->n; n++) {
        for (uint32_t p = 1; p <= rig->n; p++) {
            struct rig_side *side = &rig->nodes[n].sides[p];
            side->hold_path = rig_random(rig, held) == 0;
            side->hold_done = rig_random(rig, late) == 0;
            side->hold_ctl = rig_random(rig, late) == 0;
        }
    }
}

static void power(struct rig *rig, uint32_t n)
{
    if (rig->durability != RIG_MEMORY || rig_may_lose(rig, n)) {
        rig_power_cut(rig, n, false);
    }
}

static void blackout(struct rig *rig)
{
    if (rig->durability != RIG_MEMORY) {
        for (uint32_t n = 1; n <= rig->n; n++) {
            rig_power_cut(rig, n, false);
        }
    }
}

/* An established leader that somebody has promised a newer term behind its back, or 0. */
static uint32_t deposed(const struct rig *rig)
{
    uint64_t newest = 0;
    uint32_t found = 0;
    for (uint32_t n = 1; n <= rig->n; n++) {
        if (rig->nodes[n].alive && rig_view(rig, n)->term > newest) {
            newest = rig_view(rig, n)->term;
        }
    }
    for (uint32_t n = 1; n <= rig->n; n++) {
        if (rig->nodes[n].alive && !rig->nodes[n].paused && rig_view(rig, n)->established &&
            rig_view(rig, n)->term < newest) {
            found = n;
        }
    }
    return found;
}

/* A leader whose first entry has not committed: it may not know yet what is. */
static uint32_t fresh(const struct rig *rig)
{
    for (uint32_t n = 1; n <= rig->n; n++) {
        if (rig->nodes[n].alive && rig_view(rig, n)->role == LKS_CORE_LEADER &&
            !rig_view(rig, n)->established) {
            return n;
        }
    }
    return 0;
}

/* A replica stands still, and nobody hears it. */
static void silence(struct rig *rig, uint32_t n, bool silent)
{
    rig->nodes[n].paused = silent;
    for (uint32_t p = 1; p <= rig->n; p++) {
        rig->nodes[p].sides[n].hold_ctl = silent;
    }
}

/* Who promised somebody newer forgets that, and comes back to the leader of before: who may take it
 * in at once, while the newer one sleeps. */
static void forget_promise(struct rig *rig, uint32_t n)
{
    const uint32_t old = deposed(rig);
    const uint32_t newer = rig->nodes[n].promise_candidate;
    if (old == 0 || n == old || newer == 0 || newer == n || newer == old ||
        rig->nodes[n].promise_term <= rig_view(rig, old)->term || !rig_may_lose(rig, n)) {
        return;
    }
    rig_lose_journal(rig, n);
    rig_start(rig, n);
    rig_unblock(rig, old, n);
    (void)rig_do_notice(rig, old, n);
    rig_connect(rig, old, n);
    if (rig_random(rig, 2) == 0) {
        silence(rig, newer, true);
        rig_settle(rig);
        silence(rig, newer, false);
    }
}

static void fault(struct rig *rig, enum action action, uint32_t n, uint32_t p)
{
    struct rig_node *node = &rig->nodes[n];
    switch (action) {
    case ACT_CONNECT:
        rig_connect(rig, n, p);
        break;
    case ACT_BREAK:
        rig_break(rig, n, p);
        break;
    case ACT_BLOCK:
        rig_block(rig, n, p);
        break;
    case ACT_UNBLOCK:
        rig_unblock(rig, n, p);
        break;
    case ACT_CRASH:
        if (node->alive) {
            rig_crash(rig, n);
        }
        break;
    case ACT_POWER:
        power(rig, n);
        break;
    case ACT_BLACKOUT:
        blackout(rig);
        break;
    case ACT_LOSE:
        if (rig_may_lose(rig, n)) {
            rig_lose_journal(rig, n);
        }
        break;
    case ACT_FORGET:
        forget_promise(rig, n);
        break;
    case ACT_START:
        if (!node->alive) {
            rig_start(rig, n);
        }
        node->paused = false;
        break;
    default:
        node->paused = node->alive && !node->paused;
        break;
    }
}

/* Anywhere, or at such a leader, where a read asks for what it may not know. */
static void client_read(struct rig *rig, enum action action, uint32_t n)
{
    const uint32_t at = action == ACT_DEPOSED_READ ? deposed(rig)
                        : action == ACT_FRESH_READ ? fresh(rig)
                                                   : n;
    if (at != 0) {
        (void)rig_read_point(rig, at);
    }
}

static void transfer(struct rig *rig, uint32_t n, uint32_t to)
{
    if (rig->nodes[n].alive && !rig->nodes[n].paused) {
        struct lks_core_event event = {.kind = LKS_EVENT_TRANSFER, .peer = to == n ? 0 : to};
        rig_step(rig, n, &event);
    }
}

/* The newest established leader, or any that thinks it leads. */
static uint32_t one_that_leads(struct rig *rig)
{
    const uint32_t any = 1 + (uint32_t)rig_random(rig, 2 * rig->n);
    const bool leads = any <= rig->n && rig->nodes[any].alive &&
                       rig_view(rig, any)->role == LKS_CORE_LEADER;
    return leads ? any : rig_leader(rig);
}

/* Whoever thinks that it leads adds, promotes or removes replica p. What was removed may come back
 * as it is, or as a new one; a replica that was told that it is none any more may stop. */
static void change(struct rig *rig, uint32_t p, bool forward)
{
    const uint32_t n = one_that_leads(rig);
    if (n == 0 || rig->nodes[n].paused) {
        return;
    }
    const struct lks_members *members = &rig_view(rig, n)->members;
    const uint8_t bit = (uint8_t)(1u << p);
    const bool voter = (members->voters & bit) != 0;
    const bool learner = (members->learners & bit) != 0;
    struct rig_node *node = &rig->nodes[p];
    if (rig_random(rig, 8) == 0) { /* whatever comes to somebody's mind */
        const uint8_t slots = (uint8_t)((1u << (rig->n + 1)) - 2u);
        const uint8_t voters = (uint8_t)rig_random(rig, 256) & slots;
        if (rig_remembers(rig, voters)) {
            rig_change(rig, n, voters, (uint8_t)rig_random(rig, 256) & slots);
        }
    } else if (!voter && !learner) {
        if (((rig->members.voters | rig->members.learners) & bit) == 0 && rig_may_lose(rig, p) &&
            rig_random(rig, 2) == 0) {
            rig_lose_journal(rig, p);
        }
        rig_change(rig, n, members->voters, members->learners | bit);
    } else if (learner && forward && rig_remembers(rig, members->voters | bit)) {
        rig_change(rig, n, members->voters | bit, members->learners & (uint8_t)~bit);
    } else if (!forward && rig_remembers(rig, members->voters & (uint8_t)~bit)) {
        rig_change(rig, n, members->voters & (uint8_t)~bit, members->learners & (uint8_t)~bit);
        if (node->alive && rig_view(rig, p)->removed) {
            rig_crash(rig, p);
        }
    }
}

static void connect_all(struct rig *rig)
{
    for (uint32_t a = 1; a <= rig->n; a++) {
        for (uint32_t b = a + 1; b <= rig->n; b++) {
            rig_unblock(rig, a, b);
            rig_connect(rig, a, b);
        }
    }
}

static void append(struct rig *rig, uint32_t n)
{
    if (rig->values < APPEND_UP_TO &&
        rig->nodes[n].local.count + rig->nodes[n].disk_work.count < RIG_QUEUE / 2) {
        rig_append(rig, n, 1 + (uint32_t)rig_random(rig, 3));
    }
}

static void work(struct rig *rig, enum action action, uint32_t n)
{
    const bool at_once = rig_random(rig, 2) == 0;
    if (action == ACT_LOCAL) {
        rig_do_local(rig, n, at_once);
    } else {
        rig_do_disk(rig, n, at_once);
    }
}

static void act(struct rig *rig, enum action action, uint32_t n, uint32_t p)
{
    switch (action) {
    case ACT_TIME:
        rig->now += rig_random(rig, RIG_HEARTBEAT / 2 * (rig_random(rig, 8) == 0 ? 4 : 1));
        break;
    case ACT_TICK:
        rig_do_tick(rig, n, true);
        break;
    case ACT_CTL:
        rig_do_ctl(rig, n, p);
        break;
    case ACT_DONE:
        rig_do_done(rig, n, p);
        break;
    case ACT_LOCAL:
    case ACT_DISK:
        work(rig, action, n);
        break;
    case ACT_PATH:
        rig_do_path(rig, n, p, rig_random(rig, 2) == 0);
        break;
    case ACT_FENCE:
        rig_do_fence(rig, n, p);
        break;
    case ACT_READ:
        rig_do_read(rig, n, rig_random(rig, 2) == 0);
        break;
    case ACT_WORD:
        rig_do_word(rig, n);
        break;
    case ACT_ACK:
        rig_do_ack(rig, n);
        break;
    case ACT_APPEND:
        append(rig, n);
        break;
    case ACT_NOTICE:
        rig_do_notice(rig, n, p);
        break;
    case ACT_TRANSFER:
        transfer(rig, n, rig_random(rig, 2) == 0 ? p : 0);
        break;
    case ACT_COUP:
        rig_coup(rig, n);
        break;
    case ACT_SNAPSHOT:
        rig_do_snapshot(rig, n, false);
        break;
    case ACT_INSTALL:
        rig_do_install(rig, n, rig_random(rig, 2) == 0);
        break;
    case ACT_CLIENT_READ:
    case ACT_DEPOSED_READ:
    case ACT_FRESH_READ:
        client_read(rig, action, n);
        break;
    case ACT_APPLY:
        rig_do_apply(rig, n);
        break;
    case ACT_CHANGE:
    case ACT_PROMOTE:
        change(rig, p, action == ACT_PROMOTE);
        break;
    default:
        fault(rig, action, n, p);
        break;
    }
}

static bool involves_two(enum action action)
{
    return action == ACT_CTL || action == ACT_DONE || action == ACT_PATH || action == ACT_FENCE ||
           action == ACT_NOTICE || action == ACT_BREAK || action == ACT_BLOCK ||
           action == ACT_UNBLOCK || action == ACT_CONNECT;
}

/* Long logs and high terms leave the model's tables, and a small ring that is full of what is not
 * committed has no room for a no-op: such a schedule stops and heals. */
static bool spent(const struct rig *rig)
{
    for (uint32_t n = 1; n <= rig->n; n++) {
        const struct rig_node *node = &rig->nodes[n];
        if (node->alive && (rig_view(rig, n)->tail.index > LENGTH_STOP ||
                            rig_view(rig, n)->term > TERMS_STOP ||
                            node->tail.index + 4 > node->base.index + rig->slots)) {
            return true;
        }
    }
    return false;
}

static void run_schedule(struct rig *rig, const struct schedule *schedule, uint32_t steps)
{
    const uint64_t end = rig->steps + steps;
    for (uint32_t tries = 0; rig->steps < end && tries < 24 * steps; tries++) {
        const uint64_t chance = rig_random(rig, UINT64_C(1) << 48);
        const enum action action = (enum action)schedule->table[chance % TABLE];
        const uint32_t n = 1 + (uint32_t)((chance >> 16 & 0xffff) * rig->n >> 16);
        const uint32_t p = 1 + (uint32_t)((chance >> 32) * rig->n >> 16);
        if (n == p && involves_two(action)) {
            continue;
        }
        act(rig, action, n, p);
        if (tries % 64 == 63 && spent(rig)) {
            return;
        }
    }
}

static bool healed(const struct rig *rig)
{
    const uint32_t leader = rig_leader(rig);
    if (leader == 0) {
        return false;
    }
    const struct lks_core_view *view = rig_view(rig, leader);
    if (view->commit_offset != view->tail.offset) {
        return false;
    }
    const uint8_t members = view->members.voters | view->members.learners;
    for (uint32_t p = 1; p <= rig->n; p++) {
        if (p != leader && (members & 1u << p) != 0 &&
            (!view->peers[p].counted ||
             rig_view(rig, p)->commit_offset != view->commit_offset)) {
            return false;
        }
    }
    return true;
}

/* One that learnt that it was removed stops; whoever made it a member again starts it again. */
static void restart_removed(struct rig *rig)
{
    const uint32_t leader = rig_leader(rig);
    for (uint32_t p = 1; leader != 0 && p <= rig->n; p++) {
        const struct lks_members *members = &rig_view(rig, leader)->members;
        if (rig_view(rig, p)->removed && ((members->voters | members->learners) & 1u << p) != 0) {
            rig_crash(rig, p);
            rig_start(rig, p);
        }
    }
}

/* A read at the leader is confirmed, once all is well. */
static void read_at_last(struct rig *rig)
{
    const uint32_t before = rig->confirmed;
    for (uint32_t round = 0; round < READ_ROUNDS_MAX && rig->confirmed == before; round++) {
        connect_all(rig);
        const uint32_t leader = rig_leader(rig);
        if (leader != 0 && rig->nodes[leader].reads_count == 0) {
            (void)rig_read_point(rig, leader);
        }
        rig_advance(rig, RIG_HEARTBEAT / 2); /* (a path may have to be opened anew) */
    }
    if (rig->confirmed == before) {
        rig_fail(rig, "no read is confirmed");
    }
}

static void heal(struct rig *rig)
{
    rig->recycling = true;
    for (uint32_t n = 1; n <= rig->n; n++) {
        rig->nodes[n].paused = false;
        for (uint32_t p = 1; p <= rig->n; p++) {
            rig->nodes[n].sides[p].hold_path = false;
            rig->nodes[n].sides[p].hold_done = false;
            rig->nodes[n].sides[p].hold_ctl = false;
        }
        if (!rig->nodes[n].alive) {
            rig_start(rig, n);
        }
    }
    for (uint32_t n = 1; n <= rig->n; n++) {
        if (rig_view(rig, n)->transferring) { /* the owner of such a leader ends it */
            rig_crash(rig, n);
            rig_start(rig, n);
        }
    }
    for (uint32_t round = 0; round < HEAL_ROUNDS_MAX; round++) {
        restart_removed(rig);
        connect_all(rig);
        rig_advance(rig, RIG_HEARTBEAT / 2);
        if (healed(rig)) {
            read_at_last(rig);
            return;
        }
    }
    rig_fail(rig, "no progress after everything healed");
}

void rig_explore(struct rig *rig, uint64_t seed)
{
    static const uint32_t sizes[10] = {3, 3, 3, 3, 3, 3, 3, 5, 5, 1};
    struct rig_options options = {.n = 3, .seed = seed};
    rig_reset(rig, &options);
    options.n = seed % 97 == 0 ? 7 : sizes[rig_random(rig, 10)];
    const bool may_change = seed % 2 == 0;
    if (may_change) {
        static const uint8_t bootstraps[8] = {0x0e, 0x0e, 0x0e, 0x0e, 0x06, 0x02, 0x1e, 0x3e};
        options.n = 5;
        options.bootstrap = bootstraps[rig_random(rig, 8)];
    }
    options.durability = (enum rig_durability)rig_random(rig, 3);
    rig_reset(rig, &options);
    rig->exploring = true;
    rig->late_source = rig_random(rig, 4) == 0;
    rig->writes_max = 1 + (uint32_t)rig_random(rig, 4);
    static const uint32_t rings[4] = {RIG_SLOTS, 32, 20, 16};
    rig->slots = rings[rig_random(rig, 4)];
    struct schedule schedule = {.may_forget = rig_random(rig, 3) == 0, .may_change = may_change};
    for (uint32_t n = 1; n <= rig->n; n++) {
        rig_start(rig, n);
    }
    if (rig_random(rig, 4) != 0) {
        connect_all(rig);
    }
    for (uint32_t phase = 0; phase < (may_change ? 6 : 4); phase++) {
        draw(rig, &schedule);
        run_schedule(rig, &schedule, 40 + (uint32_t)rig_random(rig, 160));
        if (may_change && rig_random(rig, 2) == 0) {
            rig_advance(rig, 2 * RIG_TIMEOUT); /* whoever can be elected is, and finishes things */
        }
    }
    heal(rig);
}
