/* Error codes and error messages; see error.h. */
#include "base/error.h"

#include <stdio.h>
#include <string.h>

int lks_error_set(struct lks_error *err, int code, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        err->code = code;
        (void)vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
    }
    return code;
}

const char *lks_error_text(int code)
{
    switch (-code) {
    case 0:
        return "success";
#define X(name, number, text) \
    case name: \
        return text;
        LKS_ERROR_CODES(X)
#undef X
    default:
        return strerrordesc_np(-code) != NULL ? strerrordesc_np(-code) : "unknown error";
    }
}
