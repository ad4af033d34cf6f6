/*
 * Who gives way where more callers meet a replica's lanes than may at a time. A caller costs a
 * queue pair before it has proved anything, so their number is bounded, for each source address and
 * in all, and so is their time. Pure; any thread.
 *
 * Invariant: who has proved the client key gives way to nobody while one that has not is there, and
 * strangers of one address take at most half of the places from others.
 */
#ifndef LKS_VERBS_IBV_CLIENT_CALLERS_H
#define LKS_VERBS_IBV_CLIENT_CALLERS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LKS_CLIENT_IBV_CALLERS_MAX 8u    /* that have not said HELLO */
#define LKS_CLIENT_IBV_A_SOURCE_MAX 4u   /* of them unproved, of one address */
#define LKS_CLIENT_IBV_PROOF_NS UINT64_C(1000000000) /* until the proof is there */
#define LKS_CLIENT_IBV_STEP_NS UINT64_C(3000000000)  /* for the whole of a meeting */
#define LKS_CLIENT_IBV_SOURCE_TEXT 64u               /* bytes of lks_client_ibv_source_text */

struct lks_client_ibv_waiting {
    bool here;
    bool proved; /* the client key */
    uint64_t since_ns;
    struct in6_addr source; /* IPv4: mapped */
};

/* The place for one more caller: whose it is gives way. callers: LKS_CLIENT_IBV_CALLERS_MAX. */
uint32_t lks_client_ibv_callers_choose(const struct lks_client_ibv_waiting *callers,
                                       const struct in6_addr *source);

/* The address of a socket, IPv4 mapped; of any other family zero. */
struct in6_addr lks_client_ibv_source(const struct sockaddr *address);

/* For people: "address=10.0.0.7". */
void lks_client_ibv_source_text(const struct in6_addr *source, char *text, size_t bytes);

#endif
