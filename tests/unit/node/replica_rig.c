/* Replicas stepped by hand; see replica_rig.h. */
#include "tests/unit/node/replica_rig.h"

#include "node/hello.h"
#include "pmem/layout.h"
#include "tests/support/scratch.h"
#include "tests/unit/sched/numa_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_NS UINT64_C(2000000000)
#define PENDING_BYTES UINT64_C(4194304)

static void on_read(struct rig *rig, uint64_t number, const char *reply, size_t bytes)
{
    struct rig_read *read = &rig->reads[number];
    assert_true(number <= rig->reads_count);
    read->unknown = bytes == 0;
    read->answered += bytes != 0;
    read->answers = rig->answers_count;
    if (bytes != 0) {
        assert_int_equal(reply[0], ':');
        read->value = strtoull(reply + 1, NULL, 10);
    }
}

static void on_reply(void *ctx, uint64_t cookie, const void *reply, size_t bytes)
{
    struct rig_replica *self = ctx;
    if ((cookie & RIG_SERVICE_READ) != 0) {
        on_read(self->rig, cookie & ~RIG_SERVICE_READ, reply, bytes);
        return;
    }
    if (bytes == 0) {
        self->unknown++;
        return;
    }
    char expected[32];
    const int length = snprintf(expected, sizeof expected, ":%llu\r\n", (unsigned long long)cookie);
    assert_int_equal(bytes, length);
    assert_memory_equal(reply, expected, bytes);
    assert_true(cookie <= self->rig->submitted);
    self->writes_at_reply = hand_calls(self->rig->net, self->id, HAND_WRITE_LOG);
    self->rig->answered[cookie]++;
    self->rig->answers[self->rig->answers_count] = cookie;
    self->rig->answers_count++;
    self->replies++;
}

/* ---- what is durable ------------------------------------------------------------------------ */

static struct rig *g_rig; /* the one of the present test */

/* Ring bytes, given by log offsets, are durable as they are now. */
static void made_durable(struct rig_replica *self, uint64_t from, uint64_t to)
{
    const uint64_t ring = self->rig->options.ring_bytes;
    for (uint64_t line = from & ~UINT64_C(63); line < to; line += LKS_ENTRY_ALIGN) {
        memcpy(self->durable + line % ring, lks_journal_address(self->journal, line),
               LKS_ENTRY_ALIGN);
    }
}

int __wrap_lks_journal_persist_range(const struct lks_journal *journal, uint64_t from,
                                     uint64_t to)
{
    const int code = __real_lks_journal_persist_range(journal, from, to);
    for (uint32_t id = 1; code == 0 && id <= LKS_REPLICAS_MAX; id++) {
        if (g_rig != NULL && g_rig->replicas[id].journal == journal) {
            made_durable(&g_rig->replicas[id], from, to);
        }
    }
    return code;
}

static void flushed(void *ctx, uint32_t owner, uint64_t offset, uint64_t bytes)
{
    struct rig *rig = ctx;
    const uint64_t place = offset - LKS_JOURNAL_HEAD_BYTES - LKS_JOURNAL_CONTROL_BYTES;
    made_durable(&rig->replicas[owner], place, place + bytes);
}

static void write_line(const struct rig_replica *self, int fd, uint64_t place, const void *line)
{
    const uint64_t at = LKS_JOURNAL_RING_AT + place % self->rig->options.ring_bytes;
    assert_int_equal(pwrite(fd, line, LKS_ENTRY_ALIGN, (off_t)at), LKS_ENTRY_ALIGN);
}

static bool draw_kept(struct rig *rig)
{
    rig->random = rig->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return rig->random >> 63 != 0;
}

/* Of what was not durable everything is lost, or half of the lines. */
static void lose_power(struct rig *rig, struct rig_replica *self)
{
    const uint64_t ring = rig->options.ring_bytes;
    const bool keeps_some = draw_kept(rig);
    uint8_t *seen = malloc(ring);
    const int fd = open(self->path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0 && seen != NULL);
    assert_int_equal(pread(fd, seen, ring, LKS_JOURNAL_RING_AT), ring);
    for (uint64_t place = 0; place < ring; place += LKS_ENTRY_ALIGN) {
        uint8_t *durable = self->durable + place;
        if (memcmp(seen + place, durable, LKS_ENTRY_ALIGN) == 0) {
            continue;
        }
        if (keeps_some && draw_kept(rig)) {
            memcpy(durable, seen + place, LKS_ENTRY_ALIGN);
        } else {
            write_line(self, fd, place, durable);
        }
    }
    (void)close(fd);
    free(seen);
    self->boot_id[0]++;
}

/* ---- lives --------------------------------------------------------------------------------- */

static void post_persist(void *ctx, uint64_t from, uint64_t to, uint64_t id)
{
    struct rig_replica *self = ctx;
    assert_true(self->persists_count < 4);
    self->persists[self->persists_count] = (struct rig_persist){from, to, id};
    self->persists_count++;
}

void rig_persist(struct rig *rig, uint32_t id, uint32_t place, int status)
{
    struct rig_replica *self = &rig->replicas[id];
    assert_true(place < self->persists_count);
    const struct rig_persist range = self->persists[place];
    self->persists_count--;
    memmove(self->persists + place, self->persists + place + 1,
            (self->persists_count - place) * sizeof range);
    if (status == 0) {
        status = lks_journal_persist_range(self->journal, range.from, range.to);
    }
    lks_replica_persisted(self->replica, range.id, status);
}

static void post_area(void *ctx, uint64_t from, uint64_t to, uint64_t id)
{
    struct rig_replica *self = ctx;
    assert_false(self->area_posted);
    self->area_posted = true;
    self->area_persist = (struct rig_persist){from, to, id};
}

void rig_persist_area(struct rig *rig, uint32_t id, int status)
{
    struct rig_replica *self = &rig->replicas[id];
    assert_true(self->area_posted);
    self->area_posted = false;
    const struct lks_snapshots_range range = {
        .offset = self->area_persist.from,
        .bytes = self->area_persist.to - self->area_persist.from};
    if (status == 0) {
        status = lks_snapshots_persist(self->snapshots, &range);
    }
    lks_replica_snapshot_persisted(self->replica, self->area_persist.id, status);
}

static struct lks_snapshots_options area_options(const struct rig_replica *self)
{
    const struct rig_options *options = &self->rig->options;
    return (struct lks_snapshots_options){
        .path = self->area_path,
        .cluster_id = {1, 2, 3},
        .replica = self->id,
        .partitions = options->partitions,
        .area_bytes = options->area_bytes,
    };
}

static void create_area(struct rig_replica *self)
{
    const struct lks_snapshots_options options = area_options(self);
    if (self->rig->options.snapshots) {
        assert_int_equal(lks_snapshots_create(&options, &self->err), 0);
    }
}

static struct lks_journal_options journal_options(const struct rig_replica *self)
{
    const struct rig_options *options = &self->rig->options;
    return (struct lks_journal_options){
        .path = self->path,
        .cluster_id = {1, 2, 3},
        .replica = self->id,
        .bootstrap_voters = (2u << options->replicas) - 2u,
        .ring_bytes = options->ring_bytes,
        .entry_bytes_max = options->entry_bytes_max,
        .forgetful = options->durability[self->id] == LKS_DURABILITY_MEMORY,
        .boot_id = self->boot_id,
    };
}

static struct lks_fabric *make_fabric(struct rig *rig, struct rig_replica *self)
{
    struct lks_log_memory memory;
    lks_journal_log_memory(self->journal, &memory);
    struct lks_fabric_options fabric = {
        .replica = self->id,
        .replicas = rig->options.replicas,
        .log = {.address = memory.address, .bytes = memory.bytes, .fd = -1},
        .words_bytes = LKS_REPLICA_WORDS_BYTES,
        .inbox_bytes = LKS_REPLICA_INBOX_BYTES,
        .scratch_bytes = LKS_REPLICA_SCRATCH_BYTES,
        .outstanding_max = 1024,
    };
    if (self->snapshots != NULL) {
        struct lks_snapshots_memory area;
        lks_snapshots_memory(self->snapshots, &area);
        fabric.snapshots = (struct lks_fabric_memory){
            .address = area.address, .bytes = area.bytes, .fd = -1};
    }
    const struct lks_hello hello = {.version = LKS_HELLO_VERSION,
                                    .durability = rig->options.durability[self->id],
                                    .medium = LKS_MEDIUM_MEMORY,
                                    .domain = LKS_DOMAIN_NONE};
    memcpy(fabric.hello, &hello, sizeof hello);
    return hand_fabric(rig->net, &fabric);
}

static void make_replica(struct rig *rig, struct rig_replica *self)
{
    struct lks_replica_options options = {
        .replica = self->id,
        .replicas = rig->options.replicas,
        .journal = self->journal,
        .snapshots = self->snapshots,
        .fabric = self->fabric,
        .service = rig_service(),
        .durability = rig->options.durability[self->id],
        .entry_bytes_max = rig->options.entry_bytes_max,
        .election_timeout_ns = RIG_ELECTION_NS,
        .heartbeat_ns = RIG_HEARTBEAT_NS,
        .pending_bytes_max = PENDING_BYTES,
        .write_bytes_max = rig->options.write_bytes_max,
        .seed = self->id,
        .clock_ns = rig->options.clock_ns,
        .realtime_clock_ns = rig->options.realtime_clock_ns,
        .scheduler = {.kind = rig->options.scheduler[self->id],
                      .workers = rig->options.workers[self->id],
                      .manual = true,
                      .numa = rig->options.numa != NULL ? &rig->options.numa->numa : NULL,
                      .nodes = rig->options.nodes},
        .on_reply = on_reply,
        .ctx = self,
    };
    if (rig->options.slow_medium[self->id]) {
        options.persister = (struct lks_persister){post_persist, self};
        options.snapshot_persister = (struct lks_persister){post_area, self};
    }
    rig_service_next(&self->service);
    assert_int_equal(lks_replica_new(&self->replica, &options, &self->err), 0);
}

void rig_start(struct rig *rig, uint32_t id)
{
    struct rig_replica *self = &rig->replicas[id];
    const struct lks_journal_options options = journal_options(self);
    self->err = (struct lks_error){0};
    self->persists_count = 0;
    self->area_posted = false;
    self->replies = 0;
    self->unknown = 0;
    self->status = lks_journal_open(&self->journal, &options, &self->err);
    if (self->status != 0) {
        self->journal = NULL;
        return;
    }
    const struct lks_snapshots_options area = area_options(self);
    if (rig->options.snapshots) {
        assert_int_equal(lks_snapshots_open(&self->snapshots, &area, &self->err), 0);
    }
    self->fabric = make_fabric(rig, self);
    make_replica(rig, self);
    for (uint32_t p = 1; p <= rig->options.replicas; p++) {
        if (p != id && rig->replicas[p].replica != NULL) {
            hand_join(rig->net, id, p);
        }
    }
}

static void end_life(struct rig_replica *self)
{
    hand_kill(self->rig->net, self->id);
    lks_replica_free(self->replica);
    lks_fabric_free(self->fabric);
    lks_journal_close(self->journal, false);
    lks_snapshots_close(self->snapshots);
    self->snapshots = NULL;
    self->replica = NULL;
    self->fabric = NULL;
    self->journal = NULL;
}

void rig_crash(struct rig *rig, uint32_t id, bool lost_power)
{
    struct rig_replica *self = &rig->replicas[id];
    end_life(self);
    if (lost_power) {
        lose_power(rig, self);
    }
}

void rig_replace(struct rig *rig, uint32_t id)
{
    struct rig_replica *self = &rig->replicas[id];
    struct lks_journal_options options = journal_options(self);
    rig->replacements++;
    options.lives_before = rig->replacements * 1000;
    assert_int_equal(unlink(self->path), 0);
    assert_int_equal(lks_journal_create(&options, false, &self->err), 0);
    memset(self->durable, 0, rig->options.ring_bytes);
    if (rig->options.snapshots) {
        assert_int_equal(unlink(self->area_path), 0);
        create_area(self);
    }
}

void rig_spoil(struct rig *rig, uint32_t id, uint64_t from, uint64_t to)
{
    static const uint8_t zeros[LKS_ENTRY_ALIGN];
    const int fd = open(rig->replicas[id].path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    for (uint64_t offset = from; offset < to; offset += sizeof zeros) {
        write_line(&rig->replicas[id], fd, offset, zeros);
        memcpy(rig->replicas[id].durable + offset % rig->options.ring_bytes, zeros, sizeof zeros);
    }
    (void)close(fd);
}

struct rig *rig_new(const struct rig_options *given)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->options = *given;
    struct rig_options *options = &rig->options;
    options->ring_bytes = options->ring_bytes != 0 ? options->ring_bytes : UINT64_C(1) << 20;
    if (options->entry_bytes_max == 0) {
        options->entry_bytes_max = options->ring_bytes / 8;
    }
    options->area_bytes = options->area_bytes != 0 ? options->area_bytes : UINT64_C(64) << 20;
    options->partitions = options->partitions != 0 ? options->partitions : 1;
    options->record_bytes = options->record_bytes != 0 ? options->record_bytes : 8;
    const struct rig_service_options service = {
        options->partitions, options->record_bytes,
        options->numa != NULL ? &options->numa->preferred : NULL};
    rig_service_configure(&service);
    rig->now_ns = UINT64_C(1000000000);
    rig->realtime_ns = UINT64_C(1700000000000000000);
    rig->net = hand_net_new(options->replicas, options->writes_when_posted, flushed, rig);
    g_rig = rig;
    (void)snprintf(rig->folder, sizeof rig->folder, "%s/lks-replica-XXXXXX", scratch_folder());
    assert_non_null(mkdtemp(rig->folder));
    for (uint32_t id = 1; id <= options->replicas; id++) {
        struct rig_replica *self = &rig->replicas[id];
        if (options->durability[id] == LKS_DURABILITY_AUTO) {
            options->durability[id] = LKS_DURABILITY_WRITER_FLUSH;
        }
        self->rig = rig;
        self->id = id;
        self->service.lists = calloc(RIG_PARTITIONS_MAX, sizeof *self->service.lists);
        assert_non_null(self->service.lists);
        self->durable = calloc(1, options->ring_bytes);
        assert_non_null(self->durable);
        char path[sizeof self->path]; /* (gcc fears that the two overlap) */
        (void)snprintf(path, sizeof path, "%s%s-r%u.log", options->on_file[id] ? "." : rig->folder,
                       options->on_file[id] ? strrchr(rig->folder, '/') : "/", id);
        memcpy(self->path, path, sizeof path);
        (void)snprintf(self->area_path, sizeof self->area_path, "%.100s.snapshots", path);
        (void)snprintf(self->boot_id, sizeof self->boot_id,
                       "a0000000-0000-4000-8000-%012u", id);
        const struct lks_journal_options journal = journal_options(self);
        assert_int_equal(lks_journal_create(&journal, true, &self->err), 0);
        create_area(self);
        rig_start(rig, id);
        assert_int_equal(self->status, 0);
    }
    return rig;
}

void rig_free(struct rig *rig)
{
    for (uint32_t id = 1; id <= rig->options.replicas; id++) {
        struct rig_replica *self = &rig->replicas[id];
        if (self->replica != NULL) {
            end_life(self);
        }
        (void)unlink(self->path);
        (void)unlink(self->area_path);
        free(self->service.lists);
        free(self->durable);
    }
    (void)rmdir(rig->folder);
    hand_net_free(rig->net);
    g_rig = NULL;
    free(rig);
}

/* ---- time ---------------------------------------------------------------------------------- */

/* Some steps of workers, of which the same one may take several. */
static void step_workers(struct rig *rig, struct rig_replica *self)
{
    const uint32_t executors = rig->options.workers[self->id] + 1;
    rig->random = rig->random * UINT64_C(6364136223846793005) + 1442695040888963407;
    uint64_t drawn = rig->random >> 16;
    for (uint64_t steps = drawn % 40; steps > 0; steps--) {
        drawn = drawn * UINT64_C(6364136223846793005) + 1442695040888963407;
        (void)lks_replica_work(self->replica, (uint32_t)(drawn >> 33) % executors);
    }
}

void rig_step(struct rig *rig, uint32_t id)
{
    struct rig_replica *self = &rig->replicas[id];
    if (self->replica == NULL || self->stalled || self->status < 0) {
        return;
    }
    self->status = lks_replica_step(self->replica, rig->now_ns, rig->realtime_ns, &self->err);
    if (rig->options.workers[id] > 0 && !self->holds_workers) {
        step_workers(rig, self);
    }
    while (!self->holds_persists && self->persists_count > 0) {
        rig_persist(rig, id, 0, 0);
    }
    if (!self->holds_persists && self->area_posted) {
        rig_persist_area(rig, id, 0);
    }
}

void rig_tick(struct rig *rig)
{
    for (uint32_t id = 1; id <= rig->options.replicas; id++) {
        rig_step(rig, id);
    }
    rig->now_ns += RIG_TICK_NS;
    rig->realtime_ns += RIG_TICK_NS;
}

void rig_run(struct rig *rig, uint64_t ns)
{
    for (uint64_t until = rig->now_ns + ns; rig->now_ns < until;) {
        rig_tick(rig);
    }
}

/* ---- leaders and commands ------------------------------------------------------------------ */

struct lks_replica_status rig_status(const struct rig *rig, uint32_t id)
{
    struct lks_replica_status status;
    lks_replica_status(rig->replicas[id].replica, &status);
    return status;
}

struct lks_control_words *rig_control(const struct rig *rig, uint32_t id)
{
    return lks_journal_control(rig->replicas[id].journal);
}

uint32_t rig_leader(const struct rig *rig)
{
    uint32_t leader = 0;
    uint64_t term = 0;
    for (uint32_t id = 1; id <= rig->options.replicas; id++) {
        const struct lks_replica *replica = rig->replicas[id].replica;
        if (replica != NULL && rig->replicas[id].status >= 0 && replica->view->established &&
            replica->view->term > term) {
            leader = id;
            term = replica->view->term;
        }
    }
    return leader;
}

uint32_t rig_lead(struct rig *rig)
{
    for (uint64_t until = rig->now_ns + PATIENCE_NS; rig->now_ns < until;) {
        const uint32_t leader = rig_leader(rig);
        if (leader != 0) {
            return leader;
        }
        rig_tick(rig);
    }
    fail_msg("nobody leads");
    return 0;
}

void rig_make_leader(struct rig *rig, uint32_t id)
{
    for (int tries = 0; tries < 200; tries++) {
        const uint32_t leader = rig_lead(rig);
        if (leader == id) {
            return;
        }
        rig->replicas[leader].stalled = true;
        for (int i = 0; i < 10000 && rig_leader(rig) == leader; i++) {
            rig_tick(rig);
        }
        rig->replicas[leader].stalled = false;
        rig_run(rig, 4 * RIG_ELECTION_NS);
    }
    fail_msg("replica %u is never elected", id);
}

uint64_t rig_submit(struct rig *rig, uint32_t id, size_t bytes, int *code)
{
    uint8_t *command = malloc(bytes);
    const uint64_t number = rig->submitted + 1;
    assert_non_null(command);
    assert_true(bytes >= sizeof number);
    assert_true(number < RIG_SUBMITTED_MAX);
    memcpy(command, &number, sizeof number);
    for (size_t i = sizeof number; i < bytes; i++) {
        command[i] = (uint8_t)(number + i);
    }
    *code = lks_replica_submit(rig->replicas[id].replica, command, bytes, number);
    free(command);
    if (*code != 0) {
        return 0;
    }
    rig->submitted = number;
    return number;
}

void rig_submit_many(struct rig *rig, uint32_t id, size_t bytes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        int code = 0;
        assert_int_not_equal(rig_submit(rig, id, bytes, &code), 0);
        assert_int_equal(code, 0);
    }
}

uint32_t rig_read(struct rig *rig, uint32_t id, uint32_t partition, bool ordered)
{
    const uint64_t command = RIG_SERVICE_READ | partition;
    const uint64_t number = rig->reads_count + 1;
    assert_true(number < RIG_READS_MAX);
    rig->reads_count++;
    assert_int_equal(lks_replica_submit_ordered(rig->replicas[id].replica, &command,
                                                sizeof command, RIG_SERVICE_READ | number, ordered),
                     0);
    return (uint32_t)number;
}

uint32_t rig_executed(const struct rig *rig, uint32_t id)
{
    const struct rig_service *service = &rig->replicas[id].service;
    uint8_t *seen = calloc(RIG_SUBMITTED_MAX, 1);
    uint32_t count = 0;
    assert_non_null(seen);
    for (uint32_t p = 0; p < rig->options.partitions; p++) {
        for (uint32_t i = 0; i < service->lists[p].count; i++) {
            count += seen[service->lists[p].numbers[i]] == 0 ? 1 : 0;
            seen[service->lists[p].numbers[i]] = 1;
        }
    }
    free(seen);
    return count;
}

/* Of one partition: nothing twice, and each replica's list is the beginning of the longest. */
static void check_partition(const struct rig *rig, uint32_t partition)
{
    const struct rig_list *longest = NULL;
    for (uint32_t id = 1; id <= rig->options.replicas; id++) {
        const struct rig_list *list = &rig->replicas[id].service.lists[partition];
        const bool counts = rig->replicas[id].replica != NULL && !list->restoring;
        if (counts && (longest == NULL || list->count > longest->count)) {
            longest = list;
        }
    }
    if (longest == NULL) {
        return; /* all are down */
    }
    uint8_t *seen = calloc(RIG_SUBMITTED_MAX, 1);
    assert_non_null(seen);
    for (uint32_t i = 0; i < longest->count; i++) {
        const uint64_t number = longest->numbers[i];
        assert_true(number >= 1 && number <= rig->submitted);
        assert_int_equal(seen[number], 0);
        seen[number] = 1;
    }
    for (uint32_t id = 1; id <= rig->options.replicas; id++) {
        const struct rig_list *list = &rig->replicas[id].service.lists[partition];
        if (rig->replicas[id].replica != NULL && list->count <= longest->count) {
            assert_memory_equal(list->numbers, longest->numbers,
                                list->count * sizeof list->numbers[0]);
        }
    }
    free(seen);
}

void rig_check(const struct rig *rig)
{
    for (uint32_t id = 1; id <= rig->options.replicas; id++) {
        const struct rig_replica *self = &rig->replicas[id];
        if (self->replica != NULL && self->status < 0) {
            fail_msg("replica %u failed: %s", id, self->err.text);
        }
    }
    for (uint32_t p = 0; p < rig->options.partitions; p++) {
        check_partition(rig, p);
    }
    for (uint64_t number = 1; number <= rig->submitted; number++) {
        assert_true(rig->answered[number] <= 1);
    }
}

/* What was answered is in every partition that it touches. */
static void check_acknowledged(const struct rig *rig)
{
    const struct rig_service *service = &rig->replicas[rig_leader(rig)].service;
    uint32_t *found = calloc(RIG_SUBMITTED_MAX, sizeof *found);
    assert_non_null(found);
    for (uint32_t p = 0; p < rig->options.partitions; p++) {
        for (uint32_t i = 0; i < service->lists[p].count; i++) {
            found[service->lists[p].numbers[i]]++;
        }
    }
    for (uint64_t number = 1; number <= rig->submitted; number++) {
        uint16_t partitions[RIG_PARTITIONS_MAX];
        bool tied = false;
        const uint32_t count = rig_service_touches(number, partitions, &tied);
        assert_true(found[number] == count || (found[number] == 0 && !rig->answered[number]));
    }
    free(found);
}

static bool has_answered(const struct rig_replica *self)
{
    struct lks_gateway_counts counts;
    lks_gateway_counts(self->replica->gateway, &counts);
    return counts.answered == counts.submitted && !self->replica->recovery.active &&
           self->replica->recovered && lks_execution_is_quiet(self->replica);
}

static bool executed_the_same(const struct rig_replica *a, const struct rig_replica *b)
{
    for (uint32_t p = 0; p < a->rig->options.partitions; p++) {
        if (a->service.lists[p].count != b->service.lists[p].count) {
            return false;
        }
    }
    return true;
}

static bool is_settled(const struct rig *rig)
{
    const struct rig_replica *first = NULL;
    for (uint32_t id = 1; id <= rig->options.replicas; id++) {
        const struct rig_replica *self = &rig->replicas[id];
        if (self->replica == NULL) {
            continue;
        }
        if (!has_answered(self) || (first != NULL && !executed_the_same(first, self))) {
            return false;
        }
        first = self;
    }
    return rig_leader(rig) != 0;
}

void rig_settle(struct rig *rig)
{
    for (uint64_t until = rig->now_ns + PATIENCE_NS; rig->now_ns < until && !is_settled(rig);) {
        rig_tick(rig);
    }
    rig_check(rig);
    assert_true(is_settled(rig));
    check_acknowledged(rig);
}
