# Tests of the client port and of the services, and the port without replication for benchmarks.
add_executable(server_alone support/server_alone.c)
target_link_libraries(server_alone PRIVATE lks_server lks_services)
