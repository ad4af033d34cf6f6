# Tests of the client port and of the services, and the port without replication for benchmarks.
add_executable(server_alone support/server_alone.c)
target_link_libraries(server_alone PRIVATE lks_server lks_services)

add_library(lks_test_port STATIC support/port.c)
target_link_libraries(lks_test_port PUBLIC lks_server lks_services PRIVATE PkgConfig::CMOCKA)

lks_test(unit/server/test_parser.c lks_server)
lks_test(unit/server/test_output.c lks_server)
lks_test(unit/server/test_commands.c lks_test_port)
lks_test(unit/server/test_connection.c lks_test_port)
lks_test(unit/services/test_kv_table.c lks_services)
lks_test(unit/services/test_kv.c lks_services)
lks_test(unit/services/test_kv_snapshot.c lks_services)
lks_test(unit/services/test_kv_expiry.c lks_services)
lks_test(unit/services/test_kv_scan.c lks_services)
lks_test(unit/services/test_client_sessions.c lks_services)
lks_test(integration/hostile_resp.c lks_test_port)
lks_test(integration/differential_resp.c lks_test_port PkgConfig::HIREDIS Threads::Threads)
