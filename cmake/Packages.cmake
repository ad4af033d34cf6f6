# Libraries that Debian packages (see tools/packages) provide.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(LIBPMEM REQUIRED IMPORTED_TARGET libpmem)
pkg_check_modules(CYAML REQUIRED IMPORTED_TARGET libcyaml)
