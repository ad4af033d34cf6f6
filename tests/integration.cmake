# Test support (history checker, process cluster, load generator), and the tests that start real
# replica processes.
lks_test(unit/support/test_linearizability.c lks_linearizability)

lks_test(integration/bench_sched.c lks_base)
target_compile_definitions(integration_bench_sched
  PRIVATE LKS_BENCH_SCHED_BINARY="$<TARGET_FILE:lockstep-bench-sched>")
add_dependencies(integration_bench_sched lockstep-bench-sched)
set_tests_properties(integration/bench_sched PROPERTIES LABELS integration)

add_executable(lockstep-load support/load.c)
target_link_libraries(lockstep-load PRIVATE lks_base PkgConfig::HIREDIS Threads::Threads)

if(TARGET lockstep)
  add_library(lks_test_cluster STATIC support/process_cluster.c support/history_client.c
    support/history_checks.c support/expiry_client.c)
  target_link_libraries(lks_test_cluster
    PUBLIC lks_linearizability PkgConfig::HIREDIS Threads::Threads)
  target_compile_definitions(lks_test_cluster PRIVATE LKS_TEST_BINARY="$<TARGET_FILE:lockstep>")
  add_dependencies(lks_test_cluster lockstep)

  lks_test(integration/smoke.c lks_test_cluster)
  lks_test(integration/cli.c lks_test_cluster)
  lks_test(integration/benches.c lks_test_cluster)
  if(TARGET lks_verbs_ibv)
    target_compile_definitions(integration_cli PRIVATE LKS_WITH_RDMA)
  endif()
  lks_test(integration/members.c lks_test_cluster)
  lks_test(integration/clients.c lks_test_cluster lks_client_library lks_services)
  lks_test(integration/threads.c lks_test_cluster lks_node lks_services)

  add_executable(lockstep-chaos integration/chaos.c integration/chaos_members.c)
  target_link_libraries(lockstep-chaos PRIVATE lks_test_cluster)
  # Clients of a cluster on other hosts: the lab's.
  add_executable(lockstep-lab-history lab/history.c)
  target_link_libraries(lockstep-lab-history PRIVATE lks_test_cluster)

  add_test(NAME integration/chaos COMMAND lockstep-chaos --rounds 20 --seed 1)
  add_test(NAME integration/chaos_one COMMAND lockstep-chaos --rounds 4 --seed 2 --replicas 1)
  add_test(NAME integration/chaos_five COMMAND lockstep-chaos --rounds 6 --seed 3 --replicas 5)

  # Small rings: written anew all the time, and whoever was away installs a peer's snapshots.
  add_test(NAME integration/chaos_ring COMMAND lockstep-chaos --rounds 16 --seed 5 --ring 64K)

  # Replicas are added and removed as well, the leader too.
  add_test(NAME integration/chaos_members COMMAND lockstep-chaos --rounds 8 --seed 6 --ring 1M
    --members)

  # An ordinary disk: durability is the owner's msync, acknowledged by a thread of its own.
  add_test(NAME integration/chaos_disk COMMAND lockstep-chaos --rounds 8 --seed 4 --ring 256K
    --parent ${CMAKE_CURRENT_BINARY_DIR})

  # What an outside project finds in an installed tree. (One of a sanitizer asks for it, too.)
  set(examples)
  if(NOT LKS_SANITIZE)
    set(examples integration/examples)
    add_test(NAME integration/examples
      COMMAND ${CMAKE_SOURCE_DIR}/tests/examples/run ${CMAKE_BINARY_DIR} ${CMAKE_C_COMPILER})
  endif()

  # They measure nothing, but they start many processes: one at a time.
  set_tests_properties(integration/smoke integration/cli integration/benches integration/members
    integration/clients
    integration/threads integration/chaos integration/chaos_one integration/chaos_five integration/chaos_ring integration/chaos_members
    integration/chaos_disk ${examples} PROPERTIES RUN_SERIAL ON LABELS integration)
endif()
