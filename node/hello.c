/* What a replica tells its peers when it connects; see hello.h. */
#include "node/hello.h"

#include "node/replica.h"

#include <errno.h>
#include <string.h>

int lks_hello_read(struct lks_hello *hello, const uint8_t bytes[LKS_FABRIC_HELLO_BYTES])
{
    struct lks_hello copy;
    memcpy(&copy, bytes, sizeof copy);
    if (copy.version != LKS_HELLO_VERSION) {
        return -LKS_EVERSION;
    }
    if (copy.durability <= LKS_DURABILITY_AUTO || copy.durability > LKS_DURABILITY_PMEM_READ ||
        copy.medium > LKS_MEDIUM_FILE || copy.domain > LKS_DOMAIN_UNKNOWN ||
        memchr(copy.boot_id, '\0', sizeof copy.boot_id) == NULL) {
        return -EINVAL;
    }
    *hello = copy;
    return 0;
}

bool lks_hello_is_outlived(const struct lks_hello *hello, const struct lks_hello_known *known)
{
    if (hello->incarnation == 0 || hello->incarnation > known->incarnation) {
        return false;
    }
    return hello->incarnation < known->incarnation ||
           (known->life != 0 && hello->life != known->life);
}
