/* Replicas as processes; see actor.h. */
#include "tests/unit/verbs/actor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/remote_memory.h"
#include "tests/support/scratch.h"

#define PATIENCE_NS (UINT64_C(10) * LKS_NS_PER_S)

static _Noreturn void give_up(const char *what, const char *why)
{
    (void)fprintf(stderr, "%s: %s\n", what, why);
    exit(2);
}

void actor_directory(char directory[64])
{
    (void)snprintf(directory, 64, "%s/lks-verbs-XXXXXX", scratch_folder());
    if (mkdtemp(directory) == NULL) {
        give_up(directory, strerror(errno));
    }
}

void actor_remove_directory(const char *directory)
{
    DIR *entries = opendir(directory);
    if (entries == NULL) {
        return;
    }
    for (const struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries)) {
        (void)unlinkat(dirfd(entries), entry->d_name, 0);
    }
    (void)closedir(entries);
    (void)rmdir(directory);
}

void actor_start(struct actor *actor, const struct actor_options *options)
{
    char path[128];
    struct lks_error err = {0};
    memset(actor, 0, sizeof *actor);
    (void)snprintf(path, sizeof path, "%s/r%u.log", options->directory, options->replica);
    actor->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (actor->fd < 0 || ftruncate(actor->fd, (off_t)ACTOR_LOG_BYTES) != 0) {
        give_up(path, strerror(errno));
    }
    actor->log = mmap(NULL, ACTOR_LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, actor->fd, 0);
    if (actor->log == MAP_FAILED) {
        give_up(path, strerror(errno));
    }
    if (options->log != NULL) {
        actor->log_sink = (struct lks_log){.level = LKS_LOG_DEBUG, .sink = options->log};
    }
    const struct lks_fabric_options fabric_options = {
        .replica = options->replica,
        .replicas = 3,
        .cluster_id = "actors",
        .incarnation = options->incarnation,
        .directory = options->directory,
        .log = {.address = actor->log, .bytes = ACTOR_LOG_BYTES, .fd = actor->fd},
        .words_bytes = 4096,
        .inbox_bytes = ACTOR_INBOX_BYTES,
        .scratch_bytes = 4096,
        .outstanding_max = ACTOR_OUTSTANDING_MAX,
        .silent_writer_ns = options->silent_writer_ns,
        .shared_process = options->shared_process,
        .log_sink = &actor->log_sink,
    };
    if (lks_fabric_shm_new(&actor->fabric, &fabric_options, &err) != 0) {
        give_up(path, err.text);
    }
}

void actor_stop(struct actor *actor)
{
    lks_fabric_free(actor->fabric);
    (void)munmap(actor->log, ACTOR_LOG_BYTES);
    (void)close(actor->fd);
    memset(actor, 0, sizeof *actor);
}

bool actor_await(struct actor *actor, enum lks_fabric_event_kind kind,
                 struct lks_fabric_event *event)
{
    const uint64_t limit_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    for (uint64_t turn = 1;; turn++) {
        if (lks_fabric_poll(actor->fabric, event, 1) == 1 && event->kind == kind) {
            return true;
        }
        if (turn % 256 == 0) {
            if (lks_clock_monotonic_ns() > limit_ns) {
                return false;
            }
            (void)sched_yield();
        }
    }
}

pid_t actor_spawn(char *const arguments[])
{
    const pid_t parent = getpid();
    const pid_t child = fork();
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent) {
            (void)execv("/proc/self/exe", arguments);
        }
        _exit(3);
    }
    return child;
}

uint64_t actor_tag(uint64_t grant)
{
    return (grant >> 32 & 0xffff) << 28 | (grant & 0xfffffff);
}

/* Streams under one grant until something is refused, or too much has been written. */
static void stream(struct actor *actor, uint32_t owner, uint64_t grant)
{
    uint64_t *source = (uint64_t *)(void *)(actor->log + ACTOR_AREA_OFFSET);
    bool refused = false;
    for (uint64_t turn = 1; !refused && turn < (UINT64_C(1) << 32); turn++) {
        struct lks_fabric_event events[16];
        const uint64_t place =
            ACTOR_AREA_OFFSET + turn * 4096 % (ACTOR_AREA_BYTES - 4096) / 4096 * 4096;
        for (size_t i = 0; i < 4096 / 8; i++) {
            source[i] = actor_tag(grant) << 20 | (turn & 0xfffff);
        }
        const uint32_t flags = turn % 2 == 0 ? LKS_FABRIC_DURABLE : 0;
        int code = lks_fabric_write_log(actor->fabric, owner, place, source, 4096, flags, 0);
        code |= lks_fabric_write_log(actor->fabric, owner, place + 512, source, 64,
                                     flags | LKS_FABRIC_INLINE, 0);
        refused = code != 0;
        if (turn % 16 != 0) {
            continue;
        }
        /* Asked for seldom, so that most writes after a revocation are tried. */
        refused = refused || lks_fabric_flush(actor->fabric, owner, 1) != 0;
        const int count = lks_fabric_poll(actor->fabric, events, 16);
        for (int i = 0; i < count; i++) {
            refused = refused || events[i].kind == LKS_FABRIC_DISCONNECTED ||
                      (events[i].kind == LKS_FABRIC_COMPLETED && events[i].status != 0);
        }
    }
}

_Noreturn void actor_write(const struct actor_options *options, uint32_t owner)
{
    struct actor actor;
    struct lks_fabric_event event;
    uint64_t number = 0;
    actor_start(&actor, options);
    (void)lks_fabric_connect(actor.fabric, owner);
    const struct actor_letter *letter = lks_fabric_inbox(actor.fabric, owner);
    for (uint64_t turn = 1;; turn++) {
        const uint64_t arrived = lks_word_read((const lks_word *)(const void *)&letter->number);
        if (arrived > number) {
            const struct lks_fabric_key key = letter->key;
            number = arrived;
            if (lks_fabric_open(actor.fabric, owner, &key, 1) == 0 &&
                actor_await(&actor, LKS_FABRIC_OPENED, &event) && event.status == 0) {
                stream(&actor, owner, key.grant);
            }
        }
        (void)lks_fabric_poll(actor.fabric, &event, 1);
        if (turn % 64 == 0) {
            (void)sched_yield();
        }
    }
}
