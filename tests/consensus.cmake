# The consensus core: a rig that runs cores alone, unit and scenario tests, golden traces.
add_library(lks_test_core_rig STATIC
  support/core_rig.c support/core_rig_cluster.c support/core_rig_check.c
  support/core_rig_snapshot.c support/core_rig_members.c support/core_rig_explore.c support/core_rig_trace.c support/core_golden.c
  support/core_members.c)
target_link_libraries(lks_test_core_rig PUBLIC lks_consensus)
target_compile_definitions(lks_test_core_rig PRIVATE
  LKS_GOLDEN_DIRECTORY="${CMAKE_CURRENT_SOURCE_DIR}/golden/consensus")
lks_test(unit/consensus/test_quorum.c lks_consensus)
lks_test(unit/consensus/test_runs.c lks_consensus)
lks_test(unit/consensus/test_message.c lks_consensus)
lks_test(unit/consensus/test_handover.c lks_test_core_rig)
lks_test(unit/consensus/test_election.c lks_test_core_rig)
lks_test(unit/consensus/test_adoption.c lks_test_core_rig)
lks_test(unit/consensus/test_leader.c lks_test_core_rig)
lks_test(unit/consensus/test_amnesia.c lks_test_core_rig)
lks_test(unit/consensus/test_recycling.c lks_test_core_rig)
lks_test(unit/consensus/test_install.c lks_test_core_rig)
lks_test(unit/consensus/test_reads.c lks_test_core_rig)
lks_test(unit/consensus/test_members.c lks_test_core_rig)
lks_test(unit/consensus/test_members_election.c lks_test_core_rig)
lks_test(unit/consensus/test_explore.c lks_test_core_rig)
