# The dashboard as the target ui_assets. Tools come from the lock file; nothing is written into the source folder.
option(MAILHAUL_UI "Build the dashboard into the binary (needs Node 18 and npm)" ON)

set(ui_cc ${CMAKE_BINARY_DIR}/ui_assets.cc)
if(MAILHAUL_UI)
  find_program(MAILHAUL_NODE node)
  find_program(MAILHAUL_NPM npm)
  if(NOT MAILHAUL_NODE OR NOT MAILHAUL_NPM)
    message(FATAL_ERROR "The dashboard is built with node and npm (Debian: nodejs npm). Without it: -DMAILHAUL_UI=OFF")
  endif()
  execute_process(COMMAND ${MAILHAUL_NODE} -p process.versions.node OUTPUT_VARIABLE ui_node OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(ui_node VERSION_LESS 18.12)
    message(FATAL_ERROR "${MAILHAUL_NODE} is version ${ui_node}; the dashboard needs 18.12 or newer. Without it: -DMAILHAUL_UI=OFF")
  endif()

  set(ui ${CMAKE_SOURCE_DIR}/web/ui)
  set(ui_work ${CMAKE_BINARY_DIR}/ui)
  set(ui_openapi ${CMAKE_SOURCE_DIR}/web/openapi.yaml)
  file(GLOB_RECURSE ui_sources CONFIGURE_DEPENDS ${ui}/src/* ${ui}/public/*)
  list(FILTER ui_sources EXCLUDE REGEX "/src/api\\.d\\.ts$")
  add_custom_command(OUTPUT ${ui_work}/installed
    COMMAND ${CMAKE_COMMAND} -E make_directory ${ui_work}
    COMMAND ${CMAKE_COMMAND} -E copy ${ui}/package.json ${ui}/package-lock.json ${ui_work}
    COMMAND ${CMAKE_COMMAND} -E chdir ${ui_work} ${MAILHAUL_NPM} ci --ignore-scripts --no-audit --no-fund --loglevel=error
    COMMAND ${CMAKE_COMMAND} -E touch ${ui_work}/installed
    DEPENDS ${ui}/package.json ${ui}/package-lock.json COMMENT "Fetching the dashboard's tools" VERBATIM)
  add_custom_command(OUTPUT ${ui_cc}
    COMMAND ${MAILHAUL_NODE} ${ui}/build.mjs ${ui} ${ui_work} ${ui_openapi} ${ui_cc}
    DEPENDS ${ui_work}/installed ${ui_openapi} ${ui_sources} ${ui}/build.mjs ${ui}/index.html ${ui}/tsconfig.json ${ui}/vite.config.ts
    COMMENT "Building the dashboard" VERBATIM)
else()
  file(CONFIGURE OUTPUT ${ui_cc} @ONLY CONTENT [[#include "web/assets.h"

namespace mailhaul::web {
std::span<const Asset> assets() { return {}; }
}  // namespace mailhaul::web
]])
endif()
add_library(ui_assets STATIC ${ui_cc})
target_include_directories(ui_assets PUBLIC ${CMAKE_SOURCE_DIR})
