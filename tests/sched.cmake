# The schedulers of sched/, against sequential execution and piece by piece.
add_library(lks_sched_workload STATIC unit/sched/workload.c)
target_link_libraries(lks_sched_workload PUBLIC lks_sched lks_base)
lks_test(unit/sched/test_equal.c lks_sched_workload)
