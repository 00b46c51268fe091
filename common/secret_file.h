/* SPDX-License-Identifier: MIT */
/* secret_file.h - a small file that only its owner may access. */
#ifndef CHASQUI_SECRET_FILE_H
#define CHASQUI_SECRET_FILE_H

#include <stddef.h>
#include <sys/types.h>

/* Reads at most `room` bytes of the file. Returns -1 with a reason in *why: missing, not a regular file, or a mode
 * that admits other users. */
ssize_t secret_file_read(const char *path, char *out, size_t room, const char **why);

#endif
