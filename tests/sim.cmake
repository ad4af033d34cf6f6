# The simulator's own tests, and short runs of it.
lks_test(unit/sim/test_timeline.c lks_sim_network)
lks_test(unit/sim/test_network.c lks_sim_network)
