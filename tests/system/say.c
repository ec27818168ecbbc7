/* SPDX-License-Identifier: Apache-2.0 */
/*
 * say SOCKET LINE: sends a line to a unix stream socket and prints the line that comes back. What
 * system tests need to speak to a run's control socket. Exit code 1 when nobody listens or no whole
 * line comes.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The folder is reached by a descriptor: its path may be longer than a socket address. */
static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int file = open(path, O_PATH | O_CLOEXEC);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", file);
    if (file < 0 || fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        perror(path);
        return -1;
    }
    close(file);
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: say SOCKET LINE\n");
        return 2;
    }
    int fd = connect_to(argv[1]);
    FILE *stream = fd < 0 ? NULL : fdopen(fd, "r+");
    if (stream == NULL)
        return 1;
    char *line = NULL;
    size_t size = 0;
    if (fprintf(stream, "%s\n", argv[2]) < 0 || fflush(stream) != 0 ||
        getline(&line, &size, stream) < 0) {
        fprintf(stderr, "say: no answer\n");
        return 1;
    }
    fputs(line, stdout);
    return 0;
}
