# The consensus core: a rig that runs cores alone, unit and scenario tests, golden traces.
add_library(lks_test_core_rig STATIC
  support/core_rig.c support/core_rig_cluster.c support/core_rig_check.c
  support/core_rig_explore.c support/core_rig_trace.c)
target_link_libraries(lks_test_core_rig PUBLIC lks_consensus)
lks_test(unit/consensus/test_explore.c lks_test_core_rig)
