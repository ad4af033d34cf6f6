/* The book of campaigns; see record.h. */
#include "sim/record.h"

#include "base/assert.h"
#include "sim/faults.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TEXT_BYTES 4096u
#define NS_PER_HOUR 3600e9

static const char g_columns[] =
    "time\tcommit\tprofile\treplicas\tfirst_seed\tseeds\tviolations\tevents\tcommitted\tfaults\t"
    "simulated_s\tcore_hours\tfaults_by_kind\n";

int lks_sim_record_open(const char *path, struct lks_error *err)
{
    const int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        return lks_error_set(err, -errno, "--record %s: %s", path, strerror(errno));
    }
    return fd;
}

struct text {
    char bytes[TEXT_BYTES];
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int more = vsnprintf(text->bytes + text->used, sizeof text->bytes - text->used, format,
                               args);
    va_end(args);
    LKS_ASSERT(more >= 0 && (size_t)more < sizeof text->bytes - text->used);
    text->used += (size_t)more;
}

static void add_faults(struct text *text, const uint64_t *faults)
{
    const char *between = "";
    for (uint32_t fault = 0; fault < LKS_SIM_FAULTS; fault++) {
        if (faults[fault] > 0) {
            add(text, "%s%s=%" PRIu64, between, lks_sim_fault_name((enum lks_sim_fault)fault),
                faults[fault]);
            between = ",";
        }
    }
}

static uint64_t sum_of(const uint64_t *faults)
{
    uint64_t sum = 0;
    for (uint32_t fault = 0; fault < LKS_SIM_FAULTS; fault++) {
        sum += faults[fault];
    }
    return sum;
}

int lks_sim_record_add(int fd, const struct lks_sim_campaign *campaign,
                       const struct lks_sim_sums *sums, const char *commit,
                       struct lks_error *err)
{
    struct text text = {.used = 0};
    struct stat found;
    if (fstat(fd, &found) == 0 && found.st_size == 0) {
        add(&text, "%s", g_columns);
    }
    char when[32];
    struct tm utc;
    const time_t now = time(NULL);
    const size_t written_bytes = strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ",
                                          gmtime_r(&now, &utc));
    LKS_ASSERT(written_bytes > 0);
    add(&text, "%s\t%s\t%s\t%" PRIu32 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64
        "\t%" PRIu64 "\t%" PRIu64 "\t%.0f\t%.4f\t",
        when, commit, campaign->profile != NULL ? campaign->profile : "all", campaign->replicas,
        campaign->first_seed, sums->runs, sums->violations, sums->all.events,
        sums->all.committed, sum_of(sums->all.faults_of), (double)sums->all.virtual_ns / 1e9,
        (double)sums->processor_ns / NS_PER_HOUR);
    add_faults(&text, sums->all.faults_of);
    add(&text, "\n");
    /* One write: lines of several campaigns that end together do not mix. */
    const ssize_t written = write(fd, text.bytes, text.used);
    if (written != (ssize_t)text.used) {
        const int code = written < 0 ? -errno : -EIO;
        return lks_error_set(err, code, "the campaign could not be recorded: %s",
                             strerror(-code));
    }
    return 0;
}
