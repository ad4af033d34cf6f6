# Test support (history checker, process cluster, load generator), and the tests that start real
# replica processes.
add_library(lks_test_linearizability STATIC support/linearizability.c)
target_link_libraries(lks_test_linearizability PUBLIC lks_base)
lks_test(unit/support/test_linearizability.c lks_test_linearizability)

add_executable(lockstep-load support/load.c)
target_link_libraries(lockstep-load PRIVATE lks_base PkgConfig::HIREDIS Threads::Threads)
