/* A program with a service of its own; see include/lockstep/replica.h. */
#include "lockstep/replica.h"

#include "client/command.h"
#include "client/program.h"
#include "services/sessions/sessions.h"

#include <stdio.h>
#include <string.h>

#define NAME_MAX_BYTES 32u

static bool is_name(const char *name)
{
    const char *letters = "abcdefghijklmnopqrstuvwxyz0123456789-";
    const size_t bytes = name != NULL ? strlen(name) : 0;
    return bytes >= 1 && bytes <= NAME_MAX_BYTES && strspn(name, letters) == bytes &&
           strcmp(name, "kv") != 0;
}

static bool is_whole(const struct lks_service *service)
{
    return service->open != NULL && service->close != NULL && service->footprint != NULL &&
           service->apply != NULL && service->read != NULL && service->is_read != NULL &&
           service->tick != NULL && service->next_expiry_ns != NULL &&
           service->snapshot_begin != NULL && service->snapshot_step != NULL &&
           service->snapshot_end != NULL && service->snapshot_kept != NULL &&
           service->restore_begin != NULL && service->restore_chunk != NULL &&
           service->restore_end != NULL && service->hash != NULL;
}

/* Why it cannot be replicated; NULL: it can. */
static const char *fault_of(const struct lks_service *service)
{
    if (service->abi != LKS_SERVICE_ABI) {
        return "was built against another lockstep/service.h: build it anew";
    }
    if (!is_name(service->name)) {
        return "needs a name of 1 to 32 of a-z, 0-9 and -, other than kv";
    }
    if (service->partitions < 1 || service->partitions > LKS_PARTITIONS_MAX) {
        return "needs 1 to 4096 partitions";
    }
    return is_whole(service) ? NULL : "lacks a function: all of lockstep/service.h are needed";
}

int lks_main(const struct lks_service *service, int argc, char **argv)
{
    const char *fault = fault_of(service);
    if (fault != NULL) {
        fprintf(stderr, "service '%s' %s\n", service->name != NULL ? service->name : "", fault);
        return LKS_EXIT_USAGE;
    }
    char purpose[96];
    (void)snprintf(purpose, sizeof purpose, "Replicates the service '%s' by Lockstep.",
                   service->name);
    const struct lks_program program = {
        .name = service->name,
        .version = "lockstep " LKS_VERSION " (" LKS_COMMIT ")",
        .purpose = purpose,
        .service = lks_client_sessions_around(service),
    };
    return lks_program_run(&program, argc, argv);
}
