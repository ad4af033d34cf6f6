# The supervisor of a lab: one loop that reads a control pipe, on which it hears
#   ready N STATUS, gone N STATUS     a guest answers, or its boot failed; a guest's QEMU has ended
#   done STATUS                       the command of run or session has ended
#   ask REPLY VERB ARGUMENTS          what ask.sh wants; REPLY is a pipe for "STATUS MESSAGE"
# It is process 1 of the lab's namespaces (or an ordinary process where there are none), and all
# else ends with it. Sourced by soft-roce/lab.
# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables

boot_limit_s=${LKS_LAB_BOOT_LIMIT:-240} # a few seconds on an idle machine; on a loaded one much more

declare -A state=()  # of each guest: down, booting, up
declare -A since=()  # of each guest: when it was started, in this process's seconds
work_since=0         # the same for the command of run or session; 0: not yet
declare -A asker=()  # the pipe of who waits for a guest to boot or to end
broken=no            # a guest ended that nobody had cut
orphaned=no          # the guard is dead

supervise() { # VERB FOLDER
    local verb=$1 n
    folder=$2
    # shellcheck disable=SC1091 # written by make_folder
    . "$folder/settings"
    export LKS_LAB=$folder LKS_LAB_OUT=$out LKS_LAB_GUESTS=$guests
    exec {control}<>"$folder/control"
    trap 'end_lab 143' TERM INT HUP
    trap 'orphaned=yes; end_lab 143' USR1
    watch_guard
    [ ! -e "$folder/bridged" ] || make_network || end_lab "$status_broken"
    for ((n = 1; n <= guests; n++)); do
        [ ! -e "$folder/bridged" ] || make_tap "$n"
        start_guest "$n"
    done
    local started=no words text partial=
    while true; do
        if [ "$started" = no ] && all_up; then
            started=yes
            start_work "$verb"
        fi
        # A time limit that passes within a line leaves its beginning in the variable.
        if IFS= read -r -t 5 -u "$control" text; then
            read -r -a words <<<"$partial$text"
            partial=
            "on_${words[0]}" "${words[@]:1}"
        else
            partial+=$text
            look_at_limits
        fi
    done
}

# Ends the lab if its guard ends without a word (SIGKILL): the guard alone can write to that pipe.
watch_guard() {
    (
        trap - TERM INT HUP USR1
        cat "$folder/alive" {control}>&- >/dev/null
        kill -USR1 $$
    ) &
}

# The helpers that wait have limits of their own; this is for the case that one of them died.
look_at_limits() {
    local n
    for ((n = 1; n <= guests; n++)); do
        if [ "${state[$n]}" = booting ] &&
            [ $((SECONDS - ${since[$n]})) -gt $((boot_limit_s + 10)) ]; then
            on_ready "$n" 124
        fi
    done
    if [ "$work_since" -gt 0 ] && [ $((SECONDS - work_since)) -gt $((timeout_s + 30)) ]; then
        on_done 124
    fi
}

all_up() {
    local n
    for ((n = 1; n <= guests; n++)); do
        [ "${state[$n]}" = up ] || return 1
    done
}

start_guest() { # N
    state[$1]=booting
    since[$1]=$SECONDS
    launch_guest "$1"
}

# Ends the lab: all of its processes, then this one. The folder is the guard's, unless it is dead.
end_lab() { # STATUS
    trap '' TERM INT HUP USR1
    exec 2>/dev/null # the shell's words on each process that it kills
    local n
    for ((n = 1; n <= guests; n++)); do
        kill -KILL "$(cat "$folder/$n/pid" 2>/dev/null)" 2>/dev/null || true
    done
    [ -e "$folder/bridged" ] || kill_by_environment
    jobs -p | xargs -r kill -KILL 2>/dev/null || true
    if [ "$orphaned" = yes ]; then
        rm -rf -- "$folder"
    else
        echo "$1" >"$folder/status"
    fi
    exit "$1"
}

# Without a process namespace: all that has inherited this lab's variable, but for this process.
kill_by_environment() {
    local file pid
    for file in /proc/[0-9]*/environ; do
        pid=${file#/proc/}
        pid=${pid%/environ}
        if [ "$pid" -ne $$ ] && grep -qzxF "LKS_LAB=$folder" "$file" 2>/dev/null; then
            kill -KILL "$pid" 2>/dev/null || true
        fi
    done
}

reply() { # PIPE STATUS MESSAGE...
    [ -p "$folder/$1" ] || return 0
    # Not in this process: nobody may read there any more.
    # shellcheck disable=SC2016 # expanded by that shell
    (timeout 5 bash -c 'echo "$2" >"$1"' reply "$folder/$1" "${*:2}" || true) &
}

# ---- what is heard -------------------------------------------------------------------------------

on_ready() { # N STATUS
    [ "${state[$1]}" = booting ] || return 0
    if [ "$2" -eq 0 ]; then
        state[$1]=up
        tell_cost "$1"
        keep_nvdimm_as_model "$1"
        answer_asker "$1" 0
        return
    fi
    console_end "$1"
    echo "lab: guest $1 has not come up: status $2 after $((SECONDS - ${since[$1]})) s" \
        "(124: the limit of $boot_limit_s s)" >&2
    end_lab "$status_broken"
}

# With LKS_LAB_VERBOSE: what it took until a guest answered.
tell_cost() { # N
    [ -n "${LKS_LAB_VERBOSE:-}" ] || return 0
    local pid words cost_ms
    pid=$(cat "$folder/$1/pid")
    read -r -a words <"/proc/$pid/stat"
    cost_ms=$(((words[13] + words[14]) * 10))
    echo "lab: guest $1 is up after $((SECONDS - since[$1])) s, $cost_ms ms of processor" >&2
}

on_gone() { # N STATUS
    local before=${state[$1]}
    state[$1]=down
    if [ "$before" = cutting ]; then
        answer_asker "$1" 0
        return
    fi
    console_end "$1"
    echo "lab: guest $1 has ended by itself" >&2
    broken=yes
    [ "$before" = up ] || end_lab "$status_broken"
}

on_done() { # STATUS
    warn_of_kernels
    if [ "$1" -eq 124 ]; then
        local n
        for ((n = 1; n <= guests; n++)); do
            console_end "$n"
        done
        echo "lab: the command has not ended within $timeout_s s" >&2
    fi
    [ "$1" -ne "$status_broken" ] || show_the_dead
    [ "$broken" = no ] || [ "$1" -ne 0 ] || end_lab "$status_broken"
    end_lab "$1"
}

# A command that its guest took along ends before QEMU does.
show_the_dead() {
    local n try
    for ((n = 1; n <= guests; n++)); do
        [ "${state[$n]}" = up ] || continue
        for ((try = 0; try < 10; try++)); do
            if ! kill -0 "$(cat "$folder/$n/pid")" 2>/dev/null; then
                on_gone "$n" 0
                break
            fi
            sleep 0.1
        done
    done
}

on_ask() { # PIPE VERB [ARGUMENTS]
    local pipe=$1 verb=$2
    shift 2
    case $verb in
    boot | cut) ask_of_guest "$pipe" "$verb" "$1" ;;
    partition)
        if part "$1" "$2"; then reply "$pipe" 0; else reply "$pipe" 125 'nft failed'; fi
        ;;
    heal) if heal; then reply "$pipe" 0; else reply "$pipe" 125 'nft failed'; fi ;;
    esac
}

ask_of_guest() { # PIPE VERB N
    local pipe=$1 n=$3
    case $2:${state[$n]:-none} in
    boot:down)
        asker[$n]=$pipe
        start_guest "$n"
        ;;
    cut:up)
        asker[$n]=$pipe
        state[$n]=cutting
        kill -KILL "$(cat "$folder/$n/pid")"
        ;;
    *) reply "$pipe" "$status_usage" "guest $n is ${state[$n]:-unknown}: no $2" ;;
    esac
}

answer_asker() { # N STATUS
    [ -z "${asker[$1]:-}" ] || reply "${asker[$1]}" "$2"
    asker[$1]=
}

# ---- the command ---------------------------------------------------------------------------------

start_work() { # VERB
    touch "$folder/up"
    [ "$1" = start ] || work_since=$((SECONDS + 1))
    case $1 in
    run)
        (
            trap - TERM INT HUP
            run_in_guests && status=0 || status=$?
            echo "done $status" >"$folder/control"
        ) &
        ;;
    session)
        (
            trap - TERM INT HUP
            timeout -k 5 "$timeout_s" "${command[@]}" {control}>&- && status=0 || status=$?
            echo "done $status" >"$folder/control"
        ) &
        ;;
    start) ln -sfn "$folder" "$(started_link)" ;;
    esac
}

# The variables that a command in guest N gets.
variables() { # N
    printf '%s\n' "LKS_LAB_GUEST=$1" "LKS_LAB_GUESTS=$guests" "LKS_LAB_OUT=$out" \
        "LKS_TEST_RDMA_ADDRESS=10.77.0.$1"
    env | grep -E '^(LKS_TEST_[A-Z_]*|[A-Z]*SAN_OPTIONS)=' || true
}

run_in() { # N SECONDS COMMAND...
    local n=$1 limit_s=$2 words=()
    shift 2
    mapfile -t words < <(variables "$n")
    call_guest "$n" "$limit_s" "$PWD" "${words[@]}" -- "$@"
}

# The command in every guest at once; the status of the first guest in which it failed.
run_in_guests() {
    local n pids=() status=0 one
    if [ "$guests" -eq 1 ]; then
        run_in 1 "$timeout_s" "${command[@]}"
        return
    fi
    for ((n = 1; n <= guests; n++)); do
        (
            set -o pipefail
            { run_in "$n" "$timeout_s" "${command[@]}" 2>&3 | sed -u "s/^/$n: /"; } \
                3> >(sed -u "s/^/$n: /" >&2)
        ) &
        pids[n]=$!
    done
    for ((n = 1; n <= guests; n++)); do
        wait "${pids[$n]}" && one=0 || one=$?
        [ "$status" -ne 0 ] || status=$one
    done
    return "$status"
}

# Kernels that complain are worth a word, even if the command did not notice.
warn_of_kernels() {
    local n
    for ((n = 1; n <= guests; n++)); do
        if grep -qE 'WARNING:|BUG:|Oops|refcount_t' "$folder/$n/console" 2>/dev/null; then
            echo "lab: the kernel of guest $n complained:" >&2
            grep -E 'WARNING:|BUG:|Oops|refcount_t' "$folder/$n/console" | head -n 5 |
                sed 's/^/    /' >&2
        fi
    done
}
