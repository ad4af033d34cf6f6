/*
 * A program that replicates a service of its own: link liblockstep.a, describe the service
 * (lockstep/service.h), and let main be
 *
 *     int main(int argc, char **argv) { return lks_main(&my_service, argc, argv); }
 *
 * It then has the commands of `lockstep` but its benchmarks: `my-service init`, `serve`, `local`,
 * `status`, `member`, `recover` and so on, each with the service in it. Clients call it by
 * lockstep/client.h: sessions, by which each call takes effect once, are put around the service.
 * The port that the configuration names takes what administers a cluster (INFO, MEMBER, PING, ...),
 * not the commands of the key-value service.
 */
#ifndef LOCKSTEP_REPLICA_H
#define LOCKSTEP_REPLICA_H

#include "lockstep/service.h"

/*
 * Runs the command that the arguments name, on the calling thread, and returns its exit code: to be
 * called once, first of all in main, and to be returned from it. `service` and what it points at
 * stay as they are for the process's life; its name, [a-z0-9-]{1,32} and not "kv", tells it in
 * messages. A service that cannot be replicated is refused with exit code 2.
 */
int lks_main(const struct lks_service *service, int argc, char **argv);

#endif
