/* The `lockstep` binary: the key-value service, and the benchmarks beside the usual commands. */
#include "client/command.h"
#include "client/program.h"
#include "services/kv/kv.h"
#include "services/sessions/sessions.h"

int main(int argc, char **argv)
{
    static const struct lks_program_command more[] = {
        {"bench", lks_bench_command, "measure replication, failover, recovery, endurance"},
    };
    static const struct lks_program program = {
        .name = "lockstep",
        .version = "lockstep " LKS_VERSION " (" LKS_COMMIT ")",
        .purpose = "Replicates a service over one-sided writes into persistent logs.",
        .service = &lks_kv_sessions_service,
        .key_value = true,
        .is_debug = lks_kv_is_debug,
        .more = more,
        .more_count = sizeof more / sizeof more[0],
    };
    return lks_program_run(&program, argc, argv);
}
