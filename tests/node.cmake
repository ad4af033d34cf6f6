# The replica process: configuration, threads, client commands.
lks_test(unit/node/test_config.c lks_node)
lks_test(unit/node/test_value.c lks_node)
lks_test(unit/node/test_durability.c lks_node)
lks_test(unit/node/test_flusher.c lks_node Threads::Threads)
lks_test(unit/node/test_loop.c lks_node Threads::Threads)
