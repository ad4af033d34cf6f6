# The folder of a lab, and the process that guards it. The guard starts the supervisor in
# namespaces of its own, passes signals on, and removes the folder when the supervisor has ended;
# if the guard dies first, the supervisor sees the end of a pipe and does the same. A lab's
# processes all lie in one process namespace, so that they end with the supervisor, whatever
# happens; taps and bridge go with the network namespace. Sourced by soft-roce/lab.
# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables

# Removes folders whose guard and supervisor have both been killed.
sweep_folders() { # PARENT
    local folder guard
    for folder in "$1"/lockstep-lab."$(id -u)".*; do
        [ -O "$folder" ] || continue
        guard=$(cat "$folder/guard" 2>/dev/null) || continue
        kill -0 "$guard" 2>/dev/null || rm -rf -- "$folder"
    done
}

# Where the folders of labs lie: in memory, if that may be written.
folders_parent() {
    local parent=${LKS_LAB_PARENT:-/dev/shm}
    if [ -w "$parent" ]; then echo "$parent"; else echo /tmp; fi
}

# The link to the folder of the lab that "lab start" has started.
started_link() {
    echo "$(folders_parent)/lockstep-lab-started.$(id -u)"
}

has_mib() { # FOLDER MIB
    [ "$(df --output=avail -m "$1" | tail -n 1)" -ge "$2" ]
}

# Where a folder with the guests' NVDIMMs finds room: without, a write would kill QEMU.
roomy_parent() {
    local parent mib=16
    parent=$(folders_parent)
    [ "$nvdimm" = no ] || mib=$((guests * (nvdimm_mib + 2) + mib))
    if has_mib "$parent" "$mib"; then
        echo "$parent"
    elif has_mib /tmp "$mib"; then
        echo /tmp
    else
        die "$status_broken" "$parent, /tmp: less than $mib MiB free:" \
            'say by LKS_LAB_PARENT where they are'
    fi
}

need_memory() {
    local wanted=$((guests * (memory_mib + 128))) available
    available=$(($(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024))
    [ "$wanted" -le "$available" ] ||
        die "$status_broken" "$guests guests of $memory_mib MiB: $wanted MiB with QEMU's own," \
            "but $available MiB are available: less by --memory or --guests"
}

make_folder() {
    local parent
    need_memory
    parent=$(roomy_parent)
    sweep_folders "$parent"
    folder=$(mktemp -d "$parent/lockstep-lab.$(id -u).XXXXXX")
    echo $$ >"$folder/guard"
    mkfifo "$folder/control" "$folder/alive"
    if [ -z "$out" ]; then
        out=$folder/out
        mkdir "$out"
    fi
    declare -p guests cpus memory_mib timeout_s nvdimm nvdimm_mib out accel command |
        sed -e 's/^declare -- /declare -g /' -e 's/^declare -a /declare -ga /' >"$folder/settings"
}

# How a supervisor gets namespaces of its own; nothing at all where they are refused.
namespaces() {
    local way=(unshare --net --pid --mount --fork --mount-proc --kill-child)
    [ "${LKS_LAB_NAMESPACES:-yes}" = yes ] || return 0
    [ "$(id -u)" -eq 0 ] || way+=(--user --map-root-user)
    if "${way[@]}" true 2>/dev/null; then
        echo "${way[@]}"
    fi
}

# The supervisor, in the background: $supervisor, or $inside for signals if there are namespaces.
launch() { # VERB
    local way
    way=$(namespaces)
    [ -z "$way" ] || echo yes >"$folder/bridged"
    if [ -z "$way" ] && [ "$guests" -gt 1 ]; then
        die "$status_broken" "$guests guests need a network namespace, which this user must not" \
            "have: run as root, or with --guests 1"
    fi
    # Held open by this process alone, so that its end is the end of the pipe.
    exec {alive}<>"$folder/alive"
    # shellcheck disable=SC2086 # the words of the way
    $way "$soft_roce/lab" --supervise "$1" "$folder" {alive}>&- &
    supervisor=$!
}

signal_supervisor() {
    local inside
    # unshare blocks signals: they are for its child.
    inside=$(cat "/proc/$supervisor/task/$supervisor/children" 2>/dev/null) || true
    if [ -e "$folder/bridged" ]; then
        # shellcheck disable=SC2086 # a list of process ids
        kill -TERM $inside 2>/dev/null || true
    else
        kill -TERM "$supervisor" 2>/dev/null || true
    fi
}

remove_folder() {
    rm -rf -- "$folder"
}

# The status that the supervisor has left; if it left none, it was killed.
supervisors_status() {
    if [ -e "$folder/status" ]; then
        cat "$folder/status"
    else
        echo 'lab: the supervisor has been killed' >&2
        echo "$status_broken"
    fi
}

guard() { # VERB
    local caught=
    make_folder
    trap 'caught=130; signal_supervisor' INT
    trap 'caught=143; signal_supervisor' TERM HUP
    trap remove_folder EXIT
    launch "$1"
    while true; do
        wait "$supervisor" || true
        kill -0 "$supervisor" 2>/dev/null || break
    done
    exit "${caught:-$(supervisors_status)}"
}
