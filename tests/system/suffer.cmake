# SPDX-License-Identifier: Apache-2.0
# What users of tools like this one suffer from, a test each: the table of docs/guarantees.md names them, `ctest -N -R
# suffer` lists them. An entry runs cases of a script of this folder; these are then not run by system.<script>.

file(READ ${CMAKE_SOURCE_DIR}/docs/guarantees.md guarantees)

# suffer(NAME SCRIPT CASE...): adds suffer.NAME. A case that is not there would pass unseen; a test that stands in no
# table would not be found.
function(suffer NAME SCRIPT)
    string(FIND "${guarantees}" "`suffer.${NAME}` |" place)
    if(place EQUAL -1)
        message(FATAL_ERROR "docs/guarantees.md has no line for suffer.${NAME}")
    endif()
    foreach(case ${ARGN})
        file(STRINGS ${CMAKE_CURRENT_SOURCE_DIR}/${SCRIPT}.sh found REGEX "^${case}\\(\\)")
        if(NOT found)
            message(FATAL_ERROR "suffer.${NAME}: tests/system/${SCRIPT}.sh has no ${case}")
        endif()
    endforeach()
    add_test(NAME suffer.${NAME} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/${SCRIPT}.sh ${ARGN})
    set_tests_properties(suffer.${NAME} PROPERTIES TIMEOUT 240 SKIP_RETURN_CODE 77 ENVIRONMENT "${system_environment}")
    foreach(case ${ARGN})
        set_property(GLOBAL APPEND PROPERTY suffer_${SCRIPT} ${case})
    endforeach()
endfunction()

suffer(01_orphans_outlive_the_master run_losses case_the_master_is_killed)
suffer(02_the_master_dies_and_work_is_lost resume case_running_subtasks_are_taken_over)
suffer(03_flaky_links_count_as_death ssh_cut case_a_short_cut_does_no_harm)
suffer(04_hangs_on_a_dead_worker run_losses case_a_worker_is_stopped_beyond_its_lease)
suffer(05_double_runs run_losses case_a_worker_is_stopped_and_goes_on_late)
suffer(06_a_truncated_output_is_trusted suffer case_a_truncated_output_is_never_a_result)
suffer(07_fan_in_fires_never_or_too_early suffer case_the_fan_in_comes_once_and_last)
suffer(08_logs_vanish_with_the_worker logs_live case_a_killed_worker_leaves_what_it_had_sent)
suffer(09_a_file_for_each_subtask suffer case_files_do_not_grow_with_the_job)
suffer(10_a_large_fan_out_melts_the_master suffer case_a_plan_without_end_starts_at_once)
suffer(13_file_descriptors_run_out limits case_a_soft_limit_is_raised case_too_few_open_files_for_the_master
       case_too_few_open_files_for_a_worker)
suffer(14_sshd_drops_logins ssh_pace case_few_logins_at_once)
suffer(15_another_login_shell ssh_bad_system case_login_shells)
suffer(16_quoting run_basic case_shell_quotes_values case_command_keeps_arguments_whole)
suffer(17_credentials_expire_in_mid_run intruder case_a_credential_that_has_expired)
suffer(18_versions_differ intruder case_another_protocol_version)
suffer(19_clock_skew ssh_bad_system case_clocks_that_are_years_off)
suffer(20_grandchildren bad_command case_ignores_term case_forks_away case_forks_away_with_its_streams)
suffer(21_miscounted_thresholds trigger_chaos case_twenty_pushers_and_a_threshold)
suffer(22_why_is_it_not_running suffer case_explain_says_why case_explain_says_what_is_held)
