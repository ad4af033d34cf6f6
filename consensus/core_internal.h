/*
 * The core's state, shared by the files of consensus/ and seen by nobody else.
 *
 * One struct lks_core a replica, changed only inside lks_core_step. The invariants that tie its
 * fields together are in lks_core_check_invariants, run after every step.
 */
#ifndef LKS_CONSENSUS_CORE_INTERNAL_H
#define LKS_CONSENSUS_CORE_INTERNAL_H

#include "base/assert.h"
#include "consensus/core.h"
#include "consensus/quorum.h"

/* Steps of giving the own ring to a new holder, in the only safe order (docs/protocol.md). */
enum handover_phase {
    HANDOVER_IDLE,
    HANDOVER_DRAINING,  /* own reads and installations must have ended: they change the own ring */
    HANDOVER_REVOKING,  /* nothing under the old permission may land any more */
    HANDOVER_PROMISING, /* the promise must be durable before anyone learns of it */
    HANDOVER_SCANNING,  /* the whole visible tail must be durable before it is reported */
    HANDOVER_GRANTING
};

/* Whom the ring is handed to: another replica, or this one as a candidate. */
struct handover_target {
    uint32_t candidate; /* 0: none */
    bool established;
    uint64_t term;
    uint64_t incarnation;
    uint64_t request;
    uint64_t members_number; /* of the members in force there */
};

struct handover {
    enum handover_phase phase;
    struct handover_target target;
    struct handover_target next; /* arrived meanwhile; taken up when the phase ends */
};

enum amnesia_phase {
    AMNESIA_NONE,
    AMNESIA_CATCHING_UP, /* until durable >= target, and committed >= proof */
    AMNESIA_ENDING       /* AMNESIA_OVER sent */
};

#define LKS_NOOP_BYTES 64u /* of an entry without contents */
#define PROBES_MAX 8u /* posted to one peer and not completed */
#define READ_ROUNDS_MAX 4u /* rounds of reads whose probes are posted and not confirmed */

struct peer {
    bool connected;
    bool prevote; /* accepted our present pre-vote */
    /* what its words showed */
    bool leading;
    bool amnesiac;
    uint64_t beat;
    uint64_t beat_term;
    uint64_t beat_seen_ns; /* observed time at which beat last changed */
    bool waits;            /* ready to run when it was last read, but its beat had not moved */
    /* our permission on its ring */
    uint64_t request; /* VOTE_REQUEST without an answer; 0: none on this connection */
    uint64_t request_ns;
    bool granted;
    bool path_open;
    uint64_t grant;
    uint64_t retry_ns; /* observed time before which no new request is sent */
    struct lks_message report;
    /* replication, while this replica leads */
    bool caught_up;         /* it had durably, within an election timeout, what had committed */
    uint64_t round_target;  /* commit offset when the present round of catching up began ... */
    uint64_t round_ns;      /* ... observed time of that */
    bool leaving;           /* no member any more: its last probe is posted */
    bool counted;
    uint32_t inflight;
    uint32_t probes; /* posted and not completed; they complete in order */
    uint64_t probe_rounds[PROBES_MAX]; /* of each, the last round of reads begun before it */
    uint64_t round_posted;    /* of the last probe posted on this path */
    uint64_t round_confirmed; /* ... and of the last one completed */
    bool confirming; /* the last of them was posted when all present grants were held */
    uint64_t inflight_since_ns;
    uint64_t sources[LKS_CORE_WRITES_MAX]; /* where each write in flight begins, in order */
    uint32_t sources_first;
    uint32_t stale;       /* writes of paths that are gone, posted and not completed ... */
    uint64_t stale_from;  /* ... and where the lowest of them begins */
    uint64_t base;        /* the peer's, as far as known */
    uint64_t base_asked_ns; /* observed time at which its words were last read for that */
    bool behind;          /* it lacks bytes below this base: nothing is written to it */
    uint64_t install;     /* number of the INSTALL without an answer; 0: none */
    uint64_t install_ns;  /* when it was sent, or failed */
    uint64_t install_from; /* the base that it was told to reach */
    uint64_t install_began_ns; /* when it was told that first */
    uint64_t install_took_ns;  /* how long the last one took that came too late */
    uint32_t missed;       /* installations in a row that did, as this base had passed meanwhile */
    uint64_t brake_from;   /* the tail when the present one began ... */
    uint64_t brake_ns;     /* ... and for how long this log grows slowly for it; 0: not at all */
    bool install_elsewhere; /* the next donor is another follower, if there is one */
    uint64_t written;     /* posted on this path, or found equal at its grant */
    uint64_t durable;
    uint64_t commit_sent;
    uint64_t ok_ns; /* observed time of the last completion */
    enum amnesia_phase amnesia;
    uint64_t amnesia_target;
    uint64_t amnesia_proof; /* UINT64_MAX until the entry that proves it is appended */
};

struct lks_core {
    struct lks_core_options options;
    struct lks_core_view view;
    struct lks_update *update; /* during a step only */
    uint64_t random;
    uint64_t now_ns;
    uint64_t observed_ns; /* like now_ns, but a pause of this replica counts little */

    uint64_t promise_term;
    uint32_t promise_candidate;
    uint64_t promise_incarnation;
    uint64_t term_seen; /* highest term heard of */

    struct lks_members committed; /* the youngest known to have committed */
    bool was_member;        /* some members named this replica ... */
    uint64_t member_number; /* ... the youngest of them */
    uint64_t no_member_number; /* the youngest known that have committed and do not */

    struct lks_runs runs;
    uint64_t own_durable;
    uint64_t tail_from; /* everything below was made durable at an earlier hand-over */

    struct handover handover;
    uint32_t granted_to; /* permission posted to this peer and not revoked since; 0: none */
    uint32_t revokes_left; /* STARTING: fences still under way */

    bool reading;          /* a READ_LOG is under way */
    uint32_t reading_peer; /* of that, or of the INSTALL of a candidate */
    bool cancelled;        /* ... either of them */
    uint64_t install;      /* INSTALL under way for the holder of the grant: its number; or 0 */
    uint64_t install_done; /* number of the last one that ended under the standing grant */
    bool install_failed;   /* ... and how */

    bool reads_wanted;     /* a round is open, its probes are not posted */
    uint64_t reads_posted; /* rounds whose probes are posted */
    uint64_t read_points[READ_ROUNDS_MAX]; /* commit offset, taken before the probes of a round */

    uint64_t requests;     /* numbers given to own requests */
    uint64_t prevote_request;
    uint64_t suspect_ns;   /* observed time at which the leader is taken for dead */
    uint64_t leaderless_ns; /* observed time since which no leader is known; 0: it died */
    uint64_t beat_ns;      /* when the next heartbeat work is due (now_ns) */
    uint64_t resend_ns;    /* pre-vote: when to ask again (now_ns) */
    uint64_t give_up_ns;   /* candidates: observed time at which to give up */
    uint64_t elected_ns;   /* observed time at which the present leadership began */
    bool noop_pending;     /* APPEND_NOOP emitted, APPENDED not yet seen */
    uint32_t transfer_sent;  /* the follower that was told to take over last; 0: none was */
    uint64_t transfer_sent_ns; /* observed time of that */
    uint8_t transfer_tried;  /* those that were told, in this round */
    uint32_t transfer_to;    /* the voter that is wanted; 0: any */
    uint64_t transfer_until_ns; /* observed time at which a hand-over to it is given up */
    uint64_t ask_until_ns;   /* ADOPTING: other members were adopted; time to ask them (observed) */
    bool unfit;              /* stands for election only if nobody else does */
    uint8_t met;             /* peers that were connected in this life */

    struct peer peers[LKS_CORE_PEERS];
};

/* core.c */
struct lks_effect *lks_core_emit(struct lks_core *core, enum lks_effect_kind kind, uint32_t peer);
struct lks_message *lks_core_send(struct lks_core *core, uint32_t peer, uint32_t kind);
void lks_core_set_role(struct lks_core *core, enum lks_core_role role);
void lks_core_set_leader(struct lks_core *core, uint32_t leader);
uint64_t lks_core_random_below(struct lks_core *core, uint64_t bound);
void lks_core_due(struct lks_core *core, uint64_t in_ns);
bool lks_core_is_peer(const struct lks_core *core, uint32_t peer);
void lks_core_set_log(struct lks_core *core, const struct lks_position *tail,
                      const struct lks_runs *runs);
void lks_core_set_base(struct lks_core *core, const struct lks_position *base);
void lks_core_report_log(const struct lks_core *core, struct lks_message *message);
uint64_t lks_core_common(const struct lks_core *core, const struct lks_message *report,
                         uint64_t floor);
bool lks_core_plausible_term(const struct lks_core *core, uint64_t term);
bool lks_core_ring_busy(const struct lks_core *core);
void lks_core_cancel(struct lks_core *core);
void lks_core_raise_commit(struct lks_core *core, uint64_t offset);

/* members.c */
void lks_members_scanned(struct lks_core *core, const struct lks_members *members);
void lks_members_appended(struct lks_core *core, const struct lks_members *members);
void lks_members_applied(struct lks_core *core, const struct lks_members *members);
void lks_members_see_commit(struct lks_core *core);
void lks_members_learn_bootstrap(struct lks_core *core, uint64_t voters);
uint8_t lks_members_bootstrap_voters(const struct lks_core *core);
bool lks_members_is_voter(const struct lks_core *core, uint32_t p);
bool lks_members_is_member(const struct lks_core *core, uint32_t p);
bool lks_members_is_no_voter(const struct lks_core *core, uint32_t p, uint64_t number);
bool lks_members_is_removed(const struct lks_core *core, uint32_t p, uint64_t number);
void lks_members_tell(struct lks_core *core, uint32_t peer);
void lks_members_told(struct lks_core *core, const struct lks_message *message);
bool lks_members_differ_by_one(const struct lks_members *a, const struct lks_members *b);

/* handover.c */
void lks_handover_begin(struct lks_core *core, const struct handover_target *target);
void lks_handover_vote_request(struct lks_core *core, uint32_t peer,
                               const struct lks_message *message);
void lks_handover_drained(struct lks_core *core);
void lks_handover_revoked(struct lks_core *core, uint32_t peer);
void lks_handover_promised(struct lks_core *core);
void lks_handover_tail(struct lks_core *core, const struct lks_core_event *event);
void lks_handover_granted(struct lks_core *core, const struct lks_core_event *event);
void lks_handover_take_next(struct lks_core *core);

/* follower.c */
void lks_follower_tick(struct lks_core *core);
void lks_follower_heartbeat(struct lks_core *core, const struct lks_core_event *event);
void lks_follower_lost_leader(struct lks_core *core, bool dead);
void lks_follower_enter(struct lks_core *core, uint64_t patience_ns);
void lks_follower_amnesia_over(struct lks_core *core, uint32_t peer,
                               const struct lks_message *message);
void lks_follower_amnesia_cleared(struct lks_core *core);
void lks_follower_prevote_request(struct lks_core *core, uint32_t peer,
                                  const struct lks_message *message);

/* election.c */
void lks_election_start_prevote(struct lks_core *core);
void lks_election_start(struct lks_core *core);
void lks_election_prevote_reply(struct lks_core *core, uint32_t peer,
                                const struct lks_message *message);
void lks_election_own_ring_ready(struct lks_core *core);
void lks_election_request(struct lks_core *core, uint32_t peer);
void lks_election_request_missing(struct lks_core *core);
bool lks_election_wants(const struct lks_core *core, uint32_t p);
bool lks_election_may_stand(const struct lks_core *core);
uint8_t lks_election_standing(const struct lks_core *core);
void lks_election_vote_reply(struct lks_core *core, uint32_t peer,
                             const struct lks_message *message);
void lks_election_refused(struct lks_core *core, uint32_t peer, const struct lks_message *message);
void lks_election_opened(struct lks_core *core, const struct lks_core_event *event);
void lks_election_tick(struct lks_core *core);
void lks_election_beat(struct lks_core *core);
void lks_election_path_lost(struct lks_core *core, uint32_t peer);
void lks_election_step_down(struct lks_core *core, uint64_t patience_ns);

/* adoption.c */
void lks_adoption_begin(struct lks_core *core);
void lks_adoption_choose(struct lks_core *core);
void lks_adoption_read(struct lks_core *core, const struct lks_core_event *event);
void lks_adoption_probed(struct lks_core *core);
void lks_adoption_installed(struct lks_core *core, int status);
void lks_adoption_path_lost(struct lks_core *core, uint32_t peer);

/* leader.c */
void lks_leader_enter(struct lks_core *core);
bool lks_leader_needs_others(const struct lks_core *core);
void lks_leader_leave(struct lks_core *core);
void lks_leader_path_open(struct lks_core *core, uint32_t peer);
void lks_leader_appended(struct lks_core *core, const struct lks_core_event *event);
void lks_leader_persisted(struct lks_core *core, uint64_t offset, uint64_t term);
void lks_leader_flushed(struct lks_core *core, const struct lks_core_event *event);
void lks_leader_probed(struct lks_core *core, const struct lks_core_event *event);
void lks_leader_durable_message(struct lks_core *core, uint32_t peer,
                                const struct lks_message *message);
void lks_leader_amnesia_cleared(struct lks_core *core, uint32_t peer,
                                const struct lks_message *message);
void lks_leader_tick(struct lks_core *core);
void lks_leader_transfer(struct lks_core *core, uint32_t peer);
void lks_leader_report(struct lks_core *core, uint32_t peer);
void lks_leader_base_moved(struct lks_core *core);
void lks_leader_base_seen(struct lks_core *core, uint32_t peer, uint64_t offset);
void lks_leader_limits(struct lks_core *core);
void lks_leader_void_writes(struct peer *peer);

/* install.c */
void lks_install_begin(struct lks_core *core, uint32_t donor, uint64_t from);
void lks_install_ended(struct lks_core *core, const struct lks_core_event *event);
void lks_install_requested(struct lks_core *core, uint32_t peer,
                           const struct lks_message *message);
void lks_install_ask(struct lks_core *core, uint32_t peer);
void lks_install_answered(struct lks_core *core, uint32_t peer,
                          const struct lks_message *message);
void lks_install_tick(struct lks_core *core, uint32_t peer);
uint64_t lks_install_brake(const struct lks_core *core, uint32_t peer);

/* reads.c */
void lks_reads_begin(struct lks_core *core);
void lks_reads_probe(struct lks_core *core, uint32_t peer);
void lks_reads_probed(struct lks_core *core, uint32_t peer);
void lks_reads_progress(struct lks_core *core);
void lks_reads_end(struct lks_core *core);

/* invariants.c */
void lks_core_check_invariants(const struct lks_core *core);

#endif
