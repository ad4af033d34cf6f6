# Writes HEADER with the commit of SOURCE, marked "-modified" when the checkout is; "unknown" outside
# a git checkout. An unchanged header is left alone, so that nothing is compiled again for it.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty=-modified --abbrev=12
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT commit)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${HEADER} CONTENT "#define LKS_COMMIT \"${commit}\"\n")
