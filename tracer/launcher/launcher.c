/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Starts the tracer, as Valgrind's own `valgrind` command starts its tools, from the folder this
 * program lies in: Valgrind need not be installed where a program is recorded.
 *
 * The tool finds its files through VALGRIND_LIB. VALGRIND_LAUNCHER tells it what to execute when
 * the recorded program executes another one that is to be recorded too.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TOOL "/sgxlens-amd64-linux"
/* As a shell answers where a command cannot be executed. */
#define EXIT_NOT_EXECUTED 126

static int fail(const char *what) {
    fprintf(stderr, "sgxlens: launcher: %s: %s\n", what, strerror(errno));
    return EXIT_NOT_EXECUTED;
}

/* The starter may give this folder by another name, because the tool puts it into LD_PRELOAD, which
 * ld.so splits at spaces and colons. */
static int leads_to(const char *name, const char *folder) {
    char resolved[PATH_MAX];
    return name != NULL && realpath(name, resolved) != NULL && strcmp(resolved, folder) == 0;
}

int main(int count, char **arguments) {
    char self[PATH_MAX];
    char tool[PATH_MAX + sizeof TOOL];
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    (void)count;
    if (size < 0)
        return fail("/proc/self/exe");
    self[size] = '\0';
    if (setenv("VALGRIND_LAUNCHER", self, 1) != 0)
        return fail("environment");

    *strrchr(self, '/') = '\0';
    if (!leads_to(getenv("VALGRIND_LIB"), self) && setenv("VALGRIND_LIB", self, 1) != 0)
        return fail("environment");
    strcpy(tool, self);
    strcat(tool, TOOL);
    execv(tool, arguments);
    return fail(tool);
}
