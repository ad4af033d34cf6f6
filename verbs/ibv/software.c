/* What a software driver does in an adapter's place; see software.h. */
#include "verbs/ibv/software.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define FLAG "erms"

static bool has_word(const char *line, const char *word)
{
    const size_t length = strlen(word);
    for (const char *at = strstr(line, word); at != NULL; at = strstr(at + length, word)) {
        const bool begins = at == line || isspace((unsigned char)at[-1]);
        const bool ends = at[length] == '\0' || isspace((unsigned char)at[length]);
        if (begins && ends) {
            return true;
        }
    }
    return false;
}

bool lks_ibv_software_copies_bytes(const char *cpuinfo)
{
    char line[8192]; /* of flags: 2 KiB or so */
    bool found = false;
    FILE *file = fopen(cpuinfo, "re");
    if (file == NULL) {
        return false;
    }
    while (!found && fgets(line, sizeof line, file) != NULL) {
        found = strncmp(line, "flags", 5) == 0 && has_word(line, FLAG);
    }
    (void)fclose(file);
    return found;
}
