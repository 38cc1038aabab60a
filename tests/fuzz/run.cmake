# cmake -DPROGRAM= -DSEEDS= -DWORK= -DSECONDS= -DSEED= -P run.cmake: one fuzz target on a copy of its seeds.
file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK}/corpus)
file(GLOB seeds ${SEEDS}/*)
if(NOT seeds)
  message(FATAL_ERROR "no seed corpus in ${SEEDS}")
endif()
file(COPY ${seeds} DESTINATION ${WORK}/corpus)
execute_process(
  COMMAND ${PROGRAM} -seed=${SEED} -max_total_time=${SECONDS} -timeout=10 -rss_limit_mb=1024 -max_len=4096 -print_final_stats=1
          -artifact_prefix=${WORK}/ ${WORK}/corpus
  WORKING_DIRECTORY ${WORK} RESULT_VARIABLE result ERROR_VARIABLE report)
string(REGEX MATCHALL "stat::[^\n]*" statistics "${report}")
string(JOIN "\n" statistics ${statistics})
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${report}")
endif()
message("${statistics}")
