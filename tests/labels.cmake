# Included after all tests are known: limits, and the label by which the thread sanitizer's run is
# chosen (tests in which threads share memory); and the label of those that need an RDMA device,
# which the check runs in a guest that has one (tests/lab/run).
get_property(all_tests DIRECTORY PROPERTY TESTS)
set_tests_properties(${all_tests} PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77)
foreach(name ${all_tests})
  if(name MATCHES "test_flusher|test_loop|threads|test_log|conformance|shm|sched")
    set_property(TEST ${name} APPEND PROPERTY LABELS tsan)
  endif()
  if(name MATCHES "test_rdma$|test_lanes_rdma$|test_ibv_device$|test_ibv_client_lanes$|test_ibv_faults$|test_ibv_reconnections$|test_ibv_hammer$|test_stopped_followers$")
    set_property(TEST ${name} APPEND PROPERTY LABELS device)
  endif()
endforeach()
