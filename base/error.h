/*
 * Error codes and error messages.
 *
 * Every fallible function returns 0 or a negative code: a negated errno value, or one of the
 * domain codes below (which begin above every errno). A function that meets a bad environment
 * also fills a struct lks_error with the one sentence that the user reads: the thing, the value,
 * the limit and the way out. Called on any thread; nothing here blocks or allocates.
 */
#ifndef LKS_BASE_ERROR_H
#define LKS_BASE_ERROR_H

#include <stdarg.h>
#include <stddef.h>

/* X(name, number, text): the only list of domain codes. */
#define LKS_ERROR_CODES(X) \
    X(LKS_EDAMAGED, 1001, "stored data is damaged") \
    X(LKS_EFORMAT, 1002, "not a Lockstep file, or of an unknown format version") \
    X(LKS_ECLUSTER, 1003, "belongs to another cluster or replica") \
    X(LKS_ESIZE, 1004, "has the wrong size") \
    X(LKS_ERINGFULL, 1005, "the log ring is full") \
    X(LKS_ETOOBIG, 1006, "larger than the configured limit") \
    X(LKS_EREVOKED, 1007, "write permission was revoked") \
    X(LKS_EBROKEN, 1008, "the connection is broken") \
    X(LKS_EBUSY, 1009, "too much work outstanding") \
    X(LKS_ECONFIG, 1010, "the configuration is wrong") \
    X(LKS_EVERSION, 1011, "protocol versions differ") \
    X(LKS_ENOLEADER, 1012, "no leader is known") \
    X(LKS_EREMOVED, 1013, "removed from the cluster")

enum lks_error_code {
#define X(name, number, text) name = number,
    LKS_ERROR_CODES(X)
#undef X
};

#define LKS_ERROR_TEXT_MAX 512

/* One message for the user. Zeroed means "no error". Owned by the caller. */
struct lks_error {
    int code; /* 0 or the negative code that the function returned */
    char text[LKS_ERROR_TEXT_MAX];
};

/*
 * Fills err (may be NULL) with code (negative) and a formatted sentence; returns code, so that a
 * caller can write `return lks_error_set(err, -LKS_ESIZE, "journal %s: ...", path);`.
 */
int lks_error_set(struct lks_error *err, int code, const char *format, ...)
    __attribute__((cold, format(printf, 3, 4)));

/* The short text of a negative code; never NULL, valid for the process's life. */
const char *lks_error_text(int code);

#endif
