/* One look at a whole cluster; see survey.h. */
#include "client/survey.h"

#include <stdio.h>
#include <string.h>

static void ask_one(struct lks_survey_replica *replica, const struct lks_config_replica *where,
                    uint32_t id, uint64_t timeout_ns)
{
    struct lks_error err = {0};
    replica->info[0] = '\0';
    replica->problem[0] = '\0';
    replica->reachable =
        lks_ask_info(where->address, where->port, "lockstep", timeout_ns, replica->info, &err) == 0;
    if (!replica->reachable) {
        (void)snprintf(replica->problem, sizeof replica->problem, "%.127s", err.text);
    } else if (lks_ask_number(replica->info, "replica") != id) {
        replica->reachable = false;
        (void)snprintf(replica->problem, sizeof replica->problem,
                       "what listens there is not this replica");
    }
}

/* Two may call themselves leader for a moment: the one of the higher term is it. */
static void find_leader(struct lks_survey *survey, uint32_t replicas_count)
{
    for (uint32_t id = 1; id <= replicas_count; id++) {
        const struct lks_survey_replica *replica = &survey->replicas[id];
        char role[32];
        if (!replica->reachable || !lks_ask_value(replica->info, "role", role, sizeof role)) {
            continue;
        }
        const uint64_t term = lks_ask_number(replica->info, "term");
        const bool leads = strcmp(role, "leader") == 0;
        if (leads && (survey->leader == 0 || term > survey->term)) {
            survey->leader = id;
            survey->term = term;
            survey->commit_offset = lks_ask_number(replica->info, "commit_offset");
        } else if (survey->leader == 0 && term > survey->term) {
            survey->term = term;
        }
        survey->serving += lks_ask_number(replica->info, "serving") == 1;
    }
}

/* Whether a majority of the voters, as the leader knows them, follows it. */
static bool voters_follow(const struct lks_survey *survey)
{
    const struct lks_survey_replica *leader = &survey->replicas[survey->leader];
    char voters[32];
    uint32_t count = 0;
    uint32_t follow = 0;
    (void)lks_ask_value(leader->info, "voters", voters, sizeof voters);
    for (const char *at = voters; *at != '\0'; at++) {
        if (*at < '1' || *at > '7') {
            continue; /* a comma */
        }
        const struct lks_survey_replica *voter = &survey->replicas[*at - '0'];
        count++;
        follow += voter->reachable && lks_ask_number(voter->info, "leader") == survey->leader &&
                  lks_ask_number(voter->info, "term") == survey->term;
    }
    return follow > count / 2;
}

void lks_survey_take(struct lks_survey *survey, const struct lks_config *config,
                     uint64_t timeout_ns)
{
    *survey = (struct lks_survey){0};
    for (uint32_t id = 1; id <= config->replicas_count; id++) {
        ask_one(&survey->replicas[id], &config->replicas[id], id, timeout_ns);
    }
    find_leader(survey, config->replicas_count);
    for (uint32_t id = 1; id <= config->replicas_count; id++) {
        const char *info = survey->replicas[id].info;
        if (survey->leader != 0 && survey->replicas[id].reachable &&
            lks_ask_number(info, "leader") == survey->leader &&
            lks_ask_number(info, "term") == survey->term) {
            survey->followers++;
        }
    }
    survey->majority = survey->leader != 0 && voters_follow(survey);
}
