/*
 * Connecting over RDMA; see lockstep/client.h. An object of its own: a program that does not use it
 * needs neither of the RDMA libraries.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "client/library/internal.h"
#include "node/attachment_rdma.h"

#define REPLICAS_MAX 7u
#define ATTACH_MAX_NS (2 * LKS_NS_PER_S)
#define PLACE_TEXT_MAX (LKS_ATTACHMENT_ADDRESS_MAX + 9u) /* brackets, colon, port */

struct places {
    uint32_t count;
    uint8_t key[LKS_ATTACHMENT_KEY_BYTES];
    struct {
        char address[LKS_ATTACHMENT_ADDRESS_MAX];
        uint16_t port;
    } replicas[REPLICAS_MAX + 1]; /* by id */
};

static int attach_rdma(const struct lks_client *client, uint32_t replica, uint64_t timeout_ns,
                       struct lks_attachment **attachment)
{
    const struct places *places = client->places;
    struct lks_attachment_rdma_options options = {.port = places->replicas[replica].port,
                                                  .replica = replica,
                                                  .timeout_ns = timeout_ns};
    memcpy(options.address, places->replicas[replica].address, sizeof options.address);
    memcpy(options.client_key, places->key, sizeof options.client_key);
    return lks_attachment_open_rdma(attachment, &options);
}

static const struct lks_client_way g_rdma = {.attach_max_ns = ATTACH_MAX_NS,
                                             .attach = attach_rdma};

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

static int parse_key(const char *text, uint8_t key[LKS_ATTACHMENT_KEY_BYTES])
{
    if (text == NULL || strlen(text) != 2 * LKS_ATTACHMENT_KEY_BYTES) {
        return -EINVAL;
    }
    for (size_t i = 0; i < LKS_ATTACHMENT_KEY_BYTES; i++) {
        const int high = digit_of(text[2 * i]);
        const int low = digit_of(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return -EINVAL;
        }
        key[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

/* ADDRESS:PORT, an IPv6 address in brackets; changes the text. */
static int parse_place(struct places *places, char *text)
{
    char *colon = strrchr(text, ':');
    char *end = NULL;
    if (colon == NULL || colon[1] < '0' || colon[1] > '9' || places->count == REPLICAS_MAX) {
        return -EINVAL;
    }
    const unsigned long port = strtoul(colon + 1, &end, 10);
    *colon = '\0';
    const size_t length = strlen(text);
    if (length > 2 && text[0] == '[' && text[length - 1] == ']') {
        text[length - 1] = '\0';
        text++;
    }
    if (*end != '\0' || port == 0 || port > UINT16_MAX || text[0] == '\0' ||
        strlen(text) >= LKS_ATTACHMENT_ADDRESS_MAX) {
        return -EINVAL;
    }
    places->count++;
    (void)strcpy(places->replicas[places->count].address, text);
    places->replicas[places->count].port = (uint16_t)port;
    return 0;
}

static int parse_places(struct places *places, const char *text)
{
    char place[PLACE_TEXT_MAX];
    int rc = text != NULL && text[0] != '\0' ? 0 : -EINVAL;
    while (rc == 0 && text[0] != '\0') {
        const size_t length = strcspn(text, ",");
        if (length >= sizeof place) {
            return -EINVAL;
        }
        memcpy(place, text, length);
        place[length] = '\0';
        rc = parse_place(places, place);
        text += length + (text[length] == ',' ? 1 : 0);
    }
    return rc;
}

int lks_client_connect_rdma(struct lks_client **client, const struct lks_client_options *options,
                            const struct lks_client_rdma_options *rdma)
{
    struct lks_client_options wanted = *options;
    struct places *places = calloc(1, sizeof *places);
    if (places == NULL) {
        return -ENOMEM;
    }
    int rc = parse_places(places, rdma->addresses);
    rc = rc == 0 ? parse_key(rdma->client_key, places->key) : rc;
    if (rc != 0) {
        free(places);
        return rc;
    }
    wanted.directory = NULL;
    wanted.replicas = places->count;
    return lks_client_connect_by(client, &wanted, &g_rdma, places);
}
