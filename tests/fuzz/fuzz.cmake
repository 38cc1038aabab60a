# libFuzzer targets, one .cc each, with a seed corpus beside it. CTest runs each for MAILHAUL_FUZZ_SECONDS on a copy of
# the corpus in the build folder, so that what it finds does not change the checkout. To keep a finding: copy the input
# that libFuzzer names into corpus/<target>/.
set(MAILHAUL_FUZZ_SECONDS 60 CACHE STRING "How long CTest runs each fuzz target")
# A gate says the same of the same code; who looks for something new gives another seed, or 0.
set(MAILHAUL_FUZZ_SEED 1 CACHE STRING "Where CTest begins each fuzz target; 0: somewhere else each time")

function(fuzz_target name)
  set(target fuzz_${name})
  add_executable(${target} ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/${name}.cc)
  target_link_libraries(${target} PRIVATE ${ARGN})
  target_link_options(${target} PRIVATE -fsanitize=fuzzer)
  add_test(NAME ${target} COMMAND ${CMAKE_COMMAND}
    -DPROGRAM=$<TARGET_FILE:${target}> -DSEEDS=${CMAKE_CURRENT_FUNCTION_LIST_DIR}/corpus/${name}
    -DWORK=${CMAKE_BINARY_DIR}/fuzz/${name} -DSECONDS=${MAILHAUL_FUZZ_SECONDS} -DSEED=${MAILHAUL_FUZZ_SEED}
    -P ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/run.cmake)
  math(EXPR timeout "${MAILHAUL_FUZZ_SECONDS} + 240")
  set_tests_properties(${target} PROPERTIES LABELS fuzz TIMEOUT ${timeout})
endfunction()

fuzz_target(imap_response imap)
fuzz_target(pop3_reply pop3)
fuzz_target(mailbox_name mail)
fuzz_target(header_digest mail)
fuzz_target(maildir_name store)
fuzz_target(sasl_exchange sasl)
fuzz_target(autoconfig_xml discovery)
fuzz_target(oauth_json oauth2)
