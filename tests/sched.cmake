# The schedulers of sched/, against sequential execution and piece by piece.
add_library(lks_sched_workload STATIC unit/sched/equal.c unit/sched/workload.c)
target_link_libraries(lks_sched_workload PUBLIC lks_sched lks_base PkgConfig::CMOCKA)
lks_test(unit/sched/test_class_map.c lks_sched)
lks_test(unit/sched/test_equal.c lks_sched_workload)
lks_test(unit/sched/test_ring.c lks_sched Threads::Threads)
lks_test(unit/sched/test_scheduler.c lks_sched)
lks_test(unit/sched/test_steps.c lks_sched_workload)
lks_test(unit/sched/test_topology.c lks_sched)
