/*
 * Runs a fuzz target over kept inputs: every file of the folders and paths given. In every build
 * and by every compiler, so that what was found once stays found. A folder without a file is an
 * error: a replay that replays nothing would pass for nothing.
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static unsigned replayed;

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    (void)fseek(file, 0, SEEK_END);
    const long size = ftell(file);
    rewind(file);
    /* Exactly as long as the input, so that a sanitizer sees a step behind it. */
    uint8_t *data = malloc(size > 0 ? (size_t)size : 1);
    if (data == NULL || fread(data, 1, (size_t)size, file) != (size_t)size) {
        fprintf(stderr, "%s: cannot be read\n", path);
        (void)fclose(file);
        free(data);
        return 1;
    }
    (void)fclose(file);
    fprintf(stderr, "%s\n", path);
    (void)LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    replayed++;
    return 0;
}

static int replay(const char *path)
{
    struct stat facts;
    if (stat(path, &facts) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    if (!S_ISDIR(facts.st_mode)) {
        return replay_file(path);
    }
    struct dirent **names;
    const int count = scandir(path, &names, NULL, alphasort);
    int result = count < 0;
    for (int i = 0; i < count; i++) {
        char inside[4096];
        (void)snprintf(inside, sizeof inside, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.' && result == 0) {
            result = replay_file(inside);
        }
        free(names[i]);
    }
    if (count >= 0) {
        free(names);
    }
    return result;
}

int main(int count, char **arguments)
{
    int result = 0;
    for (int i = 1; i < count && result == 0; i++) {
        result = replay(arguments[i]);
    }
    if (result == 0 && replayed == 0) {
        fprintf(stderr, "no input was found\n");
        return 1;
    }
    return result;
}
