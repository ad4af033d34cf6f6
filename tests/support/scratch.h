/*
 * Where tests and lockstep-chaos make their folders, so that whoever runs them can find and remove
 * what a killed test leaves: LKS_TEST_FOLDER of the environment (tools/check sets it), else the
 * shared memory of the machine, else /tmp. Not for what must lie on an ordinary disk: that goes to
 * the working folder, which under ctest is the build folder.
 */
#ifndef LKS_TESTS_SUPPORT_SCRATCH_H
#define LKS_TESTS_SUPPORT_SCRATCH_H

#include <stdlib.h>
#include <unistd.h>

static inline const char *scratch_folder(void)
{
    const char *folder = getenv("LKS_TEST_FOLDER");
    if (folder != NULL && folder[0] != '\0') {
        return folder;
    }
    return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
}

#endif
