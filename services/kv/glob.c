/*
 * Patterns; see glob.h. Every element but * takes exactly one byte, so that it is enough to come
 * back to the last *: what an earlier one took need never change.
 */
#include "services/kv/glob.h"

/* Bytes compare as on the machines where Redis is at home: signed. */
static int folded(const struct lks_kv_glob *glob, char byte)
{
    const int value = (signed char)byte;
    return glob->any_case && value >= 'A' && value <= 'Z' ? value | 0x20 : value;
}

/* Matches a byte with the set whose [ stands at `at`; *next: the element behind it. A set without
 * end is one to the end of the pattern. */
static bool set_matches(const struct lks_kv_glob *glob, size_t at, char byte, size_t *next)
{
    const char *pattern = glob->pattern;
    const int value = folded(glob, byte);
    bool found = false;
    at++;
    const bool inverted = at < glob->bytes && pattern[at] == '^';
    at += inverted ? 1 : 0;
    while (at < glob->bytes && pattern[at] != ']') {
        const size_t left = glob->bytes - at;
        if (pattern[at] == '\\' && left >= 2) {
            at++;
            found = found || pattern[at] == byte;
        } else if (left >= 3 && pattern[at + 1] == '-') {
            const int a = folded(glob, pattern[at]);
            const int b = folded(glob, pattern[at + 2]);
            found = found || (value >= (a < b ? a : b) && value <= (a < b ? b : a));
            at += 2;
        } else {
            found = found || folded(glob, pattern[at]) == value;
        }
        at++;
    }
    *next = at < glob->bytes ? at + 1 : at;
    return found != inverted;
}

/* Matches a byte with the element at `at`, which is no *. */
static bool element_matches(const struct lks_kv_glob *glob, size_t at, char byte, size_t *next)
{
    switch (glob->pattern[at]) {
    case '?':
        *next = at + 1;
        return true;
    case '[':
        return set_matches(glob, at, byte, next);
    case '\\':
        at += at + 1 < glob->bytes ? 1 : 0;
        break;
    default:
        break;
    }
    *next = at + 1;
    return folded(glob, glob->pattern[at]) == folded(glob, byte);
}

bool lks_kv_glob_matches(const struct lks_kv_glob *glob, const char *text, size_t bytes)
{
    if (bytes == 0) { /* where "**" is nothing, as in Redis */
        return glob->bytes == 0 || (glob->bytes == 1 && glob->pattern[0] == '*');
    }
    size_t at = 0;
    size_t used = 0;
    size_t star = 0; /* behind the last *; 0: there was none */
    size_t star_used = 0;
    while (used < bytes) {
        size_t next = 0;
        if (at < glob->bytes && glob->pattern[at] == '*') {
            at++;
            star = at;
            star_used = used;
        } else if (at < glob->bytes && element_matches(glob, at, text[used], &next)) {
            at = next;
            used++;
        } else if (star > 0) {
            star_used++;
            used = star_used;
            at = star;
        } else {
            return false;
        }
    }
    while (at < glob->bytes && glob->pattern[at] == '*') {
        at++;
    }
    return at == glob->bytes;
}
