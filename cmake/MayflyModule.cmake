# SPDX-License-Identifier: Apache-2.0
# One library a station of the data flow: the link lines below are the arrows of docs/architecture.md.

# mayfly_module(NAME LIBRARY...): a static library of all .c files of the current folder.
function(mayfly_module name)
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c)
    if(NOT sources)
        add_library(${name} INTERFACE)
        target_link_libraries(${name} INTERFACE ${ARGN})
        return()
    endif()
    add_library(${name} STATIC ${sources})
    target_link_libraries(${name} PUBLIC ${ARGN})
endfunction()

# mayfly_schema(TARGET VARIABLE): schema.sql of the current folder stays a file that sqlite3 can read; the library
# carries it as the string VARIABLE, which the schema.h beside it declares.
function(mayfly_schema target variable)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS schema.sql)
    file(RELATIVE_PATH folder ${PROJECT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
    file(READ schema.sql schema)
    string(REPLACE "\\" "\\\\" schema "${schema}")
    string(REPLACE "\"" "\\\"" schema "${schema}")
    string(REPLACE "\n" "\\n\"\n    \"" schema "${schema}")
    file(CONFIGURE OUTPUT schema.c CONTENT [=[
/* SPDX-License-Identifier: Apache-2.0 */
/* Made from schema.sql by CMake. */
#include "@folder@/schema.h"

const char @variable@[] =
    "@schema@";
]=] @ONLY)
    target_sources(${target} PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/schema.c)
endfunction()

# mayfly_unit_test(NAME LIBRARY...): tests/unit/.../NAME.c, run by ctest under that name.
function(mayfly_unit_test name)
    add_executable(${name} ${name}.c)
    target_link_libraries(${name} PRIVATE ${ARGN} PkgConfig::cmocka)
    add_test(NAME unit.${name} COMMAND ${name})
    set_tests_properties(unit.${name} PROPERTIES TIMEOUT 120)
endfunction()
