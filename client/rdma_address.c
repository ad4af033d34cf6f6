/* The address of this machine's RDMA devices; see rdma_address.h. */
#include "client/rdma_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glob.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define PATTERN_BYTES 512

/* The first IPv4 address of an interface. */
static bool address_of(const char *interface, char address[LKS_ADDRESS_TEXT_MAX])
{
    struct ifaddrs *all = NULL;
    bool found = false;
    if (getifaddrs(&all) != 0) {
        return false;
    }
    for (const struct ifaddrs *one = all; one != NULL && !found; one = one->ifa_next) {
        if (one->ifa_addr != NULL && one->ifa_addr->sa_family == AF_INET &&
            strcmp(one->ifa_name, interface) == 0) {
            const struct sockaddr_in *ip = (const struct sockaddr_in *)(const void *)one->ifa_addr;
            found = inet_ntop(AF_INET, &ip->sin_addr, address, LKS_ADDRESS_TEXT_MAX) != NULL;
        }
    }
    freeifaddrs(all);
    return found;
}

/* The name of an interface that a file holds (of a RoCE port's GID). */
static bool read_interface(const char *path, char interface[IF_NAMESIZE])
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    const bool read = fgets(interface, IF_NAMESIZE, file) != NULL; /* not of an unused GID */
    (void)fclose(file);
    if (read) {
        interface[strcspn(interface, "\n")] = '\0';
    }
    return read;
}

/* Of the files that match below `sysfs`: each holds an interface's name, or bears it. */
static bool find_below(const char *sysfs, const char *pattern, bool in_file,
                       char address[LKS_ADDRESS_TEXT_MAX])
{
    char whole[PATTERN_BYTES];
    glob_t files;
    bool found = false;
    const int length = snprintf(whole, sizeof whole, "%s/%s", sysfs, pattern);
    if (length < 0 || (size_t)length >= sizeof whole || glob(whole, 0, NULL, &files) != 0) {
        return false;
    }
    for (size_t i = 0; i < files.gl_pathc && !found; i++) {
        char interface[IF_NAMESIZE];
        if (!in_file) {
            found = address_of(strrchr(files.gl_pathv[i], '/') + 1, address);
        } else if (read_interface(files.gl_pathv[i], interface)) {
            found = address_of(interface, address);
        }
    }
    globfree(&files);
    return found;
}

int lks_rdma_address_find(const char *sysfs, char address[LKS_ADDRESS_TEXT_MAX],
                          struct lks_error *err)
{
    if (find_below(sysfs, "*/ports/*/gid_attrs/ndevs/*", true, address) ||
        find_below(sysfs, "*/device/net/*", false, address)) {
        return 0;
    }
    return lks_error_set(err, -ENODEV,
                         "no RDMA device here has an IPv4 address: see `rdma link` and `ip "
                         "address`, name one with --rdma ADDRESS, or make a device of an ordinary "
                         "interface with soft-roce/up");
}
