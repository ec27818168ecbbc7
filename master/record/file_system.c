/* SPDX-License-Identifier: Apache-2.0 */
/* Network file systems by the magic number that statfs reports. */
#include "master/record/file_system.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

static const uint32_t network_magics[] = {
    0x00006969, /* NFS */
    0x0000517b, /* SMB */
    0xff534d42, /* CIFS */
    0xfe534d42, /* SMB2 */
    0x65735546, /* FUSE: sshfs and many others */
    0x5346414f, /* AFS (OpenAFS) */
    0x6b414653, /* AFS (kernel) */
    0x00c36400, /* Ceph */
    0x01021997, /* 9p */
    0x0bd00bd0, /* Lustre */
    0x7461636f, /* OCFS2 */
    0x01161970, /* GFS2 */
    0x19830326, /* BeeGFS */
    0x47504653, /* GPFS */
};

static bool folder_of(const char *path, char *folder, size_t size)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return snprintf(folder, size, ".") > 0;
    int length = slash == path ? 1 : (int)(slash - path);
    return (size_t)snprintf(folder, size, "%.*s", length, path) < size;
}

bool file_system_is_network(const char *path)
{
    struct statfs facts;
    char folder[4096];
    if (statfs(path, &facts) < 0 &&
        (!folder_of(path, folder, sizeof folder) || statfs(folder, &facts) < 0))
        return false;
    for (size_t i = 0; i < sizeof network_magics / sizeof *network_magics; i++)
        if ((uint32_t)facts.f_type == network_magics[i])
            return true;
    return false;
}
