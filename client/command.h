/*
 * The commands of the `lockstep` binary. main.c calls one of them on the main thread, with its
 * own arguments: argv[0] is "lockstep COMMAND". Each prints for people and returns an exit code.
 */
#ifndef LKS_CLIENT_COMMAND_H
#define LKS_CLIENT_COMMAND_H

/* Every exit code of the binary; docs and --help say the same. */
enum lks_exit {
    LKS_EXIT_OK = 0,
    LKS_EXIT_FAILURE = 1,  /* it was tried and failed */
    LKS_EXIT_USAGE = 2,    /* arguments or configuration are wrong; nothing was tried */
    LKS_EXIT_NO_LEADER = 3, /* status: no leader, or no majority behind it */
    LKS_EXIT_REMOVED = 4    /* serve: this replica was removed from the cluster */
};

int lks_init_command(int argc, char **argv);
int lks_serve_command(int argc, char **argv);
int lks_local_cluster_command(int argc, char **argv);
int lks_status_command(int argc, char **argv);
int lks_journal_command(int argc, char **argv);
int lks_bench_command(int argc, char **argv);
int lks_recover_command(int argc, char **argv);
int lks_member_command_line(int argc, char **argv);
int lks_scheduler_command_line(int argc, char **argv);
int lks_topology_command(int argc, char **argv);

#endif
