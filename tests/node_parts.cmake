# The parts of a replica that stand alone: each test compiles what it tests.
function(lks_node_part_test name)
  list(TRANSFORM ARGN PREPEND ${CMAKE_SOURCE_DIR}/ OUTPUT_VARIABLE sources)
  lks_test(unit/node/${name}.c lks_base)
  target_sources(unit_node_${name} PRIVATE ${sources})
endfunction()
set(fake_fabric tests/support/fake_fabric.c)
lks_node_part_test(test_sessions node/sessions.c)
lks_node_part_test(test_gateway node/gateway.c)
lks_node_part_test(test_mailbox node/mailbox.c ${fake_fabric})
lks_node_part_test(test_ingress node/ingress.c node/sessions.c ${fake_fabric})
lks_node_part_test(test_exactly_once
  node/gateway.c node/ingress.c node/mailbox.c node/sessions.c ${fake_fabric})
