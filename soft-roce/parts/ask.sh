# The verbs that speak to a lab that runs already: the one that LKS_LAB names (set for the command
# of a session), else the one of "lab start". Sourced by soft-roce/lab.
# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables

find_lab() {
    folder=${LKS_LAB:-}
    [ -n "$folder" ] || folder=$(readlink "$(started_link)" 2>/dev/null) || true
    if [ -z "$folder" ] || [ ! -O "$folder" ] || [ ! -e "$folder/up" ]; then
        die "$status_usage" "no lab runs: 'lab start', or use this in the command of 'lab session'"
    fi
    # shellcheck disable=SC1091 # written by make_folder
    . "$folder/settings"
}

guest_number() { # TEXT
    if ! [[ ${1:-} =~ ^[1-9]$ ]] || [ "$1" -gt "$guests" ]; then
        die "$status_usage" "guest '${1:-}': not a number from 1 to $guests"
    fi
}

ask_exec() { # [--timeout SECONDS] N -- COMMAND...
    local limit_s=
    find_lab
    if [ "${1:-}" = --timeout ]; then
        number_within "$1" "${2:-}" 1 86400
        limit_s=$2
        shift 2
    fi
    guest_number "${1:-}"
    if [ "${2:-}" != -- ] || [ $# -lt 3 ]; then
        die "$status_usage" "exec: lab exec $1 -- COMMAND"
    fi
    run_in "$1" "${limit_s:-$timeout_s}" "${@:3}"
}

ask() { # VERB ARGUMENTS...
    local pipe=reply.$$ status words wanted
    find_lab
    case $1 in
    partition)
        [ -e "$folder/bridged" ] || die "$status_broken" 'no bridge: this guest is alone'
        wanted=3
        ;;
    heal) wanted=1 ;;
    *) wanted=2 ;;
    esac
    [ $# -eq "$wanted" ] || die "$status_usage" "$1: $((wanted - 1)) guests wanted"
    for words in "${@:2}"; do
        guest_number "$words"
    done
    mkfifo "$folder/$pipe"
    exec {replies}<>"$folder/$pipe"
    echo "ask $pipe $*" >"$folder/control"
    read -r -t 120 -u "$replies" status words || status=$status_broken words='no answer'
    rm -f "$folder/$pipe"
    [ "$status" -eq 0 ] || die "$status" "$1: $words"
}

show_console() { # N
    find_lab
    guest_number "${1:-}"
    tr -d '\r' <"$folder/$1/console"
}

# The guard in the background; it is up when the supervisor has set the link (start_work).
start_in_background() { # OPTIONS...
    local link guard
    link=$(started_link)
    [ ! -e "$link/up" ] || die "$status_usage" "a lab runs already: 'lab stop'"
    rm -f "$link"
    setsid "$soft_roce/lab" --guard-start "$@" </dev/null >"$link.log" 2>&1 &
    guard=$!
    while [ ! -e "$link" ]; do
        if ! kill -0 "$guard" 2>/dev/null; then
            cat "$link.log" >&2
            rm -f "$link.log"
            die "$status_broken" 'the lab has not come up'
        fi
        sleep 0.1
    done
    echo "lab: $guests guests run; 'lab exec N -- COMMAND', in the end 'lab stop'"
}

stop_in_background() {
    local guard
    find_lab
    guard=$(cat "$folder/guard")
    kill -TERM "$guard"
    tail --pid="$guard" -s 0.1 -f /dev/null
    rm -f "$(started_link)" "$(started_link).log"
}
