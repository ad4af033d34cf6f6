# What `cmake --install` puts in place: the binary, the two archives with their headers, and what
# tells others' builds of them: pkg-config (lockstep-client, lockstep-replica) and CMake
# (find_package(Lockstep): Lockstep::client, Lockstep::replica; with COMPONENTS client only that one,
# and none of the libraries that a replica needs). tests/examples checks it.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(cmake_directory ${CMAKE_INSTALL_LIBDIR}/cmake/Lockstep)

install(TARGETS lockstep RUNTIME)
install(FILES include/lockstep/client.h include/lockstep/replica.h include/lockstep/reply.h
              include/lockstep/service.h
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lockstep)

# The modules of pkg-config that an archive needs, as targets that LockstepConfig.cmake makes.
function(lks_export target name)
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(${target} INTERFACE
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${target} INTERFACE $<INSTALL_INTERFACE:Threads::Threads>
    $<INSTALL_INTERFACE:m>)
  foreach(module ${ARGN})
    target_link_libraries(${target} INTERFACE $<INSTALL_INTERFACE:PkgConfig::LKS_${module}>)
  endforeach()
  install(TARGETS ${target} EXPORT lockstep-${name} ARCHIVE)
  install(EXPORT lockstep-${name} NAMESPACE Lockstep:: FILE LockstepTargets-${name}.cmake
          DESTINATION ${cmake_directory})
  get_target_property(file ${target} OUTPUT_NAME)
  if(NOT file)
    set(file ${target})
  endif()
  string(REPLACE ";" ", " modules "${ARGN}")
  file(RELATIVE_PATH up ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/lockstep-${name}.pc @ONLY CONTENT
"prefix=\${pcfiledir}/@up@
includedir=\${prefix}/@CMAKE_INSTALL_INCLUDEDIR@
libdir=\${prefix}/@CMAKE_INSTALL_LIBDIR@

Name: lockstep-@name@
Description: @PROJECT_DESCRIPTION@ (@name@)
Version: @PROJECT_VERSION@
Requires: @modules@
Cflags: -I\${includedir}
Libs: -L\${libdir} -l@file@ -lm -pthread
")
  install(FILES ${CMAKE_BINARY_DIR}/lockstep-${name}.pc
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()
lks_export(lockstep-client client ${LKS_CLIENT_MODULES})
lks_export(lockstep-replica replica ${LKS_REPLICA_MODULES})

string(REPLACE ";" " " client_modules "${LKS_CLIENT_MODULES}")
string(REPLACE ";" " " replica_modules "${LKS_REPLICA_MODULES}")
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/LockstepConfig.cmake @ONLY CONTENT
"include(CMakeFindDependencyMacro)
find_dependency(Threads)
find_dependency(PkgConfig)
set(Lockstep_modules_client @client_modules@)
set(Lockstep_modules_replica @replica_modules@)
if(NOT Lockstep_FIND_COMPONENTS)
  set(Lockstep_FIND_COMPONENTS client replica)
endif()
foreach(part IN LISTS Lockstep_FIND_COMPONENTS)
  if(NOT part MATCHES \"^(client|replica)$\")
    set(Lockstep_FOUND FALSE)
    set(Lockstep_NOT_FOUND_MESSAGE
        \"Lockstep has no component '\${part}': there are client and replica\")
    return()
  endif()
  foreach(module IN LISTS Lockstep_modules_\${part})
    if(NOT TARGET PkgConfig::LKS_\${module})
      pkg_check_modules(LKS_\${module} REQUIRED IMPORTED_TARGET \${module})
    endif()
  endforeach()
  include(\${CMAKE_CURRENT_LIST_DIR}/LockstepTargets-\${part}.cmake)
  set(Lockstep_\${part}_FOUND TRUE)
endforeach()
")
write_basic_package_version_file(${CMAKE_BINARY_DIR}/LockstepConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/LockstepConfig.cmake
              ${CMAKE_BINARY_DIR}/LockstepConfigVersion.cmake
        DESTINATION ${cmake_directory})
