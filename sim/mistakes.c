/*
 * What an operator may get wrong at a replica's files: those of another cluster or replica, other
 * sizes, no file at all, a second process, a disk without room. Each is refused with its reason,
 * and changes nothing: what goes on, or starts, afterwards shows it. One thread.
 */
#include "sim/mistakes.h"

#include "base/assert.h"
#include "sim/files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PATH_BYTES 288u
#define TERMINAL "/dev/null"
#define WHOLE ((off_t)-1)

struct attempt {
    const char *what;
    int expected;
    bool up;      /* while its process runs; else while it does not */
    bool creates; /* else opens */
    bool full;    /* on a disk without room */
    bool fails;   /* on a medium that fails */
};

enum journal_mistake {
    JOURNAL_IN_USE,
    JOURNAL_OF_ANOTHER_CLUSTER,
    JOURNAL_OF_ANOTHER_REPLICA,
    JOURNAL_OF_ANOTHER_RING,
    JOURNAL_OF_NO_RING,
    JOURNAL_FOR_LONG_ENTRIES,
    JOURNAL_NOT_THERE,
    JOURNAL_THERE,
    JOURNAL_OF_NOBODY,
    JOURNAL_OF_OTHERS,
    JOURNAL_OF_TOO_MANY_LIVES,
    JOURNAL_WITHOUT_ROOM,
    JOURNAL_CUT_SHORT,
    JOURNAL_CUT_TO_NOTHING,
    JOURNAL_OF_A_TERMINAL,
    JOURNAL_ON_A_TERMINAL,
    JOURNAL_WITHOUT_A_BOOT,
    JOURNAL_ON_A_BAD_MEDIUM,
    JOURNAL_MISTAKES
};

static const struct attempt g_journal[JOURNAL_MISTAKES] = {
    [JOURNAL_IN_USE] = {"a journal in use", -EBUSY, .up = true},
    [JOURNAL_OF_ANOTHER_CLUSTER] = {"a journal of another cluster", -LKS_ECLUSTER, .up = false},
    [JOURNAL_OF_ANOTHER_REPLICA] = {"a journal of another replica", -LKS_ECLUSTER, .up = false},
    [JOURNAL_OF_ANOTHER_RING] = {"a ring of another size", -LKS_ESIZE, .up = false},
    [JOURNAL_OF_NO_RING] = {"a ring of no page", -EINVAL, .up = false},
    [JOURNAL_FOR_LONG_ENTRIES] = {"entries longer than the ring allows", -EINVAL, .up = false},
    [JOURNAL_NOT_THERE] = {"no journal", -ENOENT, .up = false},
    [JOURNAL_THERE] = {"a journal that is there already", -EEXIST, .creates = true},
    [JOURNAL_OF_NOBODY] = {"a journal of replica 0", -EINVAL, .creates = true},
    [JOURNAL_OF_OTHERS] = {"first members without the replica", -EINVAL, .creates = true},
    [JOURNAL_OF_TOO_MANY_LIVES] = {"more lives than there can be", -EINVAL, .creates = true},
    [JOURNAL_WITHOUT_ROOM] = {"a new journal on a full disk", -ENOSPC, .creates = true,
                              .full = true},
    [JOURNAL_CUT_SHORT] = {"a journal cut short", -LKS_ESIZE, .up = false},
    [JOURNAL_CUT_TO_NOTHING] = {"a journal of less than a page", -LKS_EFORMAT, .up = false},
    [JOURNAL_OF_A_TERMINAL] = {"a device that holds nothing", -EINVAL, .up = false},
    [JOURNAL_ON_A_TERMINAL] = {"a new journal on such a device", -EINVAL, .creates = true},
    [JOURNAL_WITHOUT_A_BOOT] = {"a boot without its whole name", -EINVAL, .up = false},
    [JOURNAL_ON_A_BAD_MEDIUM] = {"a new journal on a failing medium", -EIO, .creates = true,
                                 .fails = true},
};

enum area_mistake {
    AREA_IN_USE,
    AREA_OF_ANOTHER_CLUSTER,
    AREA_OF_ANOTHER_REPLICA,
    AREA_OF_OTHER_PARTITIONS,
    AREA_OF_NO_PARTITION,
    AREA_SMALLER,
    AREA_OF_NO_SIZE,
    AREA_NOT_THERE,
    AREA_WITHOUT_ROOM,
    AREA_THERE,
    AREA_CUT_SHORT,
    AREA_CUT_TO_NOTHING,
    AREA_OF_A_TERMINAL,
    AREA_ON_A_TERMINAL,
    AREA_ON_A_BAD_MEDIUM,
    AREA_MISTAKES
};

static const struct attempt g_area[AREA_MISTAKES] = {
    [AREA_IN_USE] = {"snapshots in use", -EBUSY, .up = true},
    [AREA_OF_ANOTHER_CLUSTER] = {"snapshots of another cluster", -LKS_ECLUSTER, .up = false},
    [AREA_OF_ANOTHER_REPLICA] = {"snapshots of another replica", -LKS_ECLUSTER, .up = false},
    [AREA_OF_OTHER_PARTITIONS] = {"snapshots of other partitions", -LKS_ESIZE, .up = false},
    [AREA_OF_NO_PARTITION] = {"snapshots of no partition", -EINVAL, .up = false},
    [AREA_SMALLER] = {"a smaller area", -LKS_ESIZE, .up = false},
    [AREA_OF_NO_SIZE] = {"an area of no whole MiB", -EINVAL, .up = false},
    [AREA_NOT_THERE] = {"no snapshots", -ENOENT, .up = false},
    [AREA_WITHOUT_ROOM] = {"new snapshots on a full disk", -ENOSPC, .creates = true,
                           .full = true},
    [AREA_THERE] = {"snapshots that are there already", -EEXIST, .creates = true},
    [AREA_CUT_SHORT] = {"snapshots cut short", -LKS_ESIZE, .up = false},
    [AREA_CUT_TO_NOTHING] = {"snapshots of less than a block", -LKS_EFORMAT, .up = false},
    [AREA_OF_A_TERMINAL] = {"a device for snapshots", -EINVAL, .up = false},
    [AREA_ON_A_TERMINAL] = {"new snapshots on a device", -EINVAL, .creates = true},
    [AREA_ON_A_BAD_MEDIUM] = {"new snapshots on a failing medium", -EIO, .creates = true,
                              .fails = true},
};

/* The file, which holds nothing, gets another size; returns the former one. WHOLE: it stays. */
static off_t cut_file(const char *path, off_t bytes)
{
    struct stat found;
    if (bytes == WHOLE || stat(path, &found) != 0) {
        return WHOLE;
    }
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    const int cut = ftruncate(fd, bytes);
    LKS_ASSERT(fd >= 0 && cut == 0);
    (void)close(fd);
    return found.st_size;
}

static int try_journal(const struct lks_sim_storage *storage, enum journal_mistake mistake,
                       struct lks_error *err)
{
    struct lks_journal_options options = *lks_sim_storage_options(storage);
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s.other", options.path);
    options.bootstrap_voters = 1u << options.replica;
    if (mistake == JOURNAL_NOT_THERE || mistake == JOURNAL_WITHOUT_ROOM ||
        mistake == JOURNAL_ON_A_BAD_MEDIUM) {
        options.path = path;
    } else if (mistake == JOURNAL_OF_ANOTHER_CLUSTER) {
        options.cluster_id[0] ^= 1;
    } else if (mistake == JOURNAL_OF_ANOTHER_REPLICA) {
        options.replica = options.replica % LKS_REPLICAS_MAX + 1;
    } else if (mistake == JOURNAL_OF_ANOTHER_RING) {
        options.ring_bytes *= 2;
    } else if (mistake == JOURNAL_OF_NO_RING) {
        options.ring_bytes += 8;
    } else if (mistake == JOURNAL_FOR_LONG_ENTRIES) {
        options.entry_bytes_max = options.ring_bytes;
    } else if (mistake == JOURNAL_OF_NOBODY) {
        options.replica = 0;
    } else if (mistake == JOURNAL_OF_OTHERS) {
        options.bootstrap_voters <<= 1;
    } else if (mistake == JOURNAL_OF_TOO_MANY_LIVES) {
        options.lives_before = UINT64_MAX;
    } else if (mistake == JOURNAL_OF_A_TERMINAL || mistake == JOURNAL_ON_A_TERMINAL) {
        options.path = TERMINAL;
    } else if (mistake == JOURNAL_WITHOUT_A_BOOT) {
        options.boot_id = "short";
    }
    const off_t cut = mistake == JOURNAL_CUT_SHORT        ? (off_t)options.ring_bytes
                      : mistake == JOURNAL_CUT_TO_NOTHING ? 1
                                                          : WHOLE;
    const off_t bytes = cut_file(options.path, cut);
    const bool entered = lks_sim_files_enter(strcmp(options.path, TERMINAL) != 0);
    struct lks_journal *opened = NULL;
    const int status = g_journal[mistake].creates ? lks_journal_create(&options, true, err)
                                                  : lks_journal_open(&opened, &options, err);
    (void)lks_sim_files_enter(entered);
    (void)cut_file(options.path, bytes);
    return status;
}

static int try_area(const struct lks_sim_area *area, enum area_mistake mistake,
                    struct lks_error *err)
{
    struct lks_snapshots_options options = *lks_sim_area_options(area);
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s.other", options.path);
    if (mistake == AREA_NOT_THERE || mistake == AREA_WITHOUT_ROOM ||
        mistake == AREA_ON_A_BAD_MEDIUM) {
        options.path = path;
    } else if (mistake == AREA_OF_ANOTHER_CLUSTER) {
        options.cluster_id[0] ^= 1;
    } else if (mistake == AREA_OF_ANOTHER_REPLICA) {
        options.replica = options.replica % LKS_REPLICAS_MAX + 1;
    } else if (mistake == AREA_OF_OTHER_PARTITIONS) {
        options.partitions /= 2;
    } else if (mistake == AREA_OF_NO_PARTITION) {
        options.partitions = 0;
    } else if (mistake == AREA_SMALLER) {
        options.area_bytes -= UINT64_C(1) << 20;
    } else if (mistake == AREA_OF_NO_SIZE) {
        options.area_bytes++;
    } else if (mistake == AREA_OF_A_TERMINAL || mistake == AREA_ON_A_TERMINAL) {
        options.path = TERMINAL;
    }
    const off_t cut = mistake == AREA_CUT_SHORT        ? (off_t)LKS_SNAPSHOT_BLOCK_BYTES
                      : mistake == AREA_CUT_TO_NOTHING ? 1
                                                       : WHOLE;
    const off_t bytes = cut_file(options.path, cut);
    const bool entered = lks_sim_files_enter(strcmp(options.path, TERMINAL) != 0);
    struct lks_snapshots *opened = NULL;
    const int status = g_area[mistake].creates ? lks_snapshots_create(&options, err)
                                               : lks_snapshots_open(&opened, &options, err);
    (void)lks_sim_files_enter(entered);
    (void)cut_file(options.path, bytes);
    return status;
}

bool lks_sim_mistake(struct lks_sim_process *process, struct lks_sim_random *random,
                     struct lks_sim_verdict *verdict)
{
    struct lks_sim_storage *storage = lks_sim_process_storage(process);
    const struct lks_sim_area *area = lks_sim_process_area(process);
    const bool up = lks_sim_process_state(process) != LKS_SIM_DOWN;
    const bool of_area = area != NULL && lks_sim_random_chance(random, 400000);
    uint32_t mistake = (uint32_t)lks_sim_random_below(random, of_area ? AREA_MISTAKES
                                                                      : JOURNAL_MISTAKES);
    mistake = up ? 0 : mistake;
    const struct attempt *attempt = of_area ? &g_area[mistake] : &g_journal[mistake];
    if (attempt->up != up || lks_sim_process_is_rotten(process)) {
        return false; /* (what is rotten may be refused for that) */
    }
    struct lks_error err = {0};
    struct lks_sim_storage *before = lks_sim_storage_enter(storage);
    const bool was_full = lks_sim_storage_is_full(storage);
    lks_sim_storage_fill_disk(storage, was_full || attempt->full);
    if (attempt->fails) {
        lks_sim_storage_fill_disk(storage, false);
        lks_sim_storage_fail(storage, -EIO);
        lks_sim_storage_fail_records(storage);
    }
    const int status =
        of_area ? try_area(area, mistake, &err) : try_journal(storage, mistake, &err);
    lks_sim_storage_fill_disk(storage, was_full);
    if (attempt->fails) {
        lks_sim_storage_fail(storage, 0);
        lks_sim_storage_forget_others(storage); /* it was made, and removed again */
    }
    (void)lks_sim_storage_enter(before);
    verdict->checks++;
    if (status != attempt->expected || err.text[0] == '\0') {
        lks_sim_verdict_break(verdict, "mistakes are refused", "%s: %d (%s), expected %d",
                              attempt->what, status, err.text, attempt->expected);
    }
    return true;
}
