/* Any service with sessions around it; see sessions.h. */
#include "services/sessions/sessions.h"

#include <stddef.h>

/* Services are told apart by functions without a context: the one inside is the process's. */
static const struct lks_service *g_inner;
static struct lks_service g_around;

static int open_state(void **state, const struct lks_service_options *options)
{
    return lks_client_sessions_open(g_inner, state, options);
}

static void footprint(const void *data, size_t bytes, struct lks_footprint *touched)
{
    lks_client_sessions_footprint(g_inner, data, bytes, touched);
}

static bool is_read(const void *data, size_t bytes)
{
    return lks_client_sessions_is_read(g_inner, data, bytes);
}

const struct lks_service *lks_client_sessions_around(const struct lks_service *inner)
{
    g_inner = inner;
    g_around = (struct lks_service){
        .abi = LKS_SERVICE_ABI,
        .name = inner->name,
        .partitions = inner->partitions,
        .open = open_state,
        .footprint = footprint,
        .is_read = is_read,
        LKS_CLIENT_SESSIONS_FUNCTIONS,
    };
    return &g_around;
}
