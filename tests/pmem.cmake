# pmem/: a test file for each group of functions.
file(GLOB pmem_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/unit/pmem/test_*.c)
foreach(path ${pmem_tests})
  get_filename_component(name ${path} NAME)
  lks_test(unit/pmem/${name} lks_pmem lks_base Threads::Threads)
endforeach()
target_sources(unit_pmem_test_journal_command PRIVATE
  ${CMAKE_SOURCE_DIR}/client/journal_command.c ${CMAKE_SOURCE_DIR}/client/journal_snapshots.c
  ${CMAKE_SOURCE_DIR}/client/json.c ${CMAKE_SOURCE_DIR}/client/progress.c)
target_link_libraries(unit_pmem_test_journal_command PRIVATE lks_node lks_pmem Threads::Threads)
target_link_options(unit_pmem_test_snapshot_draft PRIVATE LINKER:--wrap=lks_medium_extend
  LINKER:--wrap=lks_medium_persist)
target_link_options(unit_pmem_test_snapshot_cut PRIVATE LINKER:--wrap=lks_medium_map
  LINKER:--wrap=lks_store_copy LINKER:--wrap=lks_store_write_back LINKER:--wrap=lks_store_fence)
target_link_options(unit_pmem_test_store_again PRIVATE LINKER:--wrap=lks_store_copy)
