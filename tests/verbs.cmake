# Fabric: the conformance suite, once for each backend, and what only the shm backend has.
add_library(lks_fabric_suite STATIC
  conformance/fabric/suite.c conformance/fabric/stage.c conformance/fabric/connection_cases.c
  conformance/fabric/path_cases.c conformance/fabric/wake_cases.c)
target_link_libraries(lks_fabric_suite PUBLIC lks_verbs PkgConfig::CMOCKA)
lks_test(conformance/fabric/test_shm.c lks_fabric_suite)
add_library(lks_verbs_actor STATIC unit/verbs/actor.c)
target_link_libraries(lks_verbs_actor PUBLIC lks_verbs)
lks_test(unit/verbs/test_hammer.c lks_verbs_actor)
lks_test(unit/verbs/test_gate.c lks_verbs)
lks_test(unit/verbs/test_meeting.c lks_verbs_actor)
lks_test(unit/verbs/test_process.c lks_verbs_actor)
lks_test(unit/verbs/test_threads.c lks_verbs_actor Threads::Threads)
# The RDMA backend: without a device its tests are skipped (soft-roce/lab brings one).
if(TARGET lks_verbs_ibv)
  lks_test(conformance/fabric/test_rdma.c lks_fabric_suite lks_verbs_ibv)
  lks_test(unit/verbs/test_ibv_fence.c lks_verbs_ibv)
  lks_test(unit/verbs/test_ibv_handshake.c lks_verbs_ibv)
  lks_test(unit/verbs/test_ibv_helper.c lks_verbs_ibv)
  set_property(TEST unit/verbs/test_ibv_helper APPEND PROPERTY LABELS tsan)
  lks_test(unit/verbs/test_ibv_queue.c lks_verbs_ibv)
  add_library(lks_ibv_pair STATIC unit/verbs/ibv_pair.c)
  target_link_libraries(lks_ibv_pair PUBLIC lks_verbs_ibv PkgConfig::CMOCKA)
  lks_test(unit/verbs/test_ibv_device.c lks_ibv_pair)
  lks_test(unit/verbs/test_ibv_faults.c lks_ibv_pair)
  target_link_options(unit_verbs_test_ibv_faults PRIVATE LINKER:--wrap=ibv_dereg_mr
    LINKER:--wrap=ibv_create_qp LINKER:--wrap=ibv_alloc_pd)
  lks_test(unit/verbs/test_ibv_hammer.c lks_verbs_ibv)
endif()
