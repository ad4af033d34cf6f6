/* The cases of the suite, by what they are about; each is a cmocka test on a fresh stage. */
#ifndef LKS_TESTS_FABRIC_CASES_H
#define LKS_TESTS_FABRIC_CASES_H

#define CONNECTION_CASES(X) \
    X(connect__by_both_sides__connected_with_hello) \
    X(connect__by_one_side__nothing_happens) \
    X(connect__no_such_peer__einval) \
    X(read__every_region__bytes_arrive) \
    X(read__into_own_log__bytes_arrive) \
    X(read__snapshots__bytes_arrive_within_the_peers_size) \
    X(read__snapshots_of_a_peer_without__einval) \
    X(write_inbox__from_two_peers__each_has_an_area) \
    X(write_inbox__inline_source_reused__first_bytes_arrive) \
    X(write_inbox__many__seen_in_order) \
    X(operations__out_of_bounds__einval) \
    X(operations__without_connection__ebroken) \
    X(operations__more_than_outstanding_max__ebusy_until_polled) \
    X(operations__mixed_ids__one_completion_an_id_in_order) \
    X(crash__of_a_peer__operations_end_then_disconnected_dead) \
    X(stop__of_a_peer__disconnected) \
    X(restart__of_a_peer__connects_again_with_clean_inbox)

#define PATH_CASES(X) \
    X(write_log__no_path__ebroken) \
    X(write_log__on_open_path__lands) \
    X(write_log__long_from_own_log__lands_whole) \
    X(write_log__words__land_in_order) \
    X(write_log__out_of_bounds__einval) \
    X(write_log__more_than_outstanding_max__ebusy_until_polled) \
    X(open__key_of_nobody__refused) \
    X(revoke__nothing_granted__revoked) \
    X(revoke__peer_not_connected__revoked) \
    X(revoke__open_path__write_refused_and_nothing_lands) \
    X(revoke__failure_without_id__shown_by_next_operation_with_id) \
    X(revoke__one_of_two_writers__other_goes_on) \
    X(revoke__then_grant_at_once__in_order) \
    X(grant__peer_not_connected__ebroken) \
    X(grant__again__fresh_number_and_old_key_refused) \
    X(restart__of_the_owner__old_path_gone_and_numbers_rise) \
    X(restart__of_the_writer__needs_a_new_grant)

#define WAKE_CASES(X) \
    X(arm__nothing_to_do__not_readable) \
    X(arm__write_with_wake_after__readable) \
    X(arm__write_with_wake_before__eagain_once) \
    X(arm__event_waiting__eagain) \
    X(arm__peer_crashes__readable)

#define X(name) void name(void **state);
CONNECTION_CASES(X)
PATH_CASES(X)
WAKE_CASES(X)
#undef X

#endif
