/* What a campaign has come to; see summary.h. */
#include "sim/summary.h"

#include "sim/faults.h"

#include <inttypes.h>
#include <string.h>

static double seconds_of(const struct lks_sim_sums *sums)
{
    return sums->elapsed_ns > 0 ? (double)sums->elapsed_ns / 1e9 : 1e-9;
}

static void print_faults(const struct lks_sim_run_result *all, FILE *out)
{
    const char *between = "";
    uint64_t sum = 0;
    for (uint32_t fault = 0; fault < LKS_SIM_FAULTS; fault++) {
        sum += all->faults_of[fault];
    }
    (void)fprintf(out, "  faults        %" PRIu64 ": ", sum);
    for (uint32_t fault = 0; fault < LKS_SIM_FAULTS; fault++) {
        if (all->faults_of[fault] > 0) {
            (void)fprintf(out, "%s%s %" PRIu64, between,
                          lks_sim_fault_name((enum lks_sim_fault)fault), all->faults_of[fault]);
            between = ", ";
        }
    }
    (void)fprintf(out, "%s\n", sum > 0 ? "" : "none");
}

void lks_sim_summary_print(const struct lks_sim_campaign *campaign,
                           const struct lks_sim_sums *sums, FILE *out)
{
    const struct lks_sim_run_result *all = &sums->all;
    const double seconds = seconds_of(sums);
    (void)fprintf(out,
                  "%" PRIu64 " seeds in %.1f s (%.1f seeds/s, %.0f events/s, %" PRIu32 " job%s): "
                  "%" PRIu64 " violation%s\n",
                  sums->runs, seconds, (double)sums->runs / seconds,
                  (double)all->events / seconds, campaign->jobs, campaign->jobs == 1 ? "" : "s",
                  sums->violations, sums->violations == 1 ? "" : "s");
    const double used = sums->processor_ns > 0 ? (double)sums->processor_ns / 1e9 : 1e-9;
    (void)fprintf(out,
                  "  a core's      %.1f s: %.1f seeds and %.0f events for each second of one\n",
                  used, (double)sums->runs / used, (double)all->events / used);
    (void)fprintf(out, "  simulated     %.1f s, %" PRIu64 " events\n",
                  (double)all->virtual_ns / 1e9, all->events);
    print_faults(all, out);
    (void)fprintf(out,
                  "  leaders       %" PRIu64 " elected; entries committed %" PRIu64 "\n",
                  all->terms, all->committed);
    (void)fprintf(out,
                  "  snapshots     %" PRIu64 " of partitions taken; all of a peer's installed %"
                  PRIu64 " times\n",
                  all->snapshots, all->installs);
    (void)fprintf(out,
                  "  commands      %" PRIu64 " called, %" PRIu64 " answered, %" PRIu64
                  " refused, %" PRIu64 " unknown, %" PRIu64 " executed\n",
                  all->called, all->answered, all->refused, all->unknown, all->executed);
    (void)fprintf(out,
                  "  writes        %" PRIu64 " landed, of them %" PRIu64 " late, %" PRIu64
                  " after their path was gone, %" PRIu64 " unfenced; %" PRIu64 " refused\n",
                  all->writes_landed, all->writes_late, all->writes_stray, all->writes_unfenced,
                  all->writes_refused);
    (void)fprintf(out,
                  "  checks        %" PRIu64 ", states compared %" PRIu64
                  ", searches given up for the log's order %" PRIu64 "\n",
                  all->checks, all->compared, all->undecided);
    (void)fprintf(out, "  most held     ");
    for (uint32_t bound = 0; bound < LKS_SIM_BOUNDS; bound++) {
        (void)fprintf(out, "%s%" PRIu64 " %s", bound > 0 ? ", " : "", all->held_most[bound],
                      lks_sim_bounds_name((enum lks_sim_bound)bound));
    }
    (void)fprintf(out, "\n  commit        %s\n", LKS_COMMIT);
}

void lks_sim_summary_json(const struct lks_sim_campaign *campaign,
                          const struct lks_sim_sums *sums, FILE *out)
{
    const struct lks_sim_run_result *all = &sums->all;
    const double seconds = seconds_of(sums);
    const uint64_t *faults = all->faults_of;
    (void)fprintf(out,
                  "{\"seeds\":%" PRIu64 ",\"violations\":%" PRIu64 ",\"seeds_per_s\":%.1f,"
                  "\"events_per_s\":%.0f,\"processor_s\":%.2f,"
                  "\"commits\":%" PRIu64 ",\"elections\":%" PRIu64
                  ",\"crashes\":%" PRIu64 ",\"power_cuts\":%" PRIu64 ",\"partitions\":%" PRIu64,
                  sums->runs, sums->violations, (double)sums->runs / seconds,
                  (double)all->events / seconds, (double)sums->processor_ns / 1e9,
                  all->committed, all->terms,
                  faults[LKS_SIM_FAULT_CRASH] + faults[LKS_SIM_FAULT_CRASH_MANY],
                  faults[LKS_SIM_FAULT_POWER] + faults[LKS_SIM_FAULT_POWER_MANY] +
                      faults[LKS_SIM_FAULT_REPLACE],
                  faults[LKS_SIM_FAULT_SPLIT] + faults[LKS_SIM_FAULT_ONE_WAY] +
                      faults[LKS_SIM_FAULT_LINK]);
    (void)fprintf(out,
                  ",\"snapshots\":%" PRIu64 ",\"installs\":%" PRIu64 ",\"events\":%" PRIu64
                  ",\"simulated_ns\":%" PRIu64
                  ",\"checks\":%" PRIu64 ",\"called\":%" PRIu64 ",\"answered\":%" PRIu64
                  ",\"unknown\":%" PRIu64 ",\"executed\":%" PRIu64 ",\"jobs\":%" PRIu32
                  ",\"trace_hash\":\"%016" PRIx64 "\",\"profile\":\"%s\",\"faults\":{",
                  all->snapshots, all->installs, all->events, all->virtual_ns, all->checks,
                  all->called,
                  all->answered, all->unknown, all->executed, campaign->jobs, sums->hash,
                  campaign->profile != NULL ? campaign->profile : "all");
    for (uint32_t fault = 0; fault < LKS_SIM_FAULTS; fault++) {
        (void)fprintf(out, "%s\"%s\":%" PRIu64, fault > 0 ? "," : "",
                      lks_sim_fault_name((enum lks_sim_fault)fault), faults[fault]);
    }
    (void)fprintf(out, "},\"commit\":\"%s\"}\n", LKS_COMMIT);
}
