# pmem/: a test file for each group of functions.
file(GLOB pmem_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/unit/pmem/test_*.c)
foreach(path ${pmem_tests})
  get_filename_component(name ${path} NAME)
  lks_test(unit/pmem/${name} lks_pmem lks_base)
endforeach()
