# Whole replicas stepped by hand: the code that joins journal, core, fabric and service.
add_library(lks_replica_rig STATIC unit/node/replica_rig.c unit/node/rig_service.c unit/node/hand_fabric.c)
target_link_libraries(lks_replica_rig PUBLIC lks_node lks_numa_rig PkgConfig::CMOCKA)
target_link_options(lks_replica_rig INTERFACE LINKER:--wrap=lks_journal_persist_range)
file(GLOB replica_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/unit/node/test_replica*.c)
foreach(path ${replica_tests})
  get_filename_component(name ${path} NAME)
  lks_test(unit/node/${name} lks_replica_rig)
endforeach()
lks_test_allocations(unit_node_test_replica_allocation)
target_link_options(unit_node_test_replica_install PRIVATE
  LINKER:--wrap=lks_snapshot_copy_begin LINKER:--wrap=lks_snapshot_copy_block
  LINKER:--wrap=lks_snapshot_copy_finish LINKER:--wrap=lks_snapshot_persist_step
  LINKER:--wrap=lks_snapshots_replace_all LINKER:--wrap=lks_journal_write_base
  LINKER:--wrap=lks_replica_recover_ends)
target_link_options(unit_node_test_replica_failures PRIVATE
  LINKER:--wrap=lks_journal_write_promise LINKER:--wrap=lks_journal_raise_floor
  LINKER:--wrap=lks_journal_clear_amnesia)
