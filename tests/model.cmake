# The model of the protocol, explored by spin. Nothing of the product is in it, so one build's tests
# run it: not those of a sanitized build.
if(NOT LKS_SANITIZE)
  add_test(NAME model/run COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/model/run)
  set_tests_properties(model/run PROPERTIES LABELS model TIMEOUT 900)
endif()
