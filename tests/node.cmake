# The replica process: configuration, threads, client commands.
lks_test(unit/node/test_config.c lks_node)
lks_test(unit/node/test_value.c lks_node)
lks_test(unit/node/test_durability.c lks_node)
lks_test(unit/node/test_flusher.c lks_node Threads::Threads)
lks_test(unit/node/test_loop.c lks_node Threads::Threads)
lks_test(unit/node/test_client_port.c lks_node Threads::Threads)
lks_test(unit/node/test_client_port_bounds.c lks_node)
lks_test(unit/client/test_ask.c lks_base Threads::Threads)
target_sources(unit_client_test_ask PRIVATE ${CMAKE_SOURCE_DIR}/client/ask.c)
# Whole replicas as threads of one process: what the thread sanitizer watches.
lks_test(unit/node/test_daemon.c lks_node lks_services PkgConfig::HIREDIS Threads::Threads)
lks_test(unit/client/test_failover_phases.c lks_node)
target_sources(unit_client_test_failover_phases PRIVATE
  ${CMAKE_SOURCE_DIR}/client/failover_phases.c ${CMAKE_SOURCE_DIR}/client/ask.c)
lks_test(unit/client/test_rdma_address.c lks_base)
target_sources(unit_client_test_rdma_address PRIVATE ${CMAKE_SOURCE_DIR}/client/rdma_address.c)
lks_test(unit/client/test_members.c lks_node)
target_sources(unit_client_test_members PRIVATE ${CMAKE_SOURCE_DIR}/client/members.c
  ${CMAKE_SOURCE_DIR}/client/config_edit.c ${CMAKE_SOURCE_DIR}/client/ask.c)
lks_test(unit/node/test_members.c lks_node)
lks_test(unit/node/test_remains.c lks_node)
lks_test(unit/node/test_utilisation.c lks_node)
lks_test(unit/node/test_placement.c lks_node)
lks_test(unit/node/test_ring_memory.c lks_node)
# Over RDMA; without a device it is skipped (tests/lab/run has one).
if(TARGET lks_verbs_ibv)
  lks_test(unit/node/test_stopped_followers.c lks_bench)
endif()
# The client library, at a gateway and a clock that the test plays.
function(lks_client_test name)
  lks_test(unit/client/${name}.c lks_base)
  target_sources(unit_client_${name} PRIVATE unit/client/scripted_gateway.c
    ${CMAKE_SOURCE_DIR}/client/library/client.c ${CMAKE_SOURCE_DIR}/client/library/exchange.c)
endfunction()
lks_client_test(test_client)
lks_client_test(test_exchange)
lks_test(unit/client/test_replica_main.c lockstep-replica lks_node)
