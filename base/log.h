/*
 * One-line log messages with levels. A library does not print: it hands a line to the sink that
 * its owner gave it; main() chooses the sink. A zeroed struct lks_log drops everything.
 */
#ifndef LKS_BASE_LOG_H
#define LKS_BASE_LOG_H

enum lks_log_level { LKS_LOG_ERROR, LKS_LOG_WARN, LKS_LOG_INFO, LKS_LOG_DEBUG };

#define LKS_LOG_LINE_MAX 1024

struct lks_log {
    enum lks_log_level level; /* the most talkative level that is kept */
    void (*sink)(void *ctx, enum lks_log_level level, const char *line); /* no newline in line */
    void *ctx;
};

/* Formats and hands over one line; log may be NULL. Runs on the caller's thread. */
void lks_log_write(const struct lks_log *log, enum lks_log_level level, const char *format, ...)
    __attribute__((cold, format(printf, 3, 4)));

#define lks_log_error(log, ...) lks_log_write((log), LKS_LOG_ERROR, __VA_ARGS__)
#define lks_log_warn(log, ...) lks_log_write((log), LKS_LOG_WARN, __VA_ARGS__)
#define lks_log_info(log, ...) lks_log_write((log), LKS_LOG_INFO, __VA_ARGS__)
#define lks_log_debug(log, ...) lks_log_write((log), LKS_LOG_DEBUG, __VA_ARGS__)

/* "error", "warn", "info", "debug". */
const char *lks_log_level_name(enum lks_log_level level);

/* A ready sink: "2026-01-31T12:00:00.123456Z info  r1 text" on standard error; ctx: the name. */
void lks_log_to_stderr(void *ctx, enum lks_log_level level, const char *line);

#endif
