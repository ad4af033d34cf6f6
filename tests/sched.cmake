# The schedulers of sched/, against sequential execution and piece by piece.
add_library(lks_sched_workload STATIC unit/sched/equal.c unit/sched/workload.c)
target_link_libraries(lks_sched_workload PUBLIC lks_sched lks_base PkgConfig::CMOCKA)
add_library(lks_numa_rig STATIC unit/sched/numa_rig.c)
target_link_libraries(lks_numa_rig PUBLIC lks_sched lks_base)
lks_test(unit/sched/test_class_map.c lks_sched)
lks_test(unit/sched/test_equal.c lks_sched_workload)
lks_test(unit/sched/test_memory_node.c lks_sched)
lks_test(unit/sched/test_memory_plan.c lks_numa_rig)
lks_test(unit/sched/test_numa.c lks_numa_rig)
lks_test(unit/sched/test_ring.c lks_sched Threads::Threads)
lks_test(unit/sched/test_scheduler.c lks_sched)
lks_test(unit/sched/test_steps.c lks_sched_workload)
lks_test(unit/sched/test_topology.c lks_sched)
lks_test(unit/sched/test_wake.c lks_sched)

# Tests in which allocations fail: these functions are led to tests/support/allocations.c.
function(lks_test_allocations target)
  target_sources(${target} PRIVATE support/allocations.c)
  target_link_libraries(${target} PRIVATE PkgConfig::HWLOC)
  foreach(name malloc calloc aligned_alloc free mmap munmap pthread_create pthread_join eventfd
      hwloc_topology_init hwloc_topology_load hwloc_topology_destroy hwloc_bitmap_alloc
      hwloc_bitmap_free)
    target_link_options(${target} PRIVATE LINKER:--wrap=${name})
  endforeach()
endfunction()
pkg_check_modules(HWLOC REQUIRED IMPORTED_TARGET hwloc)
lks_test(unit/sched/test_allocation.c lks_numa_rig)
lks_test_allocations(unit_sched_test_allocation)
