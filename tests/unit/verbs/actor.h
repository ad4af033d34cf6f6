/*
 * Replicas as processes of their own for the shm tests: log memories in files that outlive them,
 * fabrics over those, and children that run this program again in a role. Used by the parent and
 * by the children; one thread each. Invariant: no child outlives its parent.
 */
#ifndef LKS_TESTS_VERBS_ACTOR_H
#define LKS_TESTS_VERBS_ACTOR_H

#include "verbs/fabric.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define ACTOR_LOG_BYTES (UINT64_C(72) << 10) /* head, one page, and the area below */
#define ACTOR_AREA_OFFSET UINT64_C(8192)
#define ACTOR_AREA_BYTES (UINT64_C(64) << 10)
#define ACTOR_INBOX_BYTES UINT64_C(4096)
#define ACTOR_OUTSTANDING_MAX 64u

/* A replica of one process: its log file mapped, its fabric. */
struct actor {
    int fd;
    uint8_t *log;
    struct lks_fabric *fabric;
    struct lks_log log_sink;
};

struct actor_options {
    const char *directory;
    uint32_t replica;
    uint64_t incarnation;
    uint64_t silent_writer_ns;
    bool shared_process;
    void (*log)(void *ctx, enum lks_log_level level, const char *line); /* NULL: none */
};

/* A fresh directory (0700) for sockets and logs, in memory where the machine has such. */
void actor_directory(char directory[64]);
void actor_remove_directory(const char *directory);

/* Maps the log file <directory>/r<replica>.log, made if need be, and starts a fabric on it.
 * Ends the process with a message if that fails. */
void actor_start(struct actor *actor, const struct actor_options *options);
void actor_stop(struct actor *actor);

/* Polls until an event of this kind comes; others are dropped. False: not within about 10 s. */
bool actor_await(struct actor *actor, enum lks_fabric_event_kind kind,
                 struct lks_fabric_event *event);

/* Runs this program with these arguments as a child that is killed when this process ends. */
pid_t actor_spawn(char *const arguments[]);

/* What a key is handed over in: at the start of the inbox area. `number` last. */
struct actor_letter {
    struct lks_fabric_key key;
    uint64_t number; /* of the grant: rises */
};

/* 44 bits that rise with the number of a grant. */
uint64_t actor_tag(uint64_t grant);

/* The writing role: connects to replica `owner`, opens every key that comes, and streams until a
 * write is refused; never returns. Each 8-byte word that it writes holds the grant's tag in its
 * upper 44 bits and a counter in the lower 20. */
_Noreturn void actor_write(const struct actor_options *options, uint32_t owner);

#endif
