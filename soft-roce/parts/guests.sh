# One guest: its QEMU, its console, its ports. Sourced by soft-roce/lab; runs in the supervisor,
# which hears on its control pipe "ready N STATUS" and "gone N STATUS" of each guest.
# shellcheck shell=bash disable=SC2034,SC2154 # the parts share their variables

ports=6 # commands that can run in one guest at a time

# What the guest is told; it reads it from its kernel's command line. (no_timer_check: a kernel that
# gets no processor for the ticks in which it looks for its timer gives up, and panics.)
kernel_words() { # N
    echo "console=ttyS0 panic=-1 oops=panic ${LKS_LAB_KERNEL:-loglevel=4} mitigations=off nokaslr" \
        "random.trust_cpu=on cryptomgr.notests no_timer_check" \
        "lab.checkout=$checkout lab.guest=$1 lab.nvdimm=$nvdimm lab.out=$out"
}

share() { # TAG FOLDER OPTIONS
    printf '%s\n' -fsdev "local,id=$1,path=$2,security_model=none,multidevs=remap$3" \
        -device "virtio-9p-pci,fsdev=$1,mount_tag=$1"
}

# No erms, no fsrm: with them the kernel copies by `rep movsb`, which emulation does byte by byte;
# what rxe writes or reads as one aligned word would be seen in parts, as no adapter shows it.
machine_words() {
    local way=q35,hpet=off,sata=off,smbus=off,usb=off,smm=off,vmport=off,i8042=off
    [ "$nvdimm" = no ] || way+=,nvdimm=on,nvdimm-persistence=$nvdimm
    printf '%s\n' -machine "$way" -accel "$accel$([ "$accel" = kvm ] || echo ,thread=multi)" \
        -cpu max,la57=off,erms=off,fsrm=off -smp "$cpus" -nodefaults -no-user-config \
        -display none -no-reboot
    if [ "$nvdimm" = no ]; then
        printf '%s\n' -m "$memory_mib"
    else
        printf '%s\n' -m "$memory_mib,slots=2,maxmem=$((memory_mib + 2 * nvdimm_mib + 1024))M"
    fi
}

# A fresh NVDIMM is a copy of one on which a guest has made its namespace and nothing else: that
# takes as long as the rest of a boot.
fresh_nvdimm() { # FILE BYTES
    local model=$cache/nvdimm-$nvdimm_mib
    if is_newer "$model" "$soft_roce/guest/init" "$cache/kernel/.complete"; then
        cp --sparse=always "$model" "$1"
    else
        truncate -s "$2" "$1"
        touch "$1.is-blank"
    fi
}

# Guest N has come up on a blank NVDIMM, and no command has run yet.
keep_nvdimm_as_model() { # N
    local file=$folder/$1/nvdimm copy
    [ -e "$file.is-blank" ] || return 0
    rm "$file.is-blank"
    [ -w "$cache" ] || return 0
    copy=$(mktemp "$cache/nvdimm.XXXXXX")
    cp --sparse=always "$file" "$copy"
    chmod 644 "$copy"
    mv "$copy" "$cache/nvdimm-$nvdimm_mib"
}

nvdimm_words() { # N
    [ "$nvdimm" = no ] && return
    local file=$folder/$1/nvdimm bytes=$((nvdimm_mib + 2))M
    [ -e "$file" ] || fresh_nvdimm "$file" "$bytes"
    printf '%s\n' -object "memory-backend-file,id=nv,share=on,mem-path=$file,size=$bytes" \
        -device nvdimm,id=nvd,memdev=nv,label-size=2M
}

network_words() { # N
    if [ -e "$folder/bridged" ]; then
        printf '%s\n' -netdev "tap,id=net,ifname=tap$1,script=no,downscript=no"
    else
        printf '%s\n' -netdev user,id=net,restrict=on
    fi
    printf '%s\n' -device "virtio-net-pci,netdev=net,romfile=,mac=52:54:00:4c:4b:0$1"
}

port_words() { # N
    local port
    printf '%s\n' -device virtio-serial-pci
    for ((port = 1; port <= ports; port++)); do
        printf '%s\n' -chardev "socket,id=port$port,path=$folder/$1/port$port,server=on,wait=off" \
            -device "virtserialport,chardev=port$port,name=lab$port"
    done
}

# Starts guest N. Its end is told to the control pipe, and so is that it answers.
launch_guest() { # N
    local n=$1 words=()
    mkdir -p "$folder/$n"
    rm -f "$folder/$n"/port*
    mapfile -t words < <(
        machine_words
        network_words "$n"
        nvdimm_words "$n"
        port_words "$n"
        share host / ,readonly=on
        share checkout "$checkout" ,readonly=on
        share out "$out" ''
        printf '%s\n' -serial "file:$folder/$n/console" -kernel "$cache/vmlinux" \
            -initrd "$cache/initramfs" -append "$(kernel_words "$n")"
    )
    (
        trap - TERM INT HUP
        exec 2>/dev/null # the shell's word on a QEMU that was cut
        setpriv --pdeathsig KILL setsid qemu-system-x86_64 "${words[@]}" \
            </dev/null >"$folder/$n/qemu.log" 2>&1 {control}>&- &
        echo $! >"$folder/$n/pid"
        wait $! && status=0 || status=$?
        echo "gone $n $status" >"$folder/control"
    ) &
    (
        trap - TERM INT HUP
        wait_for_port "$n"
        call_guest "$n" "$boot_limit_s" / -- true && status=0 || status=$?
        echo "ready $n $status" >"$folder/control"
    ) &
}

wait_for_port() { # N
    local try
    for ((try = 0; try < 600; try++)); do
        [ -S "$folder/$1/port$ports" ] && return
        sleep 0.05
    done
}

# Runs a command in guest N by the first of its ports that is free.
call_guest() { # N SECONDS FOLDER [NAME=VALUE]... -- COMMAND...
    local n=$1 limit_s=$2 port lock
    shift 2
    for ((port = 1; port <= ports; port++)); do
        exec {lock}>"$folder/$n/lock$port"
        if flock -n "$lock"; then
            "$cache/call" --socket "$folder/$n/port$port" --timeout "$limit_s" "$@"
            return
        fi
        exec {lock}>&-
    done
    die "$status_broken" "guest $n: $ports commands run there, and more cannot"
}

# The last lines of a guest's console, for an error.
console_end() { # N
    echo "lab: the end of guest $1's console:" >&2
    tail -n 60 "$folder/$1/console" 2>/dev/null | tr -d '\r' | sed 's/^/    /' >&2
    sed 's/^/    qemu: /' "$folder/$1/qemu.log" >&2 || true
}
