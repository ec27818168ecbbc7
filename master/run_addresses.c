/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of this machine: see run_addresses.h. Loopback is left out: from another host it leads
 * elsewhere, and a worker that was started over loopback learns that from its login. */
#include "master/run_addresses.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/socket.h"

#define ADDRESSES_MAX 8u

static bool holds(json_t *list, const char *address)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_array_get(list, i)), address) == 0)
            return true;
    return false;
}

static void add(json_t *list, const char *host, uint16_t port)
{
    char address[128];
    bool is_v6 = strchr(host, ':') != NULL;
    snprintf(address,
             sizeof address,
             "tls+tcp://%s%s%s:%u",
             is_v6 ? "[" : "",
             host,
             is_v6 ? "]" : "",
             port);
    if (json_array_size(list) < ADDRESSES_MAX && !holds(list, address))
        json_array_append_new(list, json_string(address));
}

/* Of the family, in words; false: of another one, or of no use on other machines. */
static bool write_address(const struct ifaddrs *at, int family, char *host, size_t size)
{
    if (at->ifa_addr == NULL || at->ifa_addr->sa_family != family ||
        (at->ifa_flags & IFF_UP) == 0 || (at->ifa_flags & IFF_LOOPBACK) != 0)
        return false;
    const struct sockaddr_in *in = (const void *)at->ifa_addr;
    const struct sockaddr_in6 *in6 = (const void *)at->ifa_addr;
    if (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr))
        return false; /* it would need the name of the interface there */
    return inet_ntop(family,
                     family == AF_INET ? (const void *)&in->sin_addr : &in6->sin6_addr,
                     host,
                     (socklen_t)size) != NULL;
}

static void add_interfaces(json_t *list, int family, uint16_t port)
{
    struct ifaddrs *all;
    char host[INET6_ADDRSTRLEN];
    if (getifaddrs(&all) < 0)
        return;
    for (const struct ifaddrs *at = all; at != NULL; at = at->ifa_next)
        if (write_address(at, family, host, sizeof host))
            add(list, host, port);
    freeifaddrs(all);
}

json_t *addresses_for_hosts(const char *advertise, uint16_t port)
{
    json_t *list = json_array();
    if (list != NULL && advertise != NULL)
        add(list, advertise, port);
    if (list != NULL)
        add_interfaces(list, AF_INET, port);
    if (list != NULL && strcmp(mf_socket_any(), "[::]") == 0)
        add_interfaces(list, AF_INET6, port);
    return list;
}

json_t *addresses_for_here(uint16_t port)
{
    json_t *list = json_array();
    if (list != NULL)
        add(list, "127.0.0.1", port);
    return list;
}
