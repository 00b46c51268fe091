/* SPDX-License-Identifier: MIT */
/* secret_file.c - checks the opened file, not the path, so that it cannot be swapped in between. Never blocks on a
 * pipe. */
#include "common/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static ssize_t read_whole(int fd, char *out, size_t room)
{
    size_t len = 0;
    while (len < room) {
        ssize_t n = read(fd, out + len, room - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

/* The mode bits that must be clear. A file that systemd hands to this unit alone (LoadCredential) may show a
 * group's right to read: that bit is the mask of the ACL that lets the unit's user read it. */
static mode_t others_of(const char *path)
{
    const char *given = getenv("CREDENTIALS_DIRECTORY");
    size_t len = given ? strlen(given) : 0;
    bool is_given = len > 1 && strncmp(path, given, len) == 0 && path[len] == '/';
    return is_given ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;
}

ssize_t secret_file_read(const char *path, char *out, size_t room, const char **why)
{
    struct stat st;
    ssize_t len = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    *why = NULL;
    if (fd < 0 || fstat(fd, &st) < 0)
        *why = strerror(errno);
    else if (!S_ISREG(st.st_mode))
        *why = "it is not a file";
    else if (st.st_mode & others_of(path))
        *why = "others can reach it; its mode must be 0400";
    else if ((len = read_whole(fd, out, room)) < 0)
        *why = strerror(errno);
    if (fd >= 0)
        close(fd);
    return len;
}
