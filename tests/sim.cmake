# The simulator's own tests, and short runs of it.
lks_test(unit/sim/test_timeline.c lks_sim_network)
lks_test(unit/sim/test_network.c lks_sim_network)
if(TARGET lks_fabric_suite)
  lks_test(conformance/fabric/test_sim.c lks_fabric_suite lks_sim_network)
endif()
