/* SPDX-License-Identifier: MIT */
/* secret_file.h - a small file that nobody but its owner may reach. */
#ifndef CHASQUI_SECRET_FILE_H
#define CHASQUI_SECRET_FILE_H

#include <stddef.h>
#include <sys/types.h>

/* Reads at most `room` bytes of it. -1 with a reason in *why: not there, not a file, or a mode that lets others at it. */
ssize_t secret_file_read(const char *path, char *out, size_t room, const char **why);

#endif
