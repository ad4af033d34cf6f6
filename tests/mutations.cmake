# Planted bugs: each still applies to the code as it is. Hunting for them takes builds of its own
# (tests/mutations/run); nothing of this build is in it, so one build's tests are enough.
if(NOT LKS_SANITIZE)
  add_test(NAME mutations/apply COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/mutations/run --check)
  set_tests_properties(mutations/apply PROPERTIES TIMEOUT 60)
endif()
