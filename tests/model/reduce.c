/*
 * Fewer states, the same behaviours: what can no longer matter is set to one value, and of states
 * that differ only by the numbers of their replicas, which mean nothing, one is kept. Included into
 * the verifier that spin writes; called at the end of each step of the model. Reads and writes the
 * state, `now`, and the names of the replicas.
 *
 * For the renumbering the model defines which variables of its state speak of replicas:
 * MODEL_BYTES(X), one value for each replica; MODEL_ROWS(X), SLOTS values for each; MODEL_NAMES(X),
 * the number of a replica, or N for nobody; MODEL_TABLES(X), a value for each pair. Names in the
 * reports of a run go along (`name`).
 */

#include <string.h>

#define REPLICAS 3
#define ORDERS 6

#define AS_BYTES(name) unsigned char name[REPLICAS];
#define AS_ROWS(name) unsigned char name[REPLICAS][MODEL_SLOTS];
#define AS_TABLE(name) unsigned char name[REPLICAS][REPLICAS];

/* ---- what can no longer matter --------------------------------------------------------------- */

static int strives(int r)
{
    return now.role[r] == MODEL_CANDIDATE || now.role[r] == MODEL_READING;
}

/* Nobody will use a permission whose candidate has given up, or through which everything has landed
 * that a leader, now gone, could have posted. */
static void tidy_path(int r)
{
    if (now.path[r] == MODEL_NO_PATH) {
        return;
    }
    const int holder = now.promised[r];
    const int t = now.term[r];
    if (now.role[holder] != MODEL_FOLLOWER && now.term[holder] == t) {
        return;
    }
    if (now.path[r] == MODEL_GRANTED ||
        now.path[r] - MODEL_BEGUN == length_of[now.led[t]]) {
        now.path[r] = MODEL_NO_PATH;
    }
}

/* A leader's log matters as long as it leads, something of it may land, or a candidate or leader of
 * an earlier term may commit. Who begins to stand in an earlier term finds no majority: the one
 * that elected this leader has promised its term. */
static void tidy_led(int t)
{
    if (now.led[t] >= MODEL_FORGOTTEN) {
        return;
    }
    for (int r = 0; r < REPLICAS; r++) {
        if ((now.role[r] != MODEL_FOLLOWER && now.term[r] <= t) ||
            (now.path[r] >= MODEL_BEGUN && now.term[r] == t)) {
            return;
        }
    }
    now.led[t] = MODEL_FORGOTTEN;
}

/* In which term an entry was committed matters to candidates of that term or an earlier one. */
static void tidy_committed(int i)
{
    if (now.committed_in[i] <= 1) {
        return;
    }
    for (int r = 0; r < REPLICAS; r++) {
        if (strives(r) && now.term[r] <= now.committed_in[i]) {
            return;
        }
    }
    now.committed_in[i] = 1;
}

/* The last two rest on rules that may have been taken out. */
static void tidy(int every_rule_holds)
{
    for (int r = 0; r < REPLICAS; r++) {
        tidy_path(r);
    }
    for (int t = 1; every_rule_holds && t <= MODEL_TERMS; t++) {
        tidy_led(t);
    }
    for (int i = 0; every_rule_holds && i < MODEL_SLOTS; i++) {
        tidy_committed(i);
    }
}

/* ---- renumbering ----------------------------------------------------------------------------- */

/* The part of the state that depends on the numbers of replicas. */
struct numbered {
    MODEL_BYTES(AS_BYTES)
    MODEL_NAMES(AS_BYTES)
    MODEL_ROWS(AS_ROWS)
    MODEL_TABLES(AS_TABLE)
};

/* orders[k][new number] is the old one; numbers[k][old number] the new one. 3 is nobody. */
static const unsigned char orders[ORDERS][REPLICAS + 1] = {
    {0, 1, 2, 3}, {0, 2, 1, 3}, {1, 0, 2, 3}, {1, 2, 0, 3}, {2, 0, 1, 3}, {2, 1, 0, 3},
};
static const unsigned char numbers[ORDERS][REPLICAS + 1] = {
    {0, 1, 2, 3}, {0, 2, 1, 3}, {1, 0, 2, 3}, {2, 0, 1, 3}, {1, 2, 0, 3}, {2, 1, 0, 3},
};

#define TAKE_BYTE(name) to->name[r] = now.name[old];
#define TAKE_NAME(name) to->name[r] = numbers[k][now.name[old]];
#define TAKE_ROW(name) memcpy(to->name[r], &now.name[old * MODEL_SLOTS], MODEL_SLOTS);
#define TAKE_TABLE(name)                                                 \
    for (int p = 0; p < REPLICAS; p++) {                                 \
        to->name[r][p] = now.name[old * REPLICAS + orders[k][p]];        \
    }
#define GIVE(name) memcpy(now.name, from->name, sizeof from->name);

static void take(struct numbered *to, int k)
{
    for (int r = 0; r < REPLICAS; r++) {
        const int old = orders[k][r];
        MODEL_BYTES(TAKE_BYTE)
        MODEL_NAMES(TAKE_NAME)
        MODEL_ROWS(TAKE_ROW)
        MODEL_TABLES(TAKE_TABLE)
    }
}

static void give(const struct numbered *from)
{
    MODEL_BYTES(GIVE)
    MODEL_NAMES(GIVE)
    MODEL_ROWS(GIVE)
    MODEL_TABLES(GIVE)
}

/* A value that depends on no replica's number: it sorts the replicas of most states alone. */
static unsigned long sort_key(int r)
{
    unsigned long key = now.term[r];
    key = key << 2 | now.role[r];
    key = key << 3 | now.path[r];
    for (int i = 0; i < MODEL_SLOTS; i++) {
        key = key << 8 | now.visible[r * MODEL_SLOTS + i];
    }
    key = key << 8 | now.own[r];
    key = key << 8 | now.durable[r * MODEL_SLOTS];
    return key << 1 | (now.promised[r] == r);
}

/* Of the orders that sort the replicas by their keys, the one whose bytes come first. */
static void renumber(void)
{
    const unsigned long keys[REPLICAS] = {sort_key(0), sort_key(1), sort_key(2)};
    struct numbered found[2];
    int best = -1;
    int at = 0;
    for (int k = 0; k < ORDERS; k++) {
        if (keys[orders[k][0]] < keys[orders[k][1]] || keys[orders[k][1]] < keys[orders[k][2]]) {
            continue;
        }
        take(&found[at], k);
        if (best < 0 || memcmp(&found[at], &found[1 - at], sizeof found[at]) < 0) {
            best = k;
            at = 1 - at; /* the next one goes into the other place */
        }
    }
    give(&found[1 - at]);
    const unsigned char names[REPLICAS] = {name[0], name[1], name[2]};
    for (int r = 0; r < REPLICAS; r++) {
        name[r] = names[orders[best][r]];
    }
}
