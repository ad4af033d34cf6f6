# Included after all tests are known: limits, and the label by which the thread sanitizer's run is
# chosen (tests in which threads share memory).
get_property(all_tests DIRECTORY PROPERTY TESTS)
set_tests_properties(${all_tests} PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77)
foreach(name ${all_tests})
  if(name MATCHES "test_flusher|test_loop|threads|test_log|conformance|shm|sched")
    set_property(TEST ${name} APPEND PROPERTY LABELS tsan)
  endif()
endforeach()
