# The commit that the binaries report; "unknown" outside a git checkout.
execute_process(COMMAND git -C ${CMAKE_SOURCE_DIR} describe --always --dirty --abbrev=12
                OUTPUT_VARIABLE LKS_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT LKS_COMMIT)
  set(LKS_COMMIT unknown)
endif()
