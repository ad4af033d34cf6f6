# The options of run, session and start, each checked here. Sourced by soft-roce/lab.
# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables

guests=1
cpus=2
memory_mib=1024
timeout_s=600
nvdimm=no
nvdimm_mib=256
out=
command=()

number_within() { # OPTION VALUE LEAST MOST
    if ! [[ $2 =~ ^[0-9]{1,6}$ ]] || [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
        die "$status_usage" "$1 $2: not a number from $3 to $4"
    fi
}

read_options() {
    number_within LKS_LAB_BOOT_LIMIT "${LKS_LAB_BOOT_LIMIT:-240}" 1 86400
    while [ $# -gt 0 ]; do
        case $1 in
        --guests | --cpus | --memory | --timeout | --nvdimm-mib | --out)
            [ $# -ge 2 ] || die "$status_usage" "$1: no value"
            take_option "$1" "$2"
            shift 2
            ;;
        --nvdimm) nvdimm=cpu && shift ;;
        --nvdimm=cpu | --nvdimm=mem-ctrl) nvdimm=${1#*=} && shift ;;
        --)
            shift
            command=("$@")
            return
            ;;
        *) die "$status_usage" "$1: no such option; the command comes behind '--'" ;;
        esac
    done
}

take_option() { # OPTION VALUE
    case $1 in
    --guests) number_within "$@" 1 8 && guests=$2 ;;
    --cpus) number_within "$@" 1 16 && cpus=$2 ;;
    --memory) number_within "$@" 256 65536 && memory_mib=$2 ;;
    --timeout) number_within "$@" 1 86400 && timeout_s=$2 ;;
    --nvdimm-mib)
        number_within "$@" 128 16384
        [ $(($2 % 128)) -eq 0 ] || die "$status_usage" "$1 $2: not a multiple of 128"
        nvdimm_mib=$2
        ;;
    --out)
        mkdir -p "$2" || die "$status_usage" "$1 $2: cannot be made"
        out=$(cd "$2" && pwd -P)
        ;;
    esac
}
