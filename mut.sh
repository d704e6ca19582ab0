. /tmp/e23/env.sh
/tmp/s8/shared.sh timeout 900 python tests/mutants.py loads_read_the_optimiser_too one_process_writes_what_all_hold_in_bytes runs_begin_from_weights_that_each_reads_whole a_sweep_over_processes_adds_no_rows what_others_miss_is_not_heard --jobs=1 > /tmp/e23/mut.log 2>&1
echo rc $? $(date +%T) >> /tmp/e23/mut.log
