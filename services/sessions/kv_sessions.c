/* The key-value service with sessions around it: its table of functions; see sessions.h. */
#include "services/kv/hash.h"
#include "services/kv/kv.h"
#include "services/sessions/sessions.h"

/* Services are told apart by functions without a context: these name the one inside. */
static int open_state(void **state, const struct lks_service_options *options)
{
    return lks_client_sessions_open(&lks_kv_service, state, options);
}

static void footprint(const void *data, size_t bytes, struct lks_footprint *touched)
{
    lks_client_sessions_footprint(&lks_kv_service, data, bytes, touched);
}

static bool is_read(const void *data, size_t bytes)
{
    return lks_client_sessions_is_read(&lks_kv_service, data, bytes);
}

const struct lks_service lks_kv_sessions_service = {
    .abi = LKS_SERVICE_ABI,
    .name = "kv",
    .partitions = LKS_KV_PARTITIONS,
    .open = open_state,
    .footprint = footprint,
    .is_read = is_read,
    LKS_CLIENT_SESSIONS_FUNCTIONS,
};
