/* One-line log messages; see log.h. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

void lks_log_write(const struct lks_log *log, enum lks_log_level level, const char *format, ...)
{
    if (log == NULL || log->sink == NULL || level > log->level) {
        return;
    }
    char line[LKS_LOG_LINE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    log->sink(log->ctx, level, line);
}

const char *lks_log_level_name(enum lks_log_level level)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    return names[level];
}

void lks_log_to_stderr(void *ctx, enum lks_log_level level, const char *line)
{
    struct timespec now;
    struct tm calendar;
    char stamp[32] = "";
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (gmtime_r(&now.tv_sec, &calendar) != NULL) {
        (void)strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &calendar);
    }
    char text[LKS_LOG_LINE_MAX + 96];
    const int length =
        snprintf(text, sizeof text, "%s.%06ldZ %-5s %s%s%s\n", stamp, now.tv_nsec / 1000,
                 lks_log_level_name(level), ctx != NULL ? (const char *)ctx : "",
                 ctx != NULL ? " " : "", line);
    if (length > 0) {
        /* One write a line, so that lines of several processes do not mix. */
        const ssize_t written = write(STDERR_FILENO, text, (size_t)length);
        (void)written;
    }
}
