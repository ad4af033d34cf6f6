# Flags for every target: warnings, the CPU baseline (SSE4.2 for CRC32C), sanitizers.
add_library(lks_flags INTERFACE)
target_include_directories(lks_flags INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/include)
target_compile_definitions(lks_flags INTERFACE _GNU_SOURCE
  $<$<CONFIG:Debug>:LKS_TOUCH_CHECKS>) # include/lockstep/touch.h
target_compile_options(lks_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes
  -Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wvla
  -Wformat=2 -Wno-format-nonliteral -fno-strict-aliasing -fno-omit-frame-pointer)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  target_compile_options(lks_flags INTERFACE -msse4.2)
  if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    # gcc clears and copies structs of 100-250 bytes by `rep stos` and `rep movs`, whose start alone
    # costs 10 ns; a command passes a dozen of them.
    set(strategy vector_loop:512:noalign,libcall:-1:noalign)
    target_compile_options(lks_flags INTERFACE
      -mmemset-strategy=${strategy} -mmemcpy-strategy=${strategy})
  endif()
endif()
# Link-time optimisation for the product's binary alone (lks_optimise_at_link): tests and the
# simulator stand in for functions when they are linked, which it would undo.
option(LKS_LTO "Optimise the lockstep binary at link time (gcc)" OFF)
if(LKS_LTO AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
  target_compile_options(lks_flags INTERFACE -flto=auto -ffat-lto-objects)
  target_link_options(lks_flags INTERFACE $<$<NOT:$<BOOL:$<TARGET_PROPERTY:LKS_OPTIMISED>>>:-fno-lto>)
endif()
function(lks_optimise_at_link target)
  set_target_properties(${target} PROPERTIES LKS_OPTIMISED ON)
endfunction()
if(LKS_WERROR)
  target_compile_options(lks_flags INTERFACE -Werror)
endif()
if(LKS_SANITIZE)
  target_compile_options(lks_flags INTERFACE -fsanitize=${LKS_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(lks_flags INTERFACE -fsanitize=${LKS_SANITIZE})
  target_compile_definitions(lks_flags INTERFACE LKS_SANITIZED=1)
  if(LKS_SANITIZE MATCHES thread AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
    # Fences order words of which each is atomic: what the sanitizer does not model, it need not.
    target_compile_options(lks_flags INTERFACE -Wno-tsan)
  endif()
endif()
