/* `lockstep journal dump|verify`: what it prints, its exit codes, and that it changes nothing. */
#include "snapshots_fixture.h"

#include "client/command.h"

#include <argp.h>

#define OUTPUT_MAX 65536u

struct output {
    int code;
    char out[OUTPUT_MAX];
    char err[OUTPUT_MAX];
};

static struct output g_output;

static void read_text(const char *path, char text[OUTPUT_MAX])
{
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    const size_t bytes = fread(text, 1, OUTPUT_MAX - 1, file);
    text[bytes] = '\0';
    (void)fclose(file);
    assert_int_equal(unlink(path), 0);
}

/* Runs the command in a child, with its two outputs in files of the fixture's folder. */
static const struct output *run(const struct fixture *f, const char *a, const char *b,
                                const char *c, const char *d)
{
    char out[128];
    char err[128];
    char arguments[4][128];
    const char *given[4] = {a, b, c, d};
    char name[] = "lockstep journal";
    char *argv[6] = {name};
    int argc = 1;
    int status = 0;
    (void)snprintf(out, sizeof out, "%s/out", f->folder);
    (void)snprintf(err, sizeof err, "%s/err", f->folder);
    for (int i = 0; i < 4 && given[i] != NULL; i++) {
        (void)snprintf(arguments[i], sizeof arguments[i], "%s", given[i]);
        argv[argc++] = arguments[i];
    }
    (void)fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        argp_err_exit_status = LKS_EXIT_USAGE;
        if (freopen(out, "we", stdout) == NULL || freopen(err, "we", stderr) == NULL) {
            _exit(99);
        }
        const int code = lks_journal_command(argc, argv);
        (void)fflush(NULL);
        _exit(code);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    g_output.code = WEXITSTATUS(status);
    read_text(out, g_output.out);
    read_text(err, g_output.err);
    return &g_output;
}

static void expect_text(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("'%s' is not in '%s'", part, text);
    }
}

static void verify__whole__says_where_the_log_ends(void **state)
{
    struct fixture *f = *state;
    size_t bytes;
    start(f);
    append_many(f, 3, 100, 7);
    crash(f);
    unsigned char *before = file_snapshot(f->path, &bytes);
    const struct output *output = run(f, "verify", f->path, NULL, NULL);
    assert_int_equal(output->code, 0);
    expect_text(output->out, "behind index 7, term 3, at offset 1344");
    expect_text(output->out, "result       whole");
    expect_text(output->out, "medium       memory: tmpfs");
    assert_string_equal(output->err, "");
    unsigned char *after = file_snapshot(f->path, &bytes);
    assert_memory_equal(before, after, bytes);
    free(before);
    free(after);
}

static void verify__json__one_object_on_one_line(void **state)
{
    struct fixture *f = *state;
    start(f);
    append_many(f, 3, 100, 7);
    const struct output *output = run(f, "verify", "--json", f->path, NULL);
    assert_int_equal(output->code, 0);
    expect_text(output->out, "\"result\":\"whole\"");
    expect_text(output->out, "\"cluster\":\"01020304-0000-0000-0000-000000000000\",\"replica\":1");
    expect_text(output->out, "\"last_index\":7,\"last_term\":3,\"end_offset\":1344");
    expect_text(output->out, "\"entries_command\":7");
    expect_text(output->out, "\"in_use\":true");
    assert_int_equal(output->out[0], '{');
    assert_string_equal(strchr(output->out, '\n'), "\n");
}

static void verify__damaged__exit_1_and_the_index(void **state)
{
    struct fixture *f = *state;
    start(f);
    append_many(f, 3, 100, 7);
    assert_int_equal(lks_journal_raise_floor(f->journal, f->tail.offset), 0);
    crash(f);
    file_flip(f->path, LKS_JOURNAL_RING_AT + 192 * 2 + 70, 1);
    const struct output *output = run(f, "verify", f->path, "-j", NULL);
    assert_int_equal(output->code, 1);
    expect_text(output->out, "\"result\":\"damaged\"");
    expect_text(output->err, "entry 3 at offset 384");
    assert_int_equal(run(f, "dump", f->path, NULL, NULL)->code, 1);
}

static void verify__torn_tail__is_named(void **state)
{
    struct fixture *f = *state;
    start(f);
    append_many(f, 3, 100, 7);
    crash(f);
    file_flip(f->path, LKS_JOURNAL_RING_AT + 192 * 6 + 70, 1);
    const struct output *output = run(f, "verify", f->path, NULL, NULL);
    assert_int_equal(output->code, 0);
    expect_text(output->out, "what follows looks like entry 7, but its checksum is wrong");
}

static void verify__no_journal__exit_1(void **state)
{
    struct fixture *f = *state;
    const struct output *output = run(f, "verify", "--json", f->path, NULL);
    assert_int_equal(output->code, 1);
    expect_text(output->out, "\"result\":\"unreadable\"");
    expect_text(output->err, "No such file");
}

static void dump__prints_entries_asked_for(void **state)
{
    struct fixture *f = *state;
    start(f);
    append_many(f, 3, 3, 7);
    const struct output *output = run(f, "dump", "--from=5", "--count=2", f->path);
    assert_int_equal(output->code, 0);
    expect_text(output->out, "\n         5          512        3 command        3");
    expect_text(output->out, "\n         6          640        3 command        3");
    assert_null(strstr(output->out, "\n         7 "));
    output = run(f, "dump", "--payload", f->path, NULL);
    expect_text(output->out, "  \"\\x8a\\x91\\x98\"\n");
}

/* An area beside the journal, whose oldest snapshot is at `low`. */
static void put_snapshots(struct fixture *f, struct area *area, const struct lks_log_point *low)
{
    const struct lks_snapshot_head head = {.point = *low, .meta = "m", .meta_bytes = 1};
    area_make(area, scratch_folder());
    (void)snprintf(area->path, sizeof area->path, "%s.snapshots", f->path);
    area_start(area);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        assert_int_equal(lks_snapshot_write_begin(area->store, p, &head), 0);
        assert_int_equal(lks_snapshot_write_chunk(area->store, p, "abc", 3), 0);
        assert_int_equal(lks_snapshot_write_finish(area->store, p), 0);
        content_persist(area->store, p);
        assert_int_equal(lks_snapshots_replace(area->store, &p, 1), 0);
    }
}

static void drop_snapshots(struct area *area)
{
    lks_snapshots_close(area->store);
    (void)unlink(area->path);
    (void)rmdir(area->folder);
}

static void verify__with_snapshots__reads_them(void **state)
{
    struct fixture *f = *state;
    struct area area;
    start(f);
    append_many(f, 3, 100, 4);
    const struct lks_log_point low = f->tail;
    append_many(f, 3, 100, 3);
    put_snapshots(f, &area, &low);
    assert_int_equal(lks_journal_write_base(f->journal, &low), 0);
    const struct output *output = run(f, "verify", f->path, NULL, NULL);
    assert_int_equal(output->code, 0);
    expect_text(output->out, "manifest 7, 4 of 4 partitions");
    expect_text(output->out, "whole; the oldest at index 4, term 3, offset 768");
    output = run(f, "verify", "--json", f->path, NULL);
    expect_text(output->out, "\"result\":\"whole\",\"generation\":7,\"partitions\":4,\"taken\":4");
    output = run(f, "dump", f->path, NULL, NULL);
    assert_int_equal(output->code, 0);
    expect_text(output->out, "\n        3          4          768        3        1");
    file_flip(area.path, area.store->geometry.blocks_at + 2 * (uint64_t)BLOCK + 70, 1);
    output = run(f, "verify", "--json", f->path, NULL);
    assert_int_equal(output->code, 1);
    expect_text(output->out, "\"result\":\"damaged\"");
    expect_text(output->err, "partition 2: a block is damaged");
    drop_snapshots(&area);
}

static void verify__snapshots_that_do_not_fit__exit_1(void **state)
{
    struct fixture *f = *state;
    struct area area;
    char elsewhere[160];
    start(f);
    append_many(f, 3, 100, 4);
    const struct lks_log_point low = f->tail;
    append_many(f, 3, 100, 3);
    put_snapshots(f, &area, &low);
    assert_int_equal(lks_journal_write_base(f->journal, &f->tail), 0);
    const struct output *output = run(f, "verify", f->path, NULL, NULL);
    assert_int_equal(output->code, 1);
    expect_text(output->err, "they reach to index 4, but the journal keeps its log from index 7");
    (void)snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", area.folder);
    assert_int_equal(rename(area.path, elsewhere), 0);
    output = run(f, "verify", f->path, NULL, NULL);
    assert_int_equal(output->code, 1);
    expect_text(output->err, "say where they are with --snapshots FILE");
    assert_int_equal(run(f, "verify", f->path, "--snapshots", "/nowhere")->code, 1);
    output = run(f, "verify", f->path, "--snapshots", elsewhere);
    expect_text(output->err, "they reach to index 4");
    assert_int_equal(rename(elsewhere, area.path), 0);
    drop_snapshots(&area);
}

static void arguments__wrong__exit_2(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(run(f, NULL, NULL, NULL, NULL)->code, 2);
    assert_int_equal(run(f, "verify", NULL, NULL, NULL)->code, 2);
    assert_int_equal(run(f, "look", f->path, NULL, NULL)->code, 2);
    assert_int_equal(run(f, "verify", f->path, f->path, NULL)->code, 2);
    assert_int_equal(run(f, "dump", f->path, "--json", NULL)->code, 2);
    assert_int_equal(run(f, "verify", f->path, "--from=3", NULL)->code, 2);
    assert_int_equal(run(f, "dump", f->path, "--count=x", NULL)->code, 2);
    const struct output *output = run(f, "--help", NULL, NULL, NULL);
    assert_int_equal(output->code, 0);
    expect_text(output->out, "Exit codes: 0 the journal is whole");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(verify__whole__says_where_the_log_ends),
        TEST(verify__json__one_object_on_one_line),
        TEST(verify__damaged__exit_1_and_the_index),
        TEST(verify__torn_tail__is_named),
        TEST(verify__no_journal__exit_1),
        TEST(dump__prints_entries_asked_for),
        TEST(verify__with_snapshots__reads_them),
        TEST(verify__snapshots_that_do_not_fit__exit_1),
        TEST(arguments__wrong__exit_2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
