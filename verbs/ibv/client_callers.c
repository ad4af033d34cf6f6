/* Who gives way among callers; see client_callers.h. */
#include "verbs/ibv/client_callers.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define NONE UINT32_MAX

static bool is_from(const struct lks_client_ibv_waiting *caller, const struct in6_addr *source)
{
    return caller->here && !caller->proved &&
           memcmp(&caller->source, source, sizeof *source) == 0;
}

/* The one that came first, of all or of those without a proof, of any or of one source. */
static uint32_t oldest(const struct lks_client_ibv_waiting *callers, bool proved_too,
                       const struct in6_addr *source)
{
    uint32_t found = NONE;
    for (uint32_t i = 0; i < LKS_CLIENT_IBV_CALLERS_MAX; i++) {
        const bool fits = source != NULL ? is_from(&callers[i], source)
                                         : callers[i].here && (proved_too || !callers[i].proved);
        if (fits && (found == NONE || callers[i].since_ns < callers[found].since_ns)) {
            found = i;
        }
    }
    return found;
}

uint32_t lks_client_ibv_callers_choose(const struct lks_client_ibv_waiting *callers,
                                       const struct in6_addr *source)
{
    uint32_t same = 0;
    uint32_t empty = NONE;
    for (uint32_t i = 0; i < LKS_CLIENT_IBV_CALLERS_MAX; i++) {
        same += is_from(&callers[i], source) ? 1 : 0;
        empty = empty == NONE && !callers[i].here ? i : empty;
    }
    if (same >= LKS_CLIENT_IBV_A_SOURCE_MAX) {
        return oldest(callers, false, source);
    }
    if (empty != NONE) {
        return empty;
    }
    const uint32_t unproved = oldest(callers, false, NULL);
    return unproved != NONE ? unproved : oldest(callers, true, NULL);
}

struct in6_addr lks_client_ibv_source(const struct sockaddr *address)
{
    struct in6_addr source = {0};
    if (address != NULL && address->sa_family == AF_INET6) {
        memcpy(&source, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr,
               sizeof source);
    } else if (address != NULL && address->sa_family == AF_INET) {
        source.s6_addr[10] = source.s6_addr[11] = 0xff;
        memcpy(source.s6_addr + 12, &((const struct sockaddr_in *)(const void *)address)->sin_addr,
               4);
    }
    return source;
}

void lks_client_ibv_source_text(const struct in6_addr *source, char *text, size_t bytes)
{
    char address[INET6_ADDRSTRLEN] = "unknown";
    if (IN6_IS_ADDR_V4MAPPED(source)) {
        (void)inet_ntop(AF_INET, source->s6_addr + 12, address, sizeof address);
    } else {
        (void)inet_ntop(AF_INET6, source, address, sizeof address);
    }
    (void)snprintf(text, bytes, "address=%s", address);
}
